//! Optimizers side by side from one start.

use anyhow::Result;
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsError, JsValue};
use wasm_bindgen_futures::JsFuture;
use wgpu_optim::{Gpu, GpuOptions};

use crate::descent::cpu::OnCpu;
use crate::descent::gpu::OnGpu;
use crate::descent::{Chunk, Descent, Frame};
use crate::errors::thrown;
use crate::functions::Function;
use crate::setting::Setting;

/// Where races are run.
#[wasm_bindgen]
pub struct Course {
    /// None is the CPU twin.
    pub(crate) gpu: Option<Gpu>,
}

#[wasm_bindgen]
impl Course {
    /// On the browser's WebGPU.
    pub async fn on_gpu() -> Result<Self, JsError> {
        let gpu = Gpu::open(&GpuOptions::default()).await?;
        Ok(Self { gpu: Some(gpu) })
    }

    /// On the CPU twin, in f32.
    pub fn on_cpu() -> Self {
        Self { gpu: None }
    }

    /// Races the rules of a setting, and hands `observe` the kept steps of one chunk after another as a
    /// Float64Array: of each step its number, and of each rule x, y and the value there. What `observe`
    /// returns is awaited; `false` ends the race.
    pub async fn race(&self, setting: String, observe: js_sys::Function) -> Result<(), JsError> {
        let race = Race {
            setting: Setting::read(&setting).map_err(thrown)?,
            observe,
        };
        let done = match &self.gpu {
            Some(gpu) => race.on_gpu(gpu).await,
            None => race.on_cpu().await,
        };
        done.map_err(thrown)
    }
}

struct Race {
    setting: Setting,
    observe: js_sys::Function,
}

impl Race {
    async fn on_gpu(&self, gpu: &Gpu) -> Result<()> {
        let function = self.setting.function()?;
        let plan = self.setting.plan(&*function)?;
        let first = plan.first();
        let mut descent = OnGpu::new(&gpu.device, &gpu.queue, plan).await?;
        let mut goes_on = self.tell(&*function, &[first]).await?;
        while goes_on && let Some(chunk) = next(&mut descent).await? {
            goes_on = self.tell(&*function, &chunk.frames).await?;
        }
        Ok(())
    }

    async fn on_cpu(&self) -> Result<()> {
        let function = self.setting.function()?;
        let plan = self.setting.plan(&*function)?;
        let first = plan.first();
        let mut descent = OnCpu::<f32>::new(plan)?;
        let mut goes_on = self.tell(&*function, &[first]).await?;
        while goes_on && let Some(chunk) = descent.advance()? {
            goes_on = self.tell(&*function, &chunk.frames).await?;
        }
        Ok(())
    }

    /// Whether the observer wants more.
    async fn tell(&self, function: &dyn Function, frames: &[Frame]) -> Result<bool> {
        let mut numbers = Vec::new();
        for frame in frames {
            numbers.push(frame.step as f64);
            for &at in &frame.positions {
                numbers.extend([at[0], at[1], function.derivatives(at).value]);
            }
        }
        let numbers = js_sys::Float64Array::from(&numbers[..]);
        wants_more(self.observe.call1(&JsValue::NULL, &numbers)).await
    }
}

/// What an observer says at length.
pub async fn wants_more(said: Result<JsValue, JsValue>) -> Result<bool> {
    let wrong = |thrown: JsValue| anyhow::anyhow!("{thrown:?}");
    let promise = js_sys::Promise::resolve(&said.map_err(wrong)?);
    let awaited = JsFuture::from(promise).await.map_err(wrong)?;
    Ok(awaited != JsValue::FALSE)
}

/// The next steps, as soon as they are there.
#[cfg(target_family = "wasm")]
pub async fn next(descent: &mut OnGpu<'_>) -> Result<Option<Chunk>> {
    descent.advance_async().await
}

/// For whoever checks this package without the target for the web.
#[cfg(not(target_family = "wasm"))]
pub async fn next(descent: &mut OnGpu<'_>) -> Result<Option<Chunk>> {
    descent.advance()
}
