//! Small models of the kinds that people train.

use burn::module::{Module, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::transformer::{
    TransformerEncoder, TransformerEncoderConfig, TransformerEncoderInput,
};
use burn::nn::{BatchNorm, BatchNormConfig, Embedding, EmbeddingConfig, Linear, LinearConfig};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Int, Tensor, TensorData};

use super::{filled, numbers};

fn classes(seed: u32, count: usize, classes: usize, device: &Device) -> Tensor<1, Int> {
    let picks = numbers(seed, count, 0.5).into_iter();
    let picks = picks.map(|x| ((x + 0.5) * classes as f32) as i32 % classes as i32);
    Tensor::from_data(TensorData::new(picks.collect(), [count]), device)
}

/// Two convolutions with a norm, and a linear layer, over images of 8 × 8.
#[derive(Module, Debug)]
pub struct Cnn {
    pub conv1: Conv2d,
    pub norm: BatchNorm,
    pub conv2: Conv2d,
    pub output: Linear,
}

impl Cnn {
    pub fn new(device: &Device) -> Self {
        filled(Self {
            conv1: Conv2dConfig::new([1, 6], [3, 3]).init(device),
            norm: BatchNormConfig::new(6).init(device),
            conv2: Conv2dConfig::new([6, 8], [3, 3])
                .with_stride([2, 2])
                .init(device),
            output: LinearConfig::new(8 * 2 * 2, 10).init(device),
        })
    }

    /// The loss over the batch of a step.
    pub fn loss(&self, step: u32, device: &Device) -> Tensor<1> {
        const ROWS: usize = 16;
        let images = TensorData::new(numbers(7 + step, ROWS * 64, 1.0), [ROWS, 1, 8, 8]);
        let x = self.conv1.forward(Tensor::<4>::from_data(images, device));
        let x = relu(self.norm.forward(x));
        let x = relu(self.conv2.forward(x)).flatten::<2>(1, 3);
        let loss = CrossEntropyLossConfig::new().init(device);
        loss.forward(self.output.forward(x), classes(step, ROWS, 10, device))
    }
}

/// An encoder of two blocks over tokens, and a head.
#[derive(Module, Debug)]
pub struct Transformer {
    pub tokens: Embedding,
    pub encoder: TransformerEncoder,
    pub head: Linear,
}

impl Transformer {
    pub fn new(device: &Device) -> Self {
        Self::of_size(device, 16, 2)
    }

    pub fn of_size(device: &Device, width: usize, blocks: usize) -> Self {
        let encoder = TransformerEncoderConfig::new(width, 2 * width, 2, blocks);
        filled(Self {
            tokens: EmbeddingConfig::new(20, width).init(device),
            encoder: encoder.with_dropout(0.0).with_norm_first(true).init(device),
            head: LinearConfig::new(width, 20).init(device),
        })
    }

    /// The loss over the batch of a step.
    pub fn loss(&self, step: u32, device: &Device) -> Tensor<1> {
        const ROWS: usize = 4;
        const LENGTH: usize = 8;
        let tokens = classes(step, ROWS * LENGTH, 20, device).reshape([ROWS, LENGTH]);
        let targets = classes(step + 1, ROWS * LENGTH, 20, device);
        let x = self.tokens.forward(tokens);
        let x = self.encoder.forward(TransformerEncoderInput::new(x));
        let x = self.head.forward(x).reshape([ROWS * LENGTH, 20]);
        CrossEntropyLossConfig::new()
            .init(device)
            .forward(x, targets)
    }
}

/// A model that is nothing but its parameters.
#[derive(Module, Debug)]
pub struct Params {
    pub all: Vec<Param<Tensor<1>>>,
}

impl Params {
    /// A parameter of each length.
    pub fn new(lengths: &[usize], device: &Device) -> Self {
        let param = |(index, &length): (usize, &usize)| {
            let data = TensorData::new(numbers(index as u32, length, 1.0), [length]);
            Param::from_data(data, device)
        };
        Self {
            all: lengths.iter().enumerate().map(param).collect(),
        }
    }
}
