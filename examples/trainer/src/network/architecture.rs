//! What a network is made of: its layers, their shapes and their starting weights.

use std::fmt;

use anyhow::{Context, Result, ensure};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{Activation, Loss};

/// Pixels of a convolution or pooling in each direction. A thread goes through their square, and Mesa's
/// llvmpipe would end its loops after 65 535 rounds.
const LARGEST_WINDOW: usize = 99;

/// What a layer computes. An activation follows each layer that has weights, except the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// So many filters of `kernel` × `kernel` pixels and all channels, applied around every pixel.
    /// Beyond the edges are zeros, so that the image keeps its size; `kernel` is odd.
    Convolution { filters: usize, kernel: usize },
    /// The largest of each `size` × `size` pixels, channel by channel. Rows and columns that fill no
    /// square are left out.
    MaxPool { size: usize },
    /// Every output sums up all inputs.
    Linear { outputs: usize },
}

/// The numbers that pass between two layers, pixel by pixel, the channels of a pixel side by side.
/// A plain vector is one pixel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    pub height: usize,
    pub width: usize,
    pub channels: usize,
}

/// A layer's weights, `[outputs, inputs]`, and how often a sample meets them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Matrix {
    pub inputs: usize,
    pub outputs: usize,
    /// The pixels around which the weights are applied; 1 for a linear layer.
    pub positions: usize,
    /// Outputs that one input reaches.
    fan_out: usize,
}

/// A layer between the shapes that it takes and gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    pub layer: Layer,
    pub input: Shape,
    pub output: Shape,
    /// Whether an activation follows.
    pub activated: bool,
}

/// Layers, one behind the other.
#[derive(Clone, Debug, PartialEq)]
pub struct Architecture {
    input: Shape,
    layers: Vec<Placed>,
    pub activation: Activation,
    pub loss: Loss,
}

impl Shape {
    pub fn vector(length: usize) -> Self {
        Self {
            height: 1,
            width: 1,
            channels: length,
        }
    }

    pub fn pixels(self) -> usize {
        self.height.saturating_mul(self.width)
    }

    /// How many numbers there are.
    pub fn numbers(self) -> usize {
        self.pixels().saturating_mul(self.channels)
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pixels() {
            1 => write!(f, "{}", self.channels),
            _ => write!(f, "{}×{}×{}", self.height, self.width, self.channels),
        }
    }
}

impl Layer {
    fn output(self, input: Shape) -> Result<Shape> {
        match self {
            Self::Convolution { filters, kernel } => {
                ensure!(
                    kernel % 2 == 1,
                    "A convolution of {kernel}×{kernel} pixels has none in the middle: expected an odd size."
                );
                ensure!(
                    kernel <= LARGEST_WINDOW,
                    "A convolution of {kernel}×{kernel} pixels is too large: expected at most {LARGEST_WINDOW}."
                );
                Ok(Shape {
                    channels: filters,
                    ..input
                })
            }
            Self::MaxPool { size } => {
                ensure!(
                    (1..=LARGEST_WINDOW).contains(&size),
                    "There is no max pooling of {size}×{size} pixels: expected a size from 1 to {LARGEST_WINDOW}."
                );
                let output = Shape {
                    height: input.height / size,
                    width: input.width / size,
                    ..input
                };
                ensure!(
                    output.pixels() > 0,
                    "Max pooling of {size}×{size} pixels meets an image of {}×{}: expected fewer poolings, smaller \
                     ones, or larger images.",
                    input.height,
                    input.width
                );
                Ok(output)
            }
            Self::Linear { outputs } => Ok(Shape::vector(outputs)),
        }
    }

    fn matrix(self, input: Shape) -> Option<Matrix> {
        match self {
            Self::Convolution { filters, kernel } => Some(Matrix {
                inputs: (kernel * kernel).saturating_mul(input.channels),
                outputs: filters,
                positions: input.pixels(),
                fan_out: (kernel * kernel).saturating_mul(filters),
            }),
            Self::MaxPool { .. } => None,
            Self::Linear { outputs } => Some(Matrix {
                inputs: input.numbers(),
                outputs,
                positions: 1,
                fan_out: outputs,
            }),
        }
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Convolution { filters, kernel } => write!(f, "conv {filters}x{kernel}"),
            Self::MaxPool { size } => write!(f, "pool {size}"),
            Self::Linear { outputs } => write!(f, "{outputs}"),
        }
    }
}

impl Placed {
    /// None if the layer has no weights.
    pub fn matrix(self) -> Option<Matrix> {
        self.layer.matrix(self.input)
    }
}

impl Architecture {
    /// Fails with a sentence if a layer does not fit what it is given.
    pub fn new(input: Shape, layers: &[Layer], activation: Activation, loss: Loss) -> Result<Self> {
        let mut placed: Vec<Placed> = Vec::new();
        for &layer in layers {
            let input = placed.last().map_or(input, |below| below.output);
            placed.push(Placed {
                layer,
                input,
                output: layer.output(input)?,
                activated: layer.matrix(input).is_some(),
            });
        }
        // The loss reads the last layer's sums as they are.
        placed
            .last_mut()
            .context("A network needs at least one layer.")?
            .activated = false;
        Ok(Self {
            input,
            layers: placed,
            activation,
            loss,
        })
    }

    /// A multi-layer perceptron: linear layers from `sizes[0]` features through the hidden layers'
    /// widths to the outputs.
    pub fn perceptron(sizes: &[usize], activation: Activation, loss: Loss) -> Result<Self> {
        let (&features, outputs) = sizes.split_first().context("A network needs features.")?;
        let layers: Vec<_> = outputs
            .iter()
            .map(|&outputs| Layer::Linear { outputs })
            .collect();
        Self::new(Shape::vector(features), &layers, activation, loss)
    }

    pub fn input(&self) -> Shape {
        self.input
    }

    pub fn output(&self) -> Shape {
        self.layers.last().map_or(self.input, |last| last.output)
    }

    pub fn layers(&self) -> &[Placed] {
        &self.layers
    }

    /// The shape before the first layer, and after each.
    pub fn shapes(&self) -> impl Iterator<Item = Shape> {
        std::iter::once(self.input).chain(self.layers.iter().map(|placed| placed.output))
    }

    /// Of the layers that have weights.
    pub fn matrices(&self) -> impl Iterator<Item = Matrix> {
        self.layers.iter().filter_map(|placed| placed.matrix())
    }

    pub fn parameter_count(&self) -> usize {
        self.matrices()
            .map(|matrix| {
                matrix
                    .inputs
                    .saturating_add(1)
                    .saturating_mul(matrix.outputs)
            })
            .fold(0, usize::saturating_add)
    }

    /// Starting weights of every layer that has some, `[outputs, inputs]`; biases start at zero.
    ///
    /// He et al. 2015 (arXiv:1502.01852) where half of the inputs to the layer are cut off, Glorot
    /// & Bengio 2010 elsewhere, both uniform. The same seed gives the same numbers on every device.
    pub fn initial_weights(&self, seed: u64) -> Vec<Vec<f32>> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let rectified = matches!(self.activation, Activation::Relu | Activation::Gelu);
        let layers = self.layers.iter();
        let matrices = layers.filter_map(|placed| Some((placed.matrix()?, placed.activated)));
        matrices
            .map(|(matrix, activated)| {
                let Matrix {
                    inputs,
                    outputs,
                    fan_out,
                    ..
                } = matrix;
                let bound = if rectified && activated {
                    (6.0 / inputs as f64).sqrt()
                } else {
                    (6.0 / (inputs + fan_out) as f64).sqrt()
                };
                let draw = |_| (bound * random.random_range(-1.0..1.0)) as f32;
                (0..inputs * outputs).map(draw).collect()
            })
            .collect()
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.input)?;
        self.layers
            .iter()
            .try_for_each(|placed| write!(f, " → {}", placed.layer))
    }
}

#[cfg(test)]
mod tests {
    use flags::Rules;
    use wgpu_optim::{Format, Formats, Options, rules};

    use super::*;

    fn of(layers: &[Layer]) -> Result<Architecture> {
        let input = Shape {
            height: 5,
            width: 7,
            channels: 1,
        };
        Architecture::new(input, layers, Activation::Relu, Loss::CrossEntropy)
    }

    fn conv(filters: usize, kernel: usize) -> Layer {
        Layer::Convolution { filters, kernel }
    }

    #[test]
    fn convolutions_keep_the_size_and_pooling_leaves_out_what_fills_no_square() {
        let pool = Layer::MaxPool { size: 2 };
        let layers = [
            conv(4, 5),
            pool,
            conv(6, 3),
            pool,
            Layer::Linear { outputs: 3 },
        ];
        let architecture = of(&layers).unwrap();
        let shapes: Vec<_> = architecture
            .shapes()
            .map(|shape| shape.to_string())
            .collect();
        assert_eq!(shapes, ["5×7×1", "5×7×4", "2×3×4", "2×3×6", "6", "3"]);
        assert_eq!(
            architecture.to_string(),
            "5×7×1 → conv 4x5 → pool 2 → conv 6x3 → pool 2 → 3"
        );
        assert_eq!(architecture.parameter_count(), 4 * 26 + 6 * 37 + 3 * 7);
    }

    #[test]
    fn filters_are_rows_of_matrices_and_names_count_the_layers_with_weights() {
        let layers = [
            conv(4, 3),
            Layer::MaxPool { size: 3 },
            conv(2, 5),
            Layer::Linear { outputs: 3 },
        ];
        let rule = rules::by_name("sgd").unwrap();
        let registered = of(&layers)
            .unwrap()
            .register(rule, Options::default())
            .unwrap();
        let layout = &registered.layout;
        let tensors = layout.tensors().map(|tensor| {
            let shape = layout.shape(tensor).unwrap();
            (layout.name(tensor).unwrap().to_owned(), shape.to_vec())
        });
        let expected = [
            ("0.weight", vec![4, 9]),
            ("0.bias", vec![4]),
            ("1.weight", vec![2, 100]),
            ("1.bias", vec![2]),
            ("2.weight", vec![3, 4]),
            ("2.bias", vec![3]),
        ];
        let expected = expected.map(|(name, shape)| (name.to_owned(), shape));
        assert_eq!(tensors.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn every_group_is_stored_as_the_rules_say() {
        let formats = Formats {
            state: Format::Int8,
            seed: 3,
        };
        let rules = Rules {
            formats,
            matrices: Some(rules::by_name("muon").unwrap()),
            ..rules::by_name("adamw").unwrap().into()
        };
        let layers = [conv(4, 3), Layer::Linear { outputs: 3 }];
        let registered = of(&layers).unwrap().register(rules, Options::default());
        let layout = registered.unwrap().layout;
        let found: Vec<_> = layout.groups().map(|group| layout.formats(group)).collect();
        assert_eq!(found, [Ok(formats), Ok(formats)]);
    }

    #[test]
    fn layers_that_do_not_fit_are_errors() {
        let pool = |size| Layer::MaxPool { size };
        for (layers, expected) in [
            (vec![conv(4, 2)], "expected an odd size"),
            (vec![pool(2), pool(3)], "3×3 pixels meets an image of 2×3"),
            (vec![pool(0)], "expected a size from 1 to 99"),
            (vec![conv(1, 101)], "expected at most 99"),
            (vec![], "at least one layer"),
        ] {
            let error = of(&layers).unwrap_err().to_string();
            assert!(error.contains(expected), "{layers:?}: {error}");
        }
    }

    #[test]
    fn starting_weights_lie_within_the_bounds_of_he_and_glorot() {
        let layers = [conv(20, 3), conv(30, 5), Layer::Linear { outputs: 10 }];
        let last = 6.0 / (35.0 * 30.0 + 10.0);
        let he = [6.0 / 9.0, 6.0 / (20.0 * 25.0), last];
        let glorot = [6.0 / (9.0 * 21.0), 6.0 / (25.0 * 50.0), last];
        for (activation, bounds) in [(Activation::Gelu, he), (Activation::Tanh, glorot)] {
            let mut architecture = of(&layers).unwrap();
            architecture.activation = activation;
            let weights = architecture.initial_weights(1);
            for (weights, bound) in weights.iter().zip(bounds.map(f64::sqrt)) {
                let largest = weights.iter().fold(0.0f32, |a, b| a.max(b.abs()));
                assert!(
                    (0.95 * bound..bound).contains(&f64::from(largest)),
                    "{activation:?}: {largest}, {bound}"
                );
            }
        }
    }
}
