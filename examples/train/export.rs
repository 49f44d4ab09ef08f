//! Weights for PyTorch.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use anyhow::{Context, Result};
use safetensors::tensor::{Dtype, TensorView, serialize};
use trainer::network::architecture::Placed;
use trainer::network::{Architecture, Layer, Weights};

use crate::saves::folder;

/// A tensor with PyTorch's name and layout.
#[derive(Debug, PartialEq)]
struct Exported {
    name: String,
    shape: Vec<usize>,
    numbers: Vec<f32>,
}

/// Writes the weights of each layer as `conv1.weight`, `conv1.bias`, …, `fc1.weight`, `fc1.bias`, …,
/// the layers of each kind counted by themselves. The old file is there until the new one is complete.
pub fn write(path: &Path, architecture: &Architecture, weights: &[Weights]) -> Result<()> {
    let name = || format!("--export-weights {}", path.display());
    let tensors = exported(architecture, weights);
    let bytes: BTreeMap<_, Vec<u8>> = tensors
        .iter()
        .map(|tensor| (&tensor.name, bytemuck::cast_slice(&tensor.numbers).to_vec()))
        .collect();
    let views = tensors.iter().map(|tensor| {
        let view = TensorView::new(Dtype::F32, tensor.shape.clone(), &bytes[&tensor.name]);
        Ok((tensor.name.clone(), view?))
    });
    let views = views.collect::<Result<Vec<_>>>().with_context(name)?;
    let metadata = HashMap::from([
        ("format".to_owned(), "pt".to_owned()),
        ("network".to_owned(), architecture.to_string()),
    ]);
    let bytes = serialize(views, Some(metadata)).with_context(name)?;
    let unfinished = folder(path).join(format!(".export-{}.unfinished", std::process::id()));
    let written =
        std::fs::write(&unfinished, bytes).and_then(|()| std::fs::rename(&unfinished, path));
    if written.is_err() {
        // The error says more than one of this.
        let _ = std::fs::remove_file(&unfinished);
    }
    written.with_context(name)
}

fn exported(architecture: &Architecture, weights: &[Weights]) -> Vec<Exported> {
    let (mut convolutions, mut linears) = (0, 0);
    let layers = architecture.layers().iter();
    let layers = layers.filter(|placed| placed.matrix().is_some());
    let tensors = layers.zip(weights).flat_map(|(placed, weights)| {
        let outputs = weights.bias.len();
        let (name, shape, numbers) = match placed.layer {
            Layer::Convolution { kernel, .. } => {
                convolutions += 1;
                let shape = vec![outputs, placed.input.channels, kernel, kernel];
                (format!("conv{convolutions}"), shape, weights.weight.clone())
            }
            _ => {
                linears += 1;
                let shape = vec![outputs, placed.input.numbers()];
                let numbers = by_channel(placed, &weights.weight);
                (format!("fc{linears}"), shape, numbers)
            }
        };
        let weight = Exported {
            name: format!("{name}.weight"),
            shape,
            numbers,
        };
        let bias = Exported {
            name: format!("{name}.bias"),
            shape: vec![outputs],
            numbers: weights.bias.clone(),
        };
        [weight, bias]
    });
    tensors.collect()
}

/// A linear layer takes an image pixel by pixel here, and channel by channel after PyTorch's `flatten`.
fn by_channel(placed: &Placed, weight: &[f32]) -> Vec<f32> {
    let (pixels, channels) = (placed.input.pixels(), placed.input.channels);
    let rows = weight.chunks(placed.input.numbers());
    let rows = rows.flat_map(|row| {
        let places = (0..channels).flat_map(move |c| (0..pixels).map(move |p| p * channels + c));
        places.map(move |place| row[place])
    });
    rows.collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use flags::device::Device;
    use safetensors::SafeTensors;
    use trainer::data::Dataset;
    use trainer::network::Score;

    use super::*;
    use crate::arguments::Arguments;

    /// `conv1`, ReLU, max pooling of 2×2, `conv2`, ReLU, `flatten`, `fc1`, cross-entropy over the test
    /// data, as PyTorch computes them: images are `[channels, height, width]`.
    fn score(file: &SafeTensors, data: &Dataset) -> Score {
        let of = |name: &str| -> Vec<f64> {
            let (numbers, _) = file.tensor(name).unwrap().data().as_chunks();
            let numbers = numbers.iter();
            numbers
                .map(|number| f32::from_le_bytes(*number).into())
                .collect()
        };
        let (mut loss, mut hits) = (0.0, 0.0);
        let rows = data.test.inputs.chunks(data.features);
        for (image, target) in rows.zip(data.test.targets.chunks(data.outputs)) {
            let image: Vec<f64> = image.iter().map(|&pixel| pixel.into()).collect();
            let image = conv(&image, (1, 8), &of("conv1.weight"), &of("conv1.bias"), 3);
            let image = pool(&image, (4, 8));
            let image = conv(&image, (4, 4), &of("conv2.weight"), &of("conv2.bias"), 3);
            let (weight, bias) = (of("fc1.weight"), of("fc1.bias"));
            let rows = weight.chunks(image.len()).zip(&bias);
            let dot = |row: &[f64]| row.iter().zip(&image).map(|(w, x)| w * x).sum::<f64>();
            let answers: Vec<_> = rows.map(|(row, bias)| bias + dot(row)).collect();
            let class = target.iter().position(|&t| t == 1.0).unwrap();
            let sum: f64 = answers.iter().map(|z| z.exp()).sum();
            loss += sum.ln() - answers[class];
            hits += f64::from(u8::from(answers.iter().all(|&z| z <= answers[class])));
        }
        let count = data.test.count as f64;
        Score {
            loss: loss / count,
            accuracy: hits / count,
        }
    }

    /// With zeros beyond the edges, and ReLU.
    fn conv(
        image: &[f64],
        (channels, size): (usize, usize),
        weight: &[f64],
        bias: &[f64],
        kernel: usize,
    ) -> Vec<f64> {
        let mut output = Vec::new();
        for (filter, bias) in bias.iter().enumerate() {
            for (y, x) in (0..size).flat_map(|y| (0..size).map(move |x| (y, x))) {
                let mut sum = *bias;
                for channel in 0..channels {
                    for (ky, kx) in (0..kernel).flat_map(|ky| (0..kernel).map(move |kx| (ky, kx))) {
                        let row = (y + ky).wrapping_sub(kernel / 2);
                        let column = (x + kx).wrapping_sub(kernel / 2);
                        if row < size && column < size {
                            let w = ((filter * channels + channel) * kernel + ky) * kernel + kx;
                            sum += weight[w] * image[(channel * size + row) * size + column];
                        }
                    }
                }
                output.push(sum.max(0.0));
            }
        }
        output
    }

    fn pool(image: &[f64], (channels, size): (usize, usize)) -> Vec<f64> {
        let half = size / 2;
        let places = (0..channels * half * half).map(|place| {
            let (channel, y, x) = (place / half / half, place / half % half, place % half);
            let first = (channel * size + 2 * y) * size + 2 * x;
            let square = [first, first + 1, first + size, first + size + 1];
            square.map(|place| image[place])
        });
        let largest = |square: [f64; 4]| square.into_iter().fold(f64::NEG_INFINITY, f64::max);
        places.map(largest).collect()
    }

    #[test]
    fn the_weights_answer_in_pytorchs_layout_as_the_network_does() {
        let line = ["train", "--conv", "4x3,6x3", "--pool", "2", "--hidden", ""];
        let arguments = Arguments::parse_from(line);
        let data = arguments.network.data().unwrap();
        let architecture = arguments.network.architecture(&data).unwrap();
        // The second pooling would leave nothing to tell apart.
        let mut layers: Vec<_> = architecture.layers().iter().map(|p| p.layer).collect();
        layers.remove(3);
        let (input, activation, loss) = (
            architecture.input(),
            architecture.activation,
            architecture.loss,
        );
        let architecture = Architecture::new(input, &layers, activation, loss).unwrap();
        let rules = arguments.rules().unwrap();
        let registered = architecture.clone().register(rules, Default::default());
        let device = Device::Cpu;
        let network = trainer::network::open(&device, registered.unwrap(), &data, 32, 1);
        let mut network = network.unwrap();
        let rules = arguments.rules().unwrap();
        let plan = arguments.plan(&rules, data.train.count).unwrap();
        let order: Vec<u32> = (0..plan.samples as u32).collect();
        network.start_epoch(&order).unwrap();
        for batch in 0..40 {
            network.backward(batch).unwrap();
            network.update(1.0).unwrap();
        }
        let expected = network.test_score().unwrap();

        let path = std::env::temp_dir().join(format!("train-export-{}", std::process::id()));
        write(&path, &architecture, &network.weights().unwrap()).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        for (name, shape) in [
            ("conv1.weight", &[4, 1, 3, 3][..]),
            ("conv1.bias", &[4]),
            ("conv2.weight", &[6, 4, 3, 3]),
            ("conv2.bias", &[6]),
            ("fc1.weight", &[10, 6 * 4 * 4]),
            ("fc1.bias", &[10]),
        ] {
            assert_eq!(file.tensor(name).unwrap().shape(), shape, "{name}");
        }
        assert_eq!(file.len(), 6);
        let found = score(&file, &data);
        assert!(
            (found.loss - expected.loss).abs() < 1e-5 && found.accuracy == expected.accuracy,
            "{found:?} instead of {expected:?}"
        );
        assert!(expected.accuracy > 0.3, "{expected:?}");
    }
}
