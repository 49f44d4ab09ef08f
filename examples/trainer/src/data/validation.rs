//! A part of the training data that judges hyperparameters in place of the test data.

use anyhow::{Result, ensure};

use super::{Dataset, Samples, Task};

/// Every fifth training sample of a class is validation data: the same stratified split in every run.
const VALIDATION_EVERY: usize = 5;

impl Dataset {
    /// The same task without its test data: in their place is every fifth training sample of a class,
    /// or of all where there are no classes, and the training data are the others.
    ///
    /// Fails if there is nothing to validate with.
    pub fn validation_split(&self) -> Result<Self> {
        let (mut train, mut validation) = (Vec::new(), Vec::new());
        let mut seen = vec![0usize; self.outputs];
        for sample in 0..self.train.count {
            let class = self.class(&self.train, sample);
            seen[class] += 1;
            if seen[class].is_multiple_of(VALIDATION_EVERY) {
                validation.push(sample);
            } else {
                train.push(sample);
            }
        }
        ensure!(
            !validation.is_empty(),
            "The {} training samples of {} are too few to validate with: expected at least {VALIDATION_EVERY} of a \
             class.",
            self.train.count,
            self.name
        );
        Ok(Self {
            name: self.name.clone(),
            train: self.select(&train),
            test: self.select(&validation),
            ..*self
        })
    }

    /// The class of a sample, or 0 where there are none.
    fn class(&self, samples: &Samples, sample: usize) -> usize {
        if self.task == Task::Regression {
            return 0;
        }
        let row = &samples.targets[sample * self.outputs..][..self.outputs];
        row.iter().position(|&target| target == 1.0).unwrap_or(0)
    }

    /// These training samples, in this order.
    fn select(&self, chosen: &[usize]) -> Samples {
        let rows = |matrix: &[f32], width: usize| {
            let row = |&sample: &usize| matrix[sample * width..][..width].iter().copied();
            chosen.iter().flat_map(row).collect()
        };
        Samples {
            count: chosen.len(),
            inputs: rows(&self.train.inputs, self.features),
            targets: rows(&self.train.targets, self.outputs),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Embedded, Source};

    /// Each sample as its input bits with its target bits.
    fn rows(data: &Dataset, samples: &Samples) -> Vec<Vec<u32>> {
        let row = |sample: usize| {
            let inputs = &samples.inputs[sample * data.features..][..data.features];
            let targets = &samples.targets[sample * data.outputs..][..data.outputs];
            inputs.iter().chain(targets).map(|x| x.to_bits()).collect()
        };
        (0..samples.count).map(row).collect()
    }

    const ALL: [Embedded; 4] = [
        Embedded::Digits,
        Embedded::LinearRegression,
        Embedded::SyntheticRegression,
        Embedded::SyntheticClassification,
    ];

    #[test]
    fn training_and_validation_data_together_are_the_training_data_and_none_is_in_both() {
        for embedded in ALL {
            let data = Source::Embedded(embedded).load(10).unwrap();
            let split = data.validation_split().unwrap();
            let mut parts = rows(&split, &split.train);
            parts.extend(rows(&split, &split.test));
            let mut whole = rows(&data, &data.train);
            parts.sort();
            whole.sort();
            assert!(parts == whole, "{embedded:?}");
            assert_eq!(split, data.validation_split().unwrap());
        }
    }

    #[test]
    fn no_test_sample_is_left_to_be_seen() {
        let data = Source::Embedded(Embedded::Digits).load(10).unwrap();
        let split = data.validation_split().unwrap();
        let seen = [rows(&split, &split.train), rows(&split, &split.test)].concat();
        // Digits of the test set that somebody wrote twice, in the training set as well.
        let repeated = rows(&data, &data.train);
        for row in rows(&data, &data.test) {
            assert!(!seen.contains(&row) || repeated.contains(&row));
        }
        assert_eq!(split.test.count + split.train.count, data.train.count);
    }

    #[test]
    fn a_fifth_of_each_class_validates() {
        for embedded in [Embedded::Digits, Embedded::SyntheticClassification] {
            let data = Source::Embedded(embedded).load(10).unwrap();
            let split = data.validation_split().unwrap();
            let counts = |samples: &Samples| {
                let mut counts = vec![0; data.outputs];
                for sample in 0..samples.count {
                    counts[data.class(samples, sample)] += 1;
                }
                counts
            };
            let fifths = counts(&data.train).into_iter().map(|count| count / 5);
            assert!(fifths.eq(counts(&split.test)), "{embedded:?}");
        }
    }

    #[test]
    fn too_few_samples_to_validate_with_are_an_error() {
        let mut data = Source::Embedded(Embedded::Digits).load(10).unwrap();
        data.train = data.select(&[0, 1, 2, 3]);
        let error = data.validation_split().unwrap_err().to_string();
        assert!(error.contains("too few to validate with"), "{error}");
    }
}
