//! Errors that are a browser's own.

use wgpu_optim::{DeviceLoss, Error, Gpu, GpuOptions, Layout, Optimizer, Options, read, rules};

use crate::{Outcome, ensure};

/// A name is refused in words that say so.
pub async fn names() -> Outcome {
    let options = GpuOptions {
        name: Some("no such adapter".to_owned()),
        ..Default::default()
    };
    let error = Gpu::open(&options).await.err().ok_or("it was opened")?;
    let text = error.to_string();
    ensure(text.contains("leave GpuOptions::name out"), || text.clone())?;
    Ok(text)
}

/// Each entry point says that the device is lost, also where the caller has set the callback.
pub async fn lost_device() -> Outcome {
    for is_callers in [false, true] {
        let gpu = Gpu::open(&GpuOptions::default()).await?;
        if is_callers {
            let loss = DeviceLoss::of(&gpu.device);
            gpu.device
                .set_device_lost_callback(move |_, _| loss.report());
        }
        let mut layout = Layout::new();
        let group = layout.group(rules::by_name("adamw")?)?;
        let weight = layout.tensor(group, "weight", &[4])?;
        let options = Options::default();
        let mut optimizer = Optimizer::new_async(&gpu.device, &layout, options.clone()).await?;
        let range = optimizer.param(weight)?;
        gpu.device.destroy();
        // The callback comes with one of the next turns.
        let made = Optimizer::new_async(&gpu.device, &layout, options).await;
        lost("new_async", made.map(|_| ()))?;
        let mut encoder = gpu.device.create_command_encoder(&Default::default());
        lost("step", optimizer.step(&mut encoder))?;
        lost("zero_grad", optimizer.zero_grad(&mut encoder))?;
        lost("snapshot", optimizer.snapshot(&mut encoder).map(|_| ()))?;
        let written = optimizer.write_param(&gpu.queue, weight, &[0.0; 4]);
        lost("write_param", written)?;
        let found = read(&gpu.device, &gpu.queue, &range).await;
        lost("read", found.map(|_| ()))?;
        ensure(optimizer.step_count(group)? == 0, || "a step counts".into())?;
    }
    Ok("by the library's callback and by a caller's".to_owned())
}

fn lost(what: &str, result: Result<(), Error>) -> Result<(), Box<dyn std::error::Error>> {
    ensure(matches!(result, Err(Error::DeviceLost { .. })), || {
        format!("{what} gave {result:?}")
    })
}
