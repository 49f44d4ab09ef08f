//! Convolutions and max pooling.

use super::*;

/// Layers on images of 5×7 pixels and 2 channels, of which no size divides another: all kinds of
/// layers, each above each.
const STACKS: [&[Layer]; 3] = [
    &[
        Layer::Convolution {
            filters: 3,
            kernel: 3,
        },
        Layer::MaxPool { size: 2 },
        // Larger than its images of 2×3.
        Layer::Convolution {
            filters: 2,
            kernel: 5,
        },
        Layer::Linear { outputs: 3 },
    ],
    &[
        Layer::MaxPool { size: 3 },
        Layer::Convolution {
            filters: 4,
            kernel: 1,
        },
        Layer::MaxPool { size: 1 },
        Layer::Linear { outputs: 6 },
        Layer::Linear { outputs: 2 },
    ],
    &[
        Layer::Convolution {
            filters: 5,
            kernel: 3,
        },
        Layer::Convolution {
            filters: 2,
            kernel: 5,
        },
        Layer::MaxPool { size: 2 },
        Layer::MaxPool { size: 2 },
        // Of a single pixel, whose patch is zero around it.
        Layer::Convolution {
            filters: 3,
            kernel: 3,
        },
        Layer::Linear { outputs: 2 },
    ],
];

fn stack(layers: &[Layer], activation: Activation) -> Architecture {
    let input = Shape {
        height: 5,
        width: 7,
        channels: 2,
    };
    Architecture::new(input, layers, activation, Loss::CrossEntropy).unwrap()
}

#[test]
fn gradients_of_convolutions_and_max_pooling_are_the_finite_differences() {
    // The rows of 37 images of 35 pixels are summed up in three pieces.
    for (layers, rows) in STACKS.into_iter().zip([37, 1, 9]) {
        check_finite_differences(&stack(layers, Activation::Tanh), rows);
    }
}

#[test]
fn every_activation_goes_with_convolutions_and_max_pooling() {
    for activation in ACTIVATIONS {
        for layers in STACKS {
            let architecture = stack(layers, activation);
            let data = random_data(&architecture, 5, 1);
            let registered = architecture
                .register(rule("sgd"), Options::default())
                .unwrap();
            let mut cpu = CpuNetwork::<f64>::new(registered, &data, 5, 3).unwrap();
            cpu.backward(0).unwrap();
            let tensors: Vec<_> = cpu.registered.layout.tensors().collect();
            for tensor in tensors {
                let expected = finite_differences(&mut cpu, tensor);
                let actual = cpu.optimizer.grad(tensor).unwrap();
                let actual: Vec<f32> = actual.iter().map(|&g| g as f32).collect();
                compare(
                    &actual,
                    &expected,
                    1e-6,
                    &format!("{activation:?}, {layers:?}"),
                );
            }
        }
    }
}
