//! The UCI handwritten digits: 1 797 images of 8×8 pixels, embedded (see README.md beside the file
//! for its licence).

use std::io::Read;

use anyhow::{Context, Result, ensure};

use super::{Dataset, Image, Labelled, TEST_EVERY, Task};

const CSV_GZ: &[u8] = include_bytes!("digits.csv.gz");
const IMAGE: Image = Image {
    height: 8,
    width: 8,
};
const PIXELS: usize = IMAGE.height * IMAGE.width;
const CLASSES: usize = 10;
const BRIGHTEST: f32 = 16.0;

/// Pixels scaled to 0…1; every fifth image of a class is test data.
pub fn load() -> Result<Dataset> {
    let mut csv = String::new();
    flate2::read::GzDecoder::new(CSV_GZ)
        .read_to_string(&mut csv)
        .context("The embedded digits.csv.gz is damaged.")?;
    let mut train = Labelled::new(CLASSES);
    let mut test = Labelled::new(CLASSES);
    let mut seen = [0; CLASSES];
    for (number, line) in csv.lines().enumerate() {
        let damaged = || {
            format!(
                "Line {} of the embedded digits.csv.gz is damaged.",
                number + 1
            )
        };
        let values: Vec<u8> = line
            .split(',')
            .map(str::parse)
            .collect::<Result<_, _>>()
            .with_context(damaged)?;
        ensure!(values.len() == PIXELS + 1, damaged());
        let class = usize::from(values[PIXELS]);
        ensure!(class < CLASSES, damaged());
        seen[class] += 1;
        let part = if seen[class] % TEST_EVERY == 0 {
            &mut test
        } else {
            &mut train
        };
        part.push(
            values[..PIXELS]
                .iter()
                .map(|&pixel| f32::from(pixel) / BRIGHTEST),
            class,
        );
    }
    Ok(Dataset {
        name: super::DIGITS.into(),
        task: Task::Classification,
        features: PIXELS,
        image: Some(IMAGE),
        outputs: CLASSES,
        train: train.samples,
        test: test.samples,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_split_is_stratified_and_complete() {
        let data = load().unwrap();
        assert_eq!(data.train.count + data.test.count, 1797);
        for class in 0..CLASSES {
            let count = |targets: &[f32]| {
                targets
                    .chunks(CLASSES)
                    .filter(|row| row[class] == 1.0)
                    .count()
            };
            let (train, test) = (count(&data.train.targets), count(&data.test.targets));
            assert_eq!(test, (train + test) / TEST_EVERY, "class {class}");
        }
    }

    #[test]
    fn pixels_lie_in_0_to_1_and_targets_are_one_hot() {
        let data = load().unwrap();
        for part in [&data.train, &data.test] {
            assert_eq!(part.inputs.len(), part.count * PIXELS);
            assert!(part.inputs.iter().all(|pixel| (0.0..=1.0).contains(pixel)));
            assert!(
                part.targets
                    .chunks(CLASSES)
                    .all(|row| row.iter().sum::<f32>() == 1.0)
            );
        }
        assert!(data.train.inputs.contains(&1.0));
    }
}
