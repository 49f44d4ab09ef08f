//! Data sets: rows of numbers, and the rows that the network should answer with.

mod digits;
mod idx;
mod synthetic;
mod validation;

use std::path::Path;

use anyhow::{Result, ensure};
use clap::ValueEnum;

/// Whether the answers are classes or numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    Classification,
    Regression,
}

/// Rows of inputs beside their targets.
#[derive(Clone, Debug, PartialEq)]
pub struct Samples {
    pub count: usize,
    /// `[count, features]`, row by row.
    pub inputs: Vec<f32>,
    /// `[count, outputs]`, row by row; a class is a one-hot row.
    pub targets: Vec<f32>,
}

/// An image of grey pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Image {
    pub height: usize,
    pub width: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    pub name: String,
    pub task: Task,
    pub features: usize,
    /// What the features are the pixels of, row by row, if they are.
    pub image: Option<Image>,
    pub outputs: usize,
    pub train: Samples,
    pub test: Samples,
}

impl Samples {
    /// Changes with any number.
    pub fn fingerprint(&self) -> u64 {
        let numbers = self.inputs.iter().chain(&self.targets);
        fingerprint(numbers.flat_map(|number| number.to_le_bytes()))
    }
}

/// Changes with any byte (FNV-1a, 64 bits).
pub fn fingerprint(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Where the data come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    Embedded(Embedded),
    /// A folder of MNIST-style IDX files.
    Folder(std::path::PathBuf),
}

/// Data sets that need no files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Embedded {
    Digits,
    LinearRegression,
    SyntheticRegression,
    SyntheticClassification,
}

impl Source {
    /// A name of an embedded data set, or else a folder.
    pub fn parse(text: &str) -> Self {
        match Embedded::from_str(text, false) {
            Ok(embedded) => Self::Embedded(embedded),
            Err(_) => Self::Folder(text.into()),
        }
    }

    /// Loads the data; `classes` is how many labels an IDX folder may use.
    pub fn load(&self, classes: usize) -> Result<Dataset> {
        let data = match self {
            Self::Embedded(Embedded::Digits) => digits::load()?,
            Self::Embedded(Embedded::LinearRegression) => synthetic::linear_regression(),
            Self::Embedded(Embedded::SyntheticRegression) => synthetic::regression(),
            Self::Embedded(Embedded::SyntheticClassification) => synthetic::classification(),
            Self::Folder(folder) => load_folder(folder, classes)?,
        };
        ensure!(
            u32::try_from(data.train.inputs.len().max(data.test.inputs.len())).is_ok(),
            "Data set {} is too large: the shaders count up to {} numbers.",
            data.name,
            u32::MAX
        );
        Ok(data)
    }
}

fn load_folder(folder: &Path, classes: usize) -> Result<Dataset> {
    ensure!(
        folder.is_dir(),
        "--data {}: there is no such folder, and it is none of digits, linear-regression, synthetic-regression, \
         synthetic-classification.",
        folder.display()
    );
    idx::load(folder, classes)
}

/// Collects samples of a classification task one by one.
struct Labelled {
    classes: usize,
    samples: Samples,
}

impl Labelled {
    fn new(classes: usize) -> Self {
        let samples = Samples {
            count: 0,
            inputs: Vec::new(),
            targets: Vec::new(),
        };
        Self { classes, samples }
    }

    fn push(&mut self, inputs: impl IntoIterator<Item = f32>, class: usize) {
        self.samples.count += 1;
        self.samples.inputs.extend(inputs);
        self.samples
            .targets
            .extend((0..self.classes).map(|c| if c == class { 1.0 } else { 0.0 }));
    }
}

/// What the UCI handwritten digits are called.
pub const DIGITS: &str = "UCI handwritten digits";

/// Every fifth sample of a class is test data: the same stratified split in every run.
const TEST_EVERY: usize = 5;
