//! The schedules as pictures and as a table.

use anyhow::Result;
use report::{
    Axis, Figure, FileType, LineChart, Page, Picture, Section, Series, Table, facts, number,
};

use crate::samples::{LR, Sample};

const TITLE: &str = "Learning-rate schedules";
/// Of the sheet.
const COLUMNS: usize = 4;

/// A page with a figure for each schedule, or with all of them in one.
pub fn page(samples: &[Sample], steps: u64, file_type: FileType) -> Result<Page> {
    let pictures = samples.iter().map(picture).collect::<Result<Vec<_>>>()?;
    let figures = match file_type {
        FileType::Html => pictures.into_iter().zip(samples).map(figure).collect(),
        FileType::Svg | FileType::Png => vec![sheet(pictures, samples, steps)],
    };
    let mut table = table(samples, steps);
    table.caption = "Learning rates at some steps".into();
    Ok(Page {
        title: TITLE.into(),
        lead: format!(
            "Each schedule of wgpu-optim over {steps} steps, with the call that makes it; schedule.at(lr, k) is the \
             rate of step k, which counts from 0. In the calls, lr is {LR} and steps is {steps}."
        ),
        command: facts::command("schedules"),
        // No device has a part in it.
        facts: facts::usual("none: schedules are functions of the step, in f64", None),
        sections: vec![
            Section {
                figures,
                ..Section::default()
            },
            Section {
                title: "Numbers".into(),
                tables: vec![table],
                ..Section::default()
            },
        ],
    })
}

fn picture(sample: &Sample) -> Result<Picture> {
    let over_steps = |values: &[f64]| -> Vec<[f64; 2]> {
        let values = values.iter().enumerate();
        values.map(|(step, value)| [step as f64, *value]).collect()
    };
    let rates = over_steps(&sample.rates);
    let x = Axis::linear("step");
    let chart = match &sample.losses {
        None => LineChart {
            title: sample.name.into(),
            x,
            y: Axis::linear("learning rate").range(0.0, 1.05 * LR),
            series: vec![Series::curve("", rates)],
        },
        Some(losses) => LineChart {
            title: sample.name.into(),
            x,
            y: Axis::log("learning rate; loss"),
            series: vec![
                Series::curve("rate", rates),
                Series::curve("loss", over_steps(losses)),
            ],
        },
    };
    chart.small_picture()
}

fn figure((picture, sample): (Picture, &Sample)) -> Figure {
    Figure {
        picture,
        caption: String::new(),
        command: Some(sample.code.clone()),
    }
}

fn sheet(pictures: Vec<Picture>, samples: &[Sample], steps: u64) -> Figure {
    let codes = samples.iter().map(|sample| sample.code.clone());
    let pictures: Vec<_> = pictures.into_iter().zip(codes).collect();
    let title = format!("{TITLE} over {steps} steps, and the calls that make them; lr = {LR}");
    Figure {
        picture: Picture::sheet(&title, COLUMNS, &pictures),
        caption: String::new(),
        command: None,
    }
}

/// Rates at the start, at each quarter and at the end.
pub fn table(samples: &[Sample], steps: u64) -> Table {
    let at = [0, steps / 4, steps / 2, steps * 3 / 4, steps - 1];
    let mut columns = vec!["schedule".to_owned()];
    columns.extend(at.iter().map(|step| format!("step {step}")));
    let row = |sample: &Sample| {
        let rates = at.iter().map(|step| sample.rates[*step as usize]);
        let rates = rates.map(|rate| number::significant(rate, 3));
        [sample.name.to_owned()].into_iter().chain(rates).collect()
    };
    Table {
        caption: String::new(),
        columns,
        rows: samples.iter().map(row).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn a_page_shows_every_schedule_with_its_call() {
        let samples = samples::all(100).unwrap();
        let page = page(&samples, 100, FileType::Html).unwrap();
        assert_eq!(page.pictures().count(), samples.len());
        let html = page.html().unwrap();
        for sample in &samples {
            assert!(html.contains(&format!(">{}</text>", sample.name)) || sample.name.len() > 25);
        }
        assert!(
            html.contains("steps is 100") && html.len() < 200_000,
            "{}",
            html.len()
        );
    }

    #[test]
    fn a_sheet_is_one_picture_with_every_call() {
        let samples = samples::all(100).unwrap();
        let page = page(&samples, 100, FileType::Svg).unwrap();
        let pictures: Vec<_> = page.pictures().collect();
        assert_eq!(pictures.len(), 1);
        let svg = pictures[0].svg();
        for text in [
            "Schedule::Constant",
            "amplitude: Amplitude::Halved,",
            "Plateau::new(lr)",
        ] {
            assert!(svg.contains(text), "{text}");
        }
    }

    #[test]
    fn the_table_has_the_rates_of_its_steps() {
        let table = table(&samples::all(100).unwrap(), 100);
        let row = |name: &str| table.rows.iter().find(|row| row[0] == name).unwrap();
        assert_eq!(table.columns[2], "step 25");
        assert_eq!(
            row("step")[1..],
            ["0.1", "0.05", "0.025", "0.0125", "0.0125"]
        );
    }
}
