//! Convolutions and max pooling.

use super::*;

fn shape([height, width, channels]: [usize; 3]) -> Shape {
    Shape {
        height,
        width,
        channels,
    }
}

const fn conv(filters: usize, kernel: usize) -> Layer {
    Layer::Convolution { filters, kernel }
}

/// Layers on images of 5×7 pixels and 2 channels, of which no size divides another: all kinds of
/// layers, each above each.
const STACKS: [&[Layer]; 3] = [
    &[
        conv(3, 3),
        Layer::MaxPool { size: 2 },
        // Larger than its images of 2×3.
        conv(2, 5),
        Layer::Linear { outputs: 3 },
    ],
    &[
        Layer::MaxPool { size: 3 },
        conv(4, 1),
        Layer::MaxPool { size: 1 },
        Layer::Linear { outputs: 6 },
        Layer::Linear { outputs: 2 },
    ],
    &[
        conv(5, 3),
        conv(2, 5),
        Layer::MaxPool { size: 2 },
        Layer::MaxPool { size: 2 },
        // Of a single pixel, whose patch is zero around it.
        conv(3, 3),
        Layer::Linear { outputs: 2 },
    ],
];

fn stack(layers: &[Layer], activation: Activation) -> Architecture {
    Architecture::new(shape([5, 7, 2]), layers, activation, Loss::CrossEntropy).unwrap()
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

/// The centre of each patch, so that a pooled square has as many largest numbers as the image has
/// largest pixels there; the other weights' gradients say which of them was taken.
fn write_centres(pair: &mut Pair, kernel: usize) {
    let parameters = pair.parameters[0];
    let area = kernel * kernel;
    let weight: Vec<f32> = (0..parameters.matrix.inputs * parameters.matrix.outputs)
        .map(|place| if place % area == area / 2 { 1.0 } else { 0.0 })
        .collect();
    pair.gpu
        .optimizer
        .write_param(&gpu_queue(), parameters.weight, &weight)
        .unwrap();
    let on_cpu = pair.cpu.optimizer.param_mut(parameters.weight).unwrap();
    for (weight, number) in on_cpu.iter_mut().zip(weight) {
        *weight = f64::from(number);
    }
}

#[test]
fn of_equal_pixels_both_devices_hand_the_gradient_to_the_first() {
    let architecture = stack(STACKS[0], Activation::Tanh);
    let mut data = random_data(&architecture, 37, 1);
    for pixel in &mut data.train.inputs {
        *pixel = f32::from(*pixel > 0.0);
    }
    let mut pair = Pair::new(&architecture, &data, 37);
    write_centres(&mut pair, 3);
    pair.visit(0);
    pair.compare_gradients(2e-5, "pixels of 0 and 1");
}

#[test]
fn gradients_of_convolutions_that_fill_no_tile_are_the_cpu_networks() {
    let stacks: [(Shape, &[Layer], usize); 3] = [
        // More filters and more numbers in a patch than a tile has rows.
        (
            shape([9, 6, 3]),
            &[conv(65, 5), Layer::MaxPool { size: 4 }, conv(2, 3)],
            3,
        ),
        // 512 positions are a whole piece, and 513 begin another.
        (shape([8, 8, 1]), &[conv(3, 3)], 8),
        (shape([19, 27, 1]), &[conv(3, 3)], 1),
    ];
    for (input, layers, rows) in stacks {
        let layers = [layers, &[Layer::Linear { outputs: 3 }]].concat();
        let (activation, loss) = (Activation::Gelu, Loss::Mse);
        let architecture = Architecture::new(input, &layers, activation, loss).unwrap();
        let data = random_data(&architecture, rows, 1);
        let mut pair = Pair::new(&architecture, &data, rows);
        pair.visit(0);
        pair.compare_gradients(2e-5, &format!("{architecture}, {rows} rows"));
    }
}

/// llvmpipe's loops would end before so many.
#[test]
fn gradients_over_70_000_positions_are_the_cpu_networks() {
    let layers = [
        conv(2, 3),
        Layer::MaxPool { size: 8 },
        Layer::Linear { outputs: 2 },
    ];
    let loss = Loss::Mse;
    let architecture =
        Architecture::new(shape([8, 8, 1]), &layers, Activation::Tanh, loss).unwrap();
    let data = random_data(&architecture, 1100, 1);
    let mut pair = Pair::new(&architecture, &data, 1100);
    pair.visit(0);
    pair.compare_gradients(2e-5, "70 400 positions");
}

#[test]
fn gradients_of_convolutions_add_up_and_are_scaled() {
    let architecture = stack(STACKS[0], Activation::Tanh);
    let data = random_data(&architecture, 66, 5);
    let options = Options {
        accumulate: 2,
        zero_grad: true,
        loss_scale: Some(LossScale::fixed(8.0)),
        ..Options::default()
    };
    let mut whole = Pair::new(&architecture, &data, 66);
    let mut halves = Pair::around(&architecture, &data, 33, 1.0, options);
    whole.backward(0);
    halves.backward(0);
    halves.backward(1);
    halves.compare_with(&whole, 2.0 * 8.0, "two batches of 33");
}

#[test]
fn curvatures_of_convolutions_are_rows_times_squared_gradients() {
    let architecture = stack(STACKS[0], Activation::Tanh);
    let data = random_data(&architecture, 6, 1);
    let registered = architecture.register(rule("sophia"), Options::default());
    let registered = registered.unwrap();
    let mut cpu = CpuNetwork::<f64>::new(registered.clone(), &data, 6, 3).unwrap();
    let mut gpu = GpuNetwork::new(gpu(), registered, &data, 6, 3).unwrap();
    cpu.backward(0).unwrap();
    gpu.backward(0).unwrap();
    gpu.finish().unwrap();
    assert_eq!(cpu.registered.curvatures.len(), 6);
    for &(tensor, slot) in &cpu.registered.curvatures {
        let gradient = cpu.optimizer.grad(tensor).unwrap();
        let expected: Vec<f64> = gradient.iter().map(|g| 6.0 * g * g).collect();
        assert!(expected.iter().any(|&h| h > 0.0));
        assert_eq!(cpu.optimizer.state(tensor, slot).unwrap(), expected);
        let state = gpu.optimizer.state(tensor, slot).unwrap();
        let actual = read_blocking(&super::gpu().device, &gpu_queue(), &state).unwrap();
        compare(&actual, &expected, 5e-5, slot);
    }
}

#[test]
fn patches_beyond_the_binding_limit_shrink_the_test_batches() {
    // 315 numbers for each image, of which the narrow device binds 4096.
    let layers = [conv(2, 3), Layer::Linear { outputs: 3 }];
    let loss = Loss::CrossEntropy;
    let architecture =
        Architecture::new(shape([5, 7, 1]), &layers, Activation::Relu, loss).unwrap();
    let data = random_data(&architecture, 13, 100);
    let narrow = limits::narrow_gpu();
    let mut gpu = GpuNetwork::new(&narrow, adamw(&architecture), &data, 13, 1).unwrap();
    let mut cpu = CpuNetwork::<f32>::new(adamw(&architecture), &data, 13, 1).unwrap();
    let (gpu, cpu) = (gpu.test_score().unwrap(), cpu.test_score().unwrap());
    assert!(
        (gpu.loss - cpu.loss).abs() < 1e-5,
        "{gpu:?} instead of {cpu:?}"
    );
    assert_eq!(gpu.accuracy, cpu.accuracy);
    let data = random_data(&architecture, 14, 1);
    let network = GpuNetwork::new(&narrow, adamw(&architecture), &data, 14, 1);
    let error = network.err().unwrap().to_string();
    assert!(error.contains("--batch-size"), "{error}");
}
