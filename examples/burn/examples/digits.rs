//! Trains a convolutional network on handwritten digits, in a training loop of one's own.
//!
//! ```sh
//! cargo run --example digits                  # five epochs
//! cargo run --example digits -- run           # the same, with checkpoints in the folder `run`
//! cargo run --example digits -- run           # goes on from the last one
//! ```

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use burn::module::{Module, ParamGroup};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig};
use burn::optim::GradientsParams;
use burn::store::ModuleRecord;
use burn::tensor::activation::relu;
use burn::tensor::{Device, Int, Tensor, TensorData};
use trainer::data::{Samples, Source};
use wgpu_optim_burn::{Clip, FusedOptimizer, Options, rules::AdamW};

const EPOCHS: usize = 5;
const BATCH: usize = 32;
const LR: f64 = 3e-3;
const CLASSES: usize = 10;

#[derive(Module, Debug)]
struct Network {
    conv1: Conv2d,
    norm1: BatchNorm,
    conv2: Conv2d,
    norm2: BatchNorm,
    output: Linear,
}

impl Network {
    fn new(device: &Device) -> Self {
        Self {
            conv1: Conv2dConfig::new([1, 8], [3, 3]).init(device),
            norm1: BatchNormConfig::new(8).init(device),
            conv2: Conv2dConfig::new([8, 16], [3, 3]).init(device),
            norm2: BatchNormConfig::new(16).init(device),
            output: LinearConfig::new(16 * 4 * 4, CLASSES).init(device),
        }
    }

    fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let x = relu(self.norm1.forward(self.conv1.forward(images)));
        let x = relu(self.norm2.forward(self.conv2.forward(x)));
        self.output.forward(x.flatten(1, 3))
    }
}

/// Images of 8 × 8 with their classes.
fn batch(samples: &Samples, rows: &[usize], device: &Device) -> (Tensor<4>, Tensor<1, Int>) {
    let pixels = |&row: &usize| samples.inputs[64 * row..64 * (row + 1)].to_vec();
    let images: Vec<f32> = rows.iter().flat_map(pixels).collect();
    let class = |&row: &usize| {
        let one_hot = &samples.targets[CLASSES * row..CLASSES * (row + 1)];
        one_hot.iter().position(|&x| x == 1.0).unwrap_or(0) as i32
    };
    let classes: Vec<i32> = rows.iter().map(class).collect();
    (
        Tensor::from_data(TensorData::new(images, [rows.len(), 1, 8, 8]), device),
        Tensor::from_data(TensorData::new(classes, [rows.len()]), device),
    )
}

/// The part of `samples` that `network` takes for what it is.
fn accuracy(network: &Network, samples: &Samples, device: &Device) -> f64 {
    let rows: Vec<_> = (0..samples.count).collect();
    let (images, classes) = batch(samples, &rows, device);
    let guessed = network.forward(images).argmax(1).squeeze_dim::<1>(1);
    let right = guessed.equal(classes).int().sum().into_scalar::<i32>();
    f64::from(right) / samples.count as f64
}

/// Each row once, in an order that differs from epoch to epoch and not from run to run.
fn shuffled(count: usize, epoch: usize) -> Vec<usize> {
    let mut rows: Vec<_> = (0..count).collect();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ epoch as u64;
    for last in (1..count).rev() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        rows.swap(last, state as usize % (last + 1));
    }
    rows
}

fn paths(folder: &Path, epoch: usize) -> [PathBuf; 2] {
    ["model", "optim"].map(|name| folder.join(format!("{name}-{epoch}.bpk")))
}

fn main() -> Result<()> {
    let folder = std::env::args().nth(1).map(PathBuf::from);
    let device = wgpu_optim_burn::init()?;
    let training = device.clone().autodiff();
    let data = Source::parse("digits").load(CLASSES)?;
    let loss = CrossEntropyLossConfig::new().init(&training);

    let mut network = Network::new(&training);
    let plain = AdamW {
        weight_decay: 0.0,
        ..Default::default()
    };
    let decayed = AdamW {
        weight_decay: 1e-2,
        ..Default::default()
    };
    let options = Options {
        clip: Clip::GlobalNorm(1.0),
        ..Default::default()
    };
    let mut optim = FusedOptimizer::new(decayed, options).with_group(
        ParamGroup::from_any_regexes(vec!["bias$", "norm"]).expect("two patterns"),
        plain,
    );

    let mut first = 0;
    if let Some(folder) = &folder {
        std::fs::create_dir_all(folder).with_context(|| format!("{}", folder.display()))?;
        let is_there = |&epoch: &usize| paths(folder, epoch).iter().all(|path| path.exists());
        if let Some(last) = (1..=EPOCHS).rev().find(is_there) {
            let [model, state] = paths(folder, last);
            network = network.load_record(ModuleRecord::load(model)?);
            optim = optim.load(state)?;
            first = last;
            println!("going on after epoch {last}");
        }
    }
    for epoch in first..EPOCHS {
        let mut sum = 0.0;
        let rows = shuffled(data.train.count, epoch);
        for rows in rows.chunks(BATCH) {
            let (images, classes) = batch(&data.train, rows, &training);
            let loss = loss.forward(network.forward(images), classes);
            sum += loss.clone().into_scalar::<f32>() * rows.len() as f32;
            let grads = GradientsParams::from_grads(loss.backward(), &network);
            network = optim.step(LR, network, grads);
        }
        let accuracy = 100.0 * accuracy(&network.valid(), &data.test, &device);
        let loss = sum / data.train.count as f32;
        println!(
            "epoch {}: train loss {loss:.4}, test accuracy {accuracy:.2} %",
            epoch + 1
        );
        if let Some(folder) = &folder {
            let [model, state] = paths(folder, epoch + 1);
            network.clone().into_record().save(model)?;
            optim.save(state)?;
        }
    }
    for copied in optim.copies() {
        println!(
            "{:?} of {} was copied: {:?}",
            copied.operand, copied.path, copied.reason
        );
    }
    Ok(())
}
