//! What was timed as a page: the verdict, GB/s as a picture, and the table.

use std::collections::BTreeMap;

use ::report::{
    Axis, Bar, BarChart, Figure, LineChart, Page, Picture, Section, Series, Table, facts, number,
};
use anyhow::Result;

use crate::load::percent;
use crate::row::Row;
use crate::statistics::Quartiles;

/// The rows of one device.
pub struct Timed {
    /// With its driver.
    pub device: String,
    pub name: String,
    pub clock: String,
    /// What the steps were held against.
    pub copies: String,
    pub rows: Vec<Row>,
    /// What could not be timed, and why.
    pub failures: Vec<String>,
}

const CAVEAT: &str = "Timings need a quiet machine: whatever else it does is in them. On a software driver they say \
                      how many instructions a shader has rather than how fast memory is.";
const COPY: &str = "The copy is a shader, or on the CPU a loop, that reads and writes as many arrays as the step and \
                    does nothing else. It takes turns with the step; a ratio of 1 is as fast as memory allows.";

/// A section for each device.
pub fn page(timed: &[Timed], rounds: usize) -> Result<Page> {
    let sections = timed.iter().map(|timed| timed.section(rounds));
    let devices: Vec<_> = timed.iter().map(|timed| &*timed.device).collect();
    Ok(Page {
        title: "How fast optimizer steps are".into(),
        lead: lead(timed),
        command: facts::command("bench"),
        facts: facts::usual(&devices.join("; "), None),
        sections: sections.collect::<Result<_>>()?,
    })
}

/// How near steps come to a copy.
fn lead(timed: &[Timed]) -> String {
    let of_device = |timed: &Timed| {
        let ratio = |row: &Row| row.copy_ratio.median;
        let least = timed
            .rows
            .iter()
            .min_by(|a, b| ratio(a).total_cmp(&ratio(b)))?;
        let most = timed
            .rows
            .iter()
            .max_by(|a, b| ratio(a).total_cmp(&ratio(b)))?;
        Some(format!(
            "On {}, steps run at {} ({}, {}) to {} ({}, {}) of the speed of a copy.",
            timed.name,
            number::percent(ratio(least), 0),
            least.label(),
            least.size,
            number::percent(ratio(most), 0),
            most.label(),
            most.size,
        ))
    };
    let lines: Vec<_> = timed.iter().filter_map(of_device).collect();
    match lines.is_empty() {
        true => "Nothing could be timed.".into(),
        false => lines.join(" "),
    }
}

impl Timed {
    /// Nothing yet.
    pub fn new(device: String, name: &str, clock: &str, copies: String) -> Self {
        Self {
            device,
            name: name.to_owned(),
            clock: clock.to_owned(),
            copies,
            rows: Vec::new(),
            failures: Vec::new(),
        }
    }

    fn section(&self, rounds: usize) -> Result<Section> {
        let mut text = format!(
            "Clock: {}, {rounds} rounds. Copy: {}.",
            self.clock, self.copies
        );
        for paragraph in [COPY, CAVEAT]
            .into_iter()
            .chain(self.failures.iter().map(String::as_str))
        {
            text.push_str("\n\n");
            text.push_str(paragraph);
        }
        let picture = match self.rows.is_empty() {
            true => None,
            false => Some(self.picture()?),
        };
        let figure = |picture| Figure {
            picture,
            caption:
                "GB/s count what the update reads and writes: each element of its arrays once."
                    .into(),
            command: None,
        };
        Ok(Section {
            title: self.device.clone(),
            text,
            figures: picture.map(figure).into_iter().collect(),
            tables: vec![self.table()],
        })
    }

    /// Lines over the number of elements of single tensors, or bars where there is no range of them.
    fn picture(&self) -> Result<Picture> {
        let single: Vec<_> = self.rows.iter().filter(|row| row.tensors == 1).collect();
        let is_range = single.iter().any(|row| row.elements != single[0].elements);
        if is_range {
            self.lines(&single)
        } else {
            self.bars()
        }
    }

    fn lines(&self, rows: &[&Row]) -> Result<Picture> {
        let mut series = vec![Series::reference("fastest copy", ceiling(rows))];
        let lines = lines(rows).into_iter();
        series.extend(lines.map(|(rule, points)| Series::curve(rule, points)));
        let chart = LineChart {
            title: format!("Memory moved by a step over one tensor, {}", self.name),
            x: Axis::log("elements"),
            y: Axis {
                range: Some((0.0, 1.05 * highest(&series))),
                ..Axis::linear("GB/s")
            },
            series,
        };
        chart.picture()
    }

    fn bars(&self) -> Result<Picture> {
        let speeds: Vec<_> = self.rows.iter().map(|row| row.gb_per_s).collect();
        let speeds = number::alike(&speeds, 3);
        let bar = |(row, note): (&Row, String)| Bar {
            name: format!("{}, {}", row.label(), row.size),
            value: Some(row.gb_per_s),
            note,
            is_wrong: false,
        };
        let chart = BarChart {
            title: format!("Memory moved by a step, {}", self.name),
            axis: Axis::linear("GB/s"),
            bars: self.rows.iter().zip(speeds).map(bar).collect(),
            limit: None,
        };
        chart.picture()
    }

    fn table(&self) -> Table {
        let columns = [
            "rule",
            "size",
            "tensors",
            "time/step",
            "GB/s",
            "copy/step",
            "step/one tensor",
            "record",
            "others",
            "copied by",
        ];
        let ratio = |Quartiles { low, median, high }: Quartiles| {
            format!("{median:.2} ({low:.2} … {high:.2})")
        };
        let none = || "–".to_owned();
        let row = |row: &Row| {
            vec![
                row.label(),
                row.size.clone(),
                row.tensors.to_string(),
                number::seconds(1e-3 * row.ms),
                number::significant(row.gb_per_s, 3),
                ratio(row.copy_ratio),
                row.one_tensor_ratio.map_or_else(none, ratio),
                row.record_us
                    .map_or_else(none, |us| number::seconds(1e-6 * us)),
                row.others_cpu.map_or_else(none, percent),
                row.copy.clone(),
            ]
        };
        Table {
            caption:
                "Medians, ratios with their quartiles; record is the host's time to record a step, others \
                the part of the processors' time that other processes used"
                    .into(),
            columns: columns.map(str::to_owned).to_vec(),
            rows: self.rows.iter().map(row).collect(),
        }
    }
}

type Points = Vec<[f64; 2]>;

fn highest(series: &[Series]) -> f64 {
    let points = series.iter().flat_map(|series| &series.points);
    points.map(|point| point[1]).fold(0.0, f64::max)
}

/// GB/s of each rule.
fn lines(rows: &[&Row]) -> BTreeMap<String, Points> {
    let mut lines = BTreeMap::<_, Points>::new();
    for row in rows {
        let line = lines.entry(row.label()).or_default();
        line.push([row.elements as f64, row.gb_per_s]);
    }
    for points in lines.values_mut() {
        points.sort_by(|a, b| a[0].total_cmp(&b[0]));
    }
    lines
}

/// GB/s of the fastest of all rules' copies.
fn ceiling(rows: &[&Row]) -> Points {
    let mut fastest = BTreeMap::<usize, f64>::new();
    for row in rows {
        let copied = row.gb_per_s / row.copy_ratio.median;
        let known = fastest.entry(row.elements).or_insert(copied);
        *known = copied.max(*known);
    }
    let points = fastest.into_iter();
    points
        .map(|(elements, speed)| [elements as f64, speed])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(rule: &str, elements: usize, gb_per_s: f64, ratio: f64) -> Row {
        Row {
            rule: rule.into(),
            format: "f32".into(),
            size: elements.to_string(),
            elements,
            tensors: 1,
            device: "a device".into(),
            ms: 1.0,
            bytes_per_element: 28.0,
            gb_per_s,
            copy_ratio: Quartiles {
                low: ratio,
                median: ratio,
                high: ratio,
            },
            copy: "4 quads".into(),
            one_tensor_ratio: None,
            record_us: None,
            others_cpu: None,
        }
    }

    fn timed(rows: Vec<Row>) -> Timed {
        Timed {
            device: "a device (driver 1)".into(),
            name: "a device".into(),
            clock: "wall clock".into(),
            copies: "a loop".into(),
            rows,
            failures: vec!["muon over 2^40 was not timed: too large".into()],
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
        assert_eq!(ceiling(&rows), [[1024.0, 20.0], [2048.0, 10.0]]);
    }

    #[test]
    fn a_range_of_sizes_is_drawn_with_every_rule_and_the_copy() {
        let rows = vec![row("adam", 1024, 9.0, 0.9), row("sgd", 2048, 8.0, 0.8)];
        let svg = timed(rows).picture().unwrap().svg();
        for text in [
            ">adam<",
            ">sgd<",
            ">fastest copy<",
            "a device",
            ">GB/s<",
            ">elements<",
        ] {
            assert!(svg.contains(text), "{text}");
        }
    }

    #[test]
    fn a_page_has_verdict_caveat_table_and_what_could_not_be_timed() {
        let rows = vec![row("adam", 1024, 9.0, 0.91), row("sgd", 1024, 8.0, 0.82)];
        let html = page(&[timed(rows)], 21).unwrap().html().unwrap();
        for text in [
            "82 % (sgd, 1024) to 91 % (adam, 1024)",
            "Timings need a quiet machine",
            "0.91 (0.91 … 0.91)",
            "muon over 2^40 was not timed",
            "21 rounds",
        ] {
            assert!(html.contains(text), "{text}");
        }
        let nothing = page(&[timed(vec![])], 21).unwrap();
        assert_eq!(nothing.pictures().count(), 0);
        assert!(nothing.html().unwrap().contains("Nothing could be timed."));
    }
}
