//! What `examples/train/network` takes of the data sets of `examples/train/data`.

pub struct Samples {
    pub count: usize,
    /// `[count, features]`, row by row.
    pub inputs: Vec<f32>,
    /// `[count, outputs]`, row by row; a class is a one-hot row.
    pub targets: Vec<f32>,
}

pub struct Dataset {
    pub features: usize,
    pub outputs: usize,
    pub train: Samples,
    pub test: Samples,
}
