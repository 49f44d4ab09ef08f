//! What a device cannot hold or count to.

use super::*;

/// A device that binds no more than 16 KiB at once.
pub fn narrow_gpu() -> Gpu {
    let wide = gpu();
    let limits = wgpu::Limits {
        max_storage_buffer_binding_size: 16 << 10,
        ..wide.adapter.limits()
    };
    let descriptor = wgpu::DeviceDescriptor {
        required_limits: limits,
        ..Default::default()
    };
    let (device, queue) = pollster::block_on(wide.adapter.request_device(&descriptor)).unwrap();
    Gpu {
        device,
        queue,
        ..wide.clone()
    }
}

#[test]
fn a_data_set_beyond_the_binding_limit_is_gathered_from_pages() {
    let sizes = [20, 3];
    let loss = Loss::CrossEntropy;
    let architecture = perceptron(&sizes, Activation::Relu, loss);
    // 12 000 numbers, of which a page holds 204 rows of 20.
    let data = random_data(&architecture, 600, 100);
    let narrow = narrow_gpu();
    let mut gpu = GpuNetwork::new(&narrow, adamw(&architecture), &data, 50, 1).unwrap();
    let mut cpu = CpuNetwork::<f32>::new(adamw(&architecture), &data, 50, 1).unwrap();
    let mut shuffle = Shuffle::new(600, 1);
    let order = shuffle.next_epoch();
    gpu.start_epoch(order).unwrap();
    cpu.start_epoch(order).unwrap();
    for batch in 0..12 {
        gpu.step(batch, 1e-3).unwrap();
        cpu.step(batch, 1e-3).unwrap();
    }
    let (gpu, cpu) = (gpu.train_score().unwrap(), cpu.train_score().unwrap());
    assert!(
        (gpu.loss - cpu.loss).abs() < 1e-5,
        "{gpu:?} instead of {cpu:?}"
    );
    assert_eq!(gpu.accuracy, cpu.accuracy);
}

#[test]
fn a_batch_beyond_the_binding_limit_is_an_error_that_names_the_flag() {
    let architecture = perceptron(&[20, 3], Activation::Relu, Loss::CrossEntropy);
    let data = random_data(&architecture, 600, 100);
    let narrow = narrow_gpu();
    let network = GpuNetwork::new(&narrow, adamw(&architecture), &data, 600, 1);
    let error = network.err().unwrap().to_string();
    assert!(error.contains("--batch-size"), "{error}");
}

/// llvmpipe would end the sums of a larger one.
#[test]
fn the_largest_batch_on_llvmpipe_is_right_and_a_larger_one_an_error() {
    const MOST: usize = 48_000;
    let architecture = perceptron(&[2, 3], Activation::Relu, Loss::CrossEntropy);
    let data = random_data(&architecture, MOST + 1, 10);
    let refused = GpuNetwork::new(gpu(), adamw(&architecture), &data, MOST + 1, 1).err();
    let data = random_data(&architecture, MOST, 10);
    let is_llvmpipe = gpu().info.name.contains("llvmpipe");
    assert_eq!(refused.is_some(), is_llvmpipe);
    if let Some(error) = refused {
        assert!(error.to_string().contains("--batch-size"), "{error}");
    }
    let mut on_gpu = GpuNetwork::new(gpu(), adamw(&architecture), &data, MOST, 1).unwrap();
    let mut on_cpu = CpuNetwork::<f32>::new(adamw(&architecture), &data, MOST, 1).unwrap();
    let mut shuffle = Shuffle::new(MOST, 1);
    let order = shuffle.next_epoch();
    let networks: [&mut dyn Network; 2] = [&mut on_gpu, &mut on_cpu];
    let losses = networks.map(|network| {
        for _ in 0..2 {
            network.start_epoch(order).unwrap();
            network.step(0, 0.1).unwrap();
        }
        network.train_score().unwrap().loss
    });
    let [gpu, cpu] = losses;
    assert!((gpu - cpu).abs() < 1e-5, "{gpu} instead of {cpu}");
}

/// llvmpipe would end the loops over more.
#[test]
fn the_most_outputs_on_llvmpipe_are_right_and_more_an_error() {
    const MOST: usize = 16_000;
    let of = |outputs: usize| {
        let architecture = perceptron(&[2, outputs], Activation::Relu, Loss::CrossEntropy);
        let data = random_data(&architecture, 4, 1);
        (architecture, data)
    };
    let (architecture, data) = of(MOST + 1);
    let refused = GpuNetwork::new(gpu(), adamw(&architecture), &data, 4, 1).err();
    let is_llvmpipe = gpu().info.name.contains("llvmpipe");
    assert_eq!(refused.is_some(), is_llvmpipe);
    let (architecture, data) = of(MOST);
    let mut on_gpu = GpuNetwork::new(gpu(), adamw(&architecture), &data, 4, 1).unwrap();
    let mut on_cpu = CpuNetwork::<f32>::new(adamw(&architecture), &data, 4, 1).unwrap();
    let networks: [&mut dyn Network; 2] = [&mut on_gpu, &mut on_cpu];
    let [gpu, cpu] = networks.map(|network| {
        for _ in 0..2 {
            network.start_epoch(&[0, 1, 2, 3]).unwrap();
            network.step(0, 0.1).unwrap();
        }
        network.train_score().unwrap().loss
    });
    assert!((gpu - cpu).abs() < 1e-4, "{gpu} instead of {cpu}");
}

#[test]
fn a_network_of_absurd_size_is_an_error() {
    let architecture = perceptron(&[64, 65_536, 65_536, 10], Activation::Relu, Loss::Mse);
    let error = architecture
        .register(rule("sgd"), Options::default())
        .err()
        .unwrap();
    assert!(error.to_string().contains("parameters"), "{error}");
}
