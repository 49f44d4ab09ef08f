//! GB/s over the number of elements, as a picture.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use plotters::prelude::*;

use crate::report::Row;

/// Of a panel.
const SIZE: (u32, u32) = (960, 480);

/// A line for each rule, and the fastest copy above them.
pub fn draw(rows: &[Row], path: &Path) -> Result<()> {
    let rows: Vec<_> = rows.iter().filter(|row| row.tensors == 1).collect();
    ensure!(
        !rows.is_empty(),
        "--plot draws single tensors: give some with --sizes, as 2^10..2^24"
    );
    let mut picture = String::new();
    draw_rows(&rows, &mut picture)?;
    std::fs::write(path, picture).with_context(|| format!("--plot {}", path.display()))
}

/// One panel per device.
fn draw_rows(rows: &[&Row], picture: &mut String) -> Result<()> {
    let mut devices: Vec<_> = rows.iter().map(|row| row.device.as_str()).collect();
    devices.dedup();
    let size = (SIZE.0, SIZE.1 * devices.len() as u32);
    let area = SVGBackend::with_string(picture, size).into_drawing_area();
    area.fill(&WHITE)?;
    for (panel, device) in area.split_evenly((devices.len(), 1)).iter().zip(devices) {
        let of_device = rows.iter().filter(|row| row.device == device);
        draw_device(&of_device.copied().collect::<Vec<_>>(), device, panel)?;
    }
    Ok(area.present()?)
}

fn draw_device(rows: &[&Row], device: &str, panel: &Panel<'_>) -> Result<()> {
    let powers = rows.iter().map(|row| power(row));
    let [least, most] = [f64::min, f64::max].map(|pick| powers.clone().reduce(pick));
    let [least, most] = [least.unwrap_or(0.0), most.unwrap_or(0.0)];
    let ceiling = ceiling(rows);
    let highest = ceiling.iter().map(|(_, speed)| *speed).fold(0.0, f64::max);
    // What lines are called stands beside them.
    let beside = 1.0 + 0.3 * (most - least);
    let mut chart = ChartBuilder::on(panel)
        .caption(
            format!("Memory moved by a step over one tensor, {device}"),
            ("sans-serif", 18),
        )
        .margin(16)
        .x_label_area_size(44)
        .y_label_area_size(60)
        .build_cartesian_2d(least - 0.3..most + beside, 0.0..1.1 * highest)?;
    chart
        .configure_mesh()
        .x_desc("elements")
        .y_desc("GB/s")
        .x_label_formatter(
            &|power| match (power - power.round()).abs() < 1e-6 && *power <= most {
                true => format!("2^{power:.0}"),
                false => String::new(),
            },
        )
        .x_labels((most + beside - least).ceil() as usize + 1)
        .y_label_formatter(&|speed| format!("{speed}"))
        .light_line_style(TRANSPARENT)
        .draw()?;
    let black = BLACK.stroke_width(2);
    chart
        .draw_series(DashedLineSeries::new(ceiling, 6, 4, black))?
        .label("fastest copy")
        .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], black));
    for (index, (rule, points)) in lines(rows).into_iter().enumerate() {
        let colour = Palette99::pick(index).to_rgba();
        let dot = |point: &(f64, f64)| Circle::new(*point, 3, colour.filled());
        chart.draw_series(points.iter().map(dot).collect::<Vec<_>>())?;
        chart
            .draw_series(LineSeries::new(points, colour.stroke_width(2)))?
            .label(rule)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], colour.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE)
        .border_style(BLACK.mix(0.3))
        .draw()?;
    Ok(())
}

type Panel<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

type Points = Vec<(f64, f64)>;

fn power(row: &Row) -> f64 {
    (row.elements as f64).log2()
}

/// GB/s of each rule.
fn lines<'a>(rows: &[&'a Row]) -> BTreeMap<&'a str, Points> {
    let mut lines = BTreeMap::<_, Points>::new();
    for row in rows {
        let line = lines.entry(row.rule.as_str()).or_default();
        line.push((power(row), row.gb_per_s));
    }
    for points in lines.values_mut() {
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
    }
    lines
}

/// GB/s of the fastest of all rules' copies.
fn ceiling(rows: &[&Row]) -> Points {
    let mut fastest = BTreeMap::new();
    for row in rows {
        let copied = row.gb_per_s / row.copy_ratio.median;
        let known = fastest.entry(row.elements).or_insert((power(row), copied));
        known.1 = copied.max(known.1);
    }
    fastest.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::Quartiles;

    fn row(rule: &str, elements: usize, gb_per_s: f64, ratio: f64) -> Row {
        Row {
            rule: rule.into(),
            format: "f32",
            size: elements.to_string(),
            elements,
            tensors: 1,
            device: "a device".into(),
            ms: 1.0,
            bytes_per_element: 28,
            gb_per_s,
            copy_ratio: Quartiles {
                low: ratio,
                median: ratio,
                high: ratio,
            },
            copy: String::new(),
            one_tensor_ratio: None,
            record_us: None,
        }
    }

    #[test]
    fn the_ceiling_is_the_fastest_copy_of_each_size() {
        let rows = [
            row("adam", 1024, 9.0, 0.9),
            row("sgd", 1024, 10.0, 0.5),
            row("sgd", 2048, 8.0, 0.8),
        ];
        let rows: Vec<_> = rows.iter().collect();
        assert_eq!(ceiling(&rows), [(10.0, 20.0), (11.0, 10.0)]);
    }

    #[test]
    fn a_picture_names_every_rule_and_the_copy() {
        let rows = [row("adam", 1024, 9.0, 0.9), row("sgd", 2048, 8.0, 0.8)];
        let mut picture = String::new();
        draw_rows(&rows.iter().collect::<Vec<_>>(), &mut picture).unwrap();
        for text in ["adam", "sgd", "fastest copy", "a device", "GB/s", "</svg>"] {
            assert!(picture.contains(text), "{text}");
        }
    }

    #[test]
    fn without_single_tensors_there_is_nothing_to_draw() {
        let error = draw(&[], Path::new("never.svg")).unwrap_err();
        assert!(error.to_string().contains("--sizes"));
    }
}
