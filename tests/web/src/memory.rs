//! Bytes of buffers that are made and not destroyed, as the page counts them.

use js_sys::Promise;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use wgpu::BufferUsages;
use wgpu_optim::{
    BufferRange, Buffers, Clip, Gpu, Layout, LossScale, Optimizer, Options, Save, read, rules,
};

use crate::{Outcome, ensure};

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_name = bytesAlive)]
    fn bytes_alive() -> f64;
    #[wasm_bindgen(js_name = buffersAlive)]
    fn buffers_alive() -> f64;
    /// The most since the last call.
    #[wasm_bindgen(js_name = bytesAtPeak)]
    fn bytes_at_peak() -> f64;
    #[wasm_bindgen(js_name = setTimeout)]
    fn set_timeout(then: &js_sys::Function, milliseconds: f64);
}

const MIB: f64 = 1048576.0;

/// Lets the browser run what is due.
async fn pause() {
    let promise = Promise::new(&mut |resolve, _| set_timeout(&resolve, 10.0));
    // It is never rejected.
    let _ = JsFuture::from(promise).await;
}

fn buffer(gpu: &Gpu, bytes: u64) -> wgpu::Buffer {
    gpu.device.create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: bytes,
        usage: BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST,
        mapped_at_creation: false,
    })
}

fn everything() -> Options {
    Options {
        clip: Clip::GlobalNorm(1.0),
        loss_scale: Some(LossScale::default()),
        ..Default::default()
    }
}

fn layout(rule: &str) -> Result<Layout, wgpu_optim::Error> {
    let mut layout = Layout::new();
    let group = layout.group(rules::by_name(rule)?)?;
    layout.tensor(group, "weight", &[8, 16])?;
    layout.tensor(group, "other", &[8, 3])?;
    Ok(layout)
}

fn submit(gpu: &Gpu, encoder: wgpu::CommandEncoder) {
    gpu.queue.submit([encoder.finish()]);
}

/// 300 reads of 1 MiB.
pub async fn reads(gpu: &Gpu) -> Outcome {
    let buffer = buffer(gpu, 1 << 20);
    let range = BufferRange::whole(&buffer);
    let before = bytes_alive();
    bytes_at_peak();
    for _ in 0..300 {
        read(&gpu.device, &gpu.queue, &range).await?;
    }
    let (left, peak) = (bytes_alive() - before, bytes_at_peak() - before);
    buffer.destroy();
    ensure(left == 0.0 && peak <= MIB, || {
        format!("{left} bytes stay, {peak} at the peak")
    })?;
    Ok(format!("300 MiB were read, {peak} bytes at the peak"))
}

/// 60 optimizers, of all rules, that step, save, snapshot and are read.
pub async fn optimizers(gpu: &Gpu) -> Outcome {
    let (before, buffers) = (bytes_alive(), buffers_alive());
    bytes_at_peak();
    for rule in rules::names().chain(rules::names()).take(60) {
        let layout = layout(rule)?;
        let mut optimizer = Optimizer::new_async(&gpu.device, &layout, everything()).await?;
        let mut encoder = gpu.device.create_command_encoder(&Default::default());
        optimizer.step(&mut encoder)?;
        let snapshot = optimizer.snapshot(&mut encoder)?;
        let saving = optimizer.save(&mut encoder, &Save::default())?;
        submit(gpu, encoder);
        saving.bytes(&gpu.queue).await?;
        for tensor in layout.tensors() {
            optimizer.read_param(&gpu.queue, tensor).await?;
        }
        let stats = snapshot.get()?;
        ensure(stats.is_some_and(|stats| stats.performed == 1), || {
            format!("{rule}: no step")
        })?;
    }
    pause().await;
    let (left, peak) = (bytes_alive() - before, bytes_at_peak() - before);
    let buffers = buffers_alive() - buffers;
    ensure(left == 0.0 && buffers == 0.0, || {
        format!("{buffers} buffers of {left} bytes stay")
    })?;
    ensure(peak < MIB, || format!("{peak} bytes at the peak"))?;
    Ok(format!("60 were made, {peak} bytes at the peak"))
}

/// An optimizer over other buffers at each step.
pub async fn rebinding(gpu: &Gpu) -> Outcome {
    let layout = layout("lamb")?;
    let params = [buffer(gpu, 512), buffer(gpu, 96)];
    let grads = [buffer(gpu, 512), buffer(gpu, 96)];
    let ranges = |buffers: &[wgpu::Buffer; 2]| buffers.each_ref().map(BufferRange::whole).to_vec();
    let buffers = || Buffers {
        params: ranges(&params),
        grads: Some(ranges(&grads)),
        ..Default::default()
    };
    let mut optimizer =
        Optimizer::over_async(&gpu.device, &layout, buffers(), everything()).await?;
    let mut bytes = Vec::new();
    for _ in 0..20 {
        optimizer.rebind_async(buffers()).await?;
        let mut encoder = gpu.device.create_command_encoder(&Default::default());
        optimizer.step(&mut encoder)?;
        submit(gpu, encoder);
        let others = [buffer(gpu, 512), buffer(gpu, 96)];
        optimizer.prepare(&ranges(&others)).await?;
        let mut encoder = gpu.device.create_command_encoder(&Default::default());
        optimizer.step_with(&mut encoder, &ranges(&others))?;
        submit(gpu, encoder);
        optimizer
            .read_param(&gpu.queue, layout.tensors().next().ok_or("no tensor")?)
            .await?;
        pause().await;
        others.iter().for_each(wgpu::Buffer::destroy);
        bytes.push(bytes_alive());
    }
    let grown = bytes[19] - bytes[2];
    // A buffer that brings the numbers of a step may be on its way back.
    ensure(grown < 1000.0, || format!("17 rebinds left {grown} bytes"))?;
    Ok("20 rebinds, with other gradients between".to_owned())
}

/// Steps that are recorded and submitted without yielding, beside the same steps with a pause after each.
pub async fn unyielding(gpu: &Gpu) -> Outcome {
    const STEPS: usize = 200;
    /// How many of the buffers that bring a step's numbers take turns.
    const KEPT: f64 = 64.0;
    let layout = layout("adamw")?;
    let make = || Optimizer::new_async(&gpu.device, &layout, Options::default());
    let mut optimizers = [make().await?, make().await?];
    let mut most = 0.0f64;
    for (optimizer, yields) in optimizers.iter_mut().zip([true, false]) {
        for tensor in layout.tensors() {
            let count = layout.element_count(tensor)?;
            let grad: Vec<f32> = (0..count).map(|place| place as f32 - 9.0).collect();
            optimizer.write_grad(&gpu.queue, tensor, &grad)?;
        }
        let before = buffers_alive();
        for step in 1..=STEPS {
            for group in layout.groups() {
                optimizer.set_lr(group, 1.0 / step as f64)?;
            }
            let mut encoder = gpu.device.create_command_encoder(&Default::default());
            optimizer.step(&mut encoder)?;
            submit(gpu, encoder);
            if yields {
                pause().await;
            } else {
                most = most.max(buffers_alive() - before);
            }
        }
    }
    // Those that take turns, one that is being recorded, and the mark of a submission.
    ensure(most <= KEPT + 2.0, || format!("{most} buffers at once"))?;
    for tensor in layout.tensors() {
        let [pausing, other] = &optimizers;
        let expected = pausing.read_param(&gpu.queue, tensor).await?;
        let found = other.read_param(&gpu.queue, tensor).await?;
        ensure(found == expected && found[0] != 0.0, || {
            format!("{found:?} instead of {expected:?}")
        })?;
    }
    Ok(format!("{STEPS} steps had {most} buffers at once"))
}

/// What was recorded is submitted after the optimizer is dropped.
pub async fn recorded(gpu: &Gpu) -> Outcome {
    let before = bytes_alive();
    let layout = layout("adamw")?;
    let scope = gpu.device.push_error_scope(wgpu::ErrorFilter::Validation);
    let mut encoder = gpu.device.create_command_encoder(&Default::default());
    let mut optimizer = Optimizer::new_async(&gpu.device, &layout, everything()).await?;
    optimizer.step(&mut encoder)?;
    optimizer.zero_grad(&mut encoder)?;
    let snapshot = optimizer.snapshot(&mut encoder)?;
    drop(optimizer.save(&mut encoder, &Save::default())?);
    drop(optimizer);
    submit(gpu, encoder);
    let objection = scope.pop().await;
    ensure(objection.is_none(), || format!("{objection:?}"))?;
    for _ in 0..100 {
        if snapshot.get()?.is_some() {
            break;
        }
        pause().await;
    }
    let stats = snapshot.get()?.ok_or("the snapshot did not come")?;
    drop(snapshot);
    pause().await;
    let left = bytes_alive() - before;
    ensure(stats.performed == 1 && left == 0.0, || {
        format!("{} steps, {left} bytes stay", stats.performed)
    })?;
    Ok("one step after its optimizer was dropped".to_owned())
}

/// More elements than fit the address space 64 times.
pub fn large_layouts() -> Outcome {
    let mut layout = Layout::new();
    let group = layout.group(rules::by_name("adamw")?)?;
    layout.tensor(group, "weight", &[100, 1_000_000])?;
    Ok(format!("{} parameters", layout.parameter_count()))
}
