//! How answers come from the device. Programs wait for them; a browser's page must go on meanwhile.

use anyhow::Result;
use wgpu_optim::{BufferRange, Gpu, Optimizer, Tensor};

/// Until the device has finished what it has been handed.
#[cfg(not(target_family = "wasm"))]
pub async fn finished(gpu: &Gpu) -> Result<()> {
    use wgpu_optim::wgpu::PollType;
    gpu.device.poll(PollType::wait_indefinitely())?;
    Ok(())
}

/// The numbers of a buffer in f32.
#[cfg(not(target_family = "wasm"))]
pub async fn read(gpu: &Gpu, range: &BufferRange) -> Result<Vec<f32>> {
    Ok(wgpu_optim::read_blocking(&gpu.device, &gpu.queue, range)?)
}

#[cfg(not(target_family = "wasm"))]
pub async fn read_param(gpu: &Gpu, optimizer: &Optimizer, tensor: Tensor) -> Result<Vec<f32>> {
    Ok(optimizer.read_param_blocking(&gpu.queue, tensor)?)
}

/// Until the device has finished what it has been handed.
#[cfg(target_family = "wasm")]
pub async fn finished(gpu: &Gpu) -> Result<()> {
    use std::future::poll_fn;
    use std::sync::{Arc, Mutex};
    use std::task::{Poll, Waker};

    #[derive(Default)]
    struct Done {
        is_so: bool,
        waker: Option<Waker>,
    }
    let done = Arc::new(Mutex::new(Done::default()));
    let told = done.clone();
    gpu.queue.on_submitted_work_done(move || {
        if let Ok(mut done) = told.lock() {
            done.is_so = true;
            if let Some(waker) = done.waker.take() {
                waker.wake();
            }
        }
    });
    poll_fn(|context| match done.lock() {
        Ok(mut done) if !done.is_so => {
            done.waker = Some(context.waker().clone());
            Poll::Pending
        }
        _ => Poll::Ready(Ok(())),
    })
    .await
}

/// The numbers of a buffer in f32.
#[cfg(target_family = "wasm")]
pub async fn read(gpu: &Gpu, range: &BufferRange) -> Result<Vec<f32>> {
    Ok(wgpu_optim::read(&gpu.device, &gpu.queue, range).await?)
}

#[cfg(target_family = "wasm")]
pub async fn read_param(gpu: &Gpu, optimizer: &Optimizer, tensor: Tensor) -> Result<Vec<f32>> {
    Ok(optimizer.read_param(&gpu.queue, tensor).await?)
}
