//! Which devices are put to the test.

use std::str::FromStr;

use anyhow::{Context, Result};
use flags::patience::patiently;
use wgpu_optim::wgpu::{Adapter, Backends, DownlevelFlags, Instance, InstanceDescriptor};
use wgpu_optim::{Gpu, GpuOptions};

/// What the user asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// The best adapter of any kind.
    Gpu,
    /// No device: the twin in f32 against the twin in f64.
    Cpu,
    /// The best adapter whose name contains this text, in any case.
    Named(String),
}

impl FromStr for Choice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text.trim() {
            "" => return Err("expected gpu, cpu or part of an adapter's name".into()),
            "gpu" => Self::Gpu,
            "cpu" => Self::Cpu,
            name => Self::Named(name.into()),
        })
    }
}

impl Choice {
    /// The device; `None` for the CPU alone.
    pub fn open(&self) -> Result<Option<Gpu>> {
        let options = match self {
            Self::Cpu => return Ok(None),
            Self::Gpu => GpuOptions::default(),
            Self::Named(name) => GpuOptions {
                name: Some(name.clone()),
                ..GpuOptions::default()
            },
        };
        let name = match self {
            Self::Named(name) => name,
            _ => "gpu",
        };
        let opened = patiently("opening the device", || Gpu::open_blocking(&options));
        let opened = opened.with_context(|| {
            format!("--device {name} (gpu, cpu or part of an adapter's name; cpu needs no driver)")
        })?;
        Ok(Some(opened))
    }
}

/// All adapters of all backends, or of those that `WGPU_BACKEND` names. One device appears once for
/// each driver that reaches it, since each driver has a compiler of its own.
pub fn all() -> Result<Vec<Adapter>> {
    let backends = Backends::from_env().unwrap_or(Backends::all());
    let mut descriptor = InstanceDescriptor::new_without_display_handle();
    descriptor.backends = backends;
    let instance = Instance::new(descriptor);
    let adapters = pollster::block_on(instance.enumerate_adapters(backends));
    if adapters.is_empty() {
        // Says what was looked for and how to come by a driver.
        Gpu::open_blocking(&GpuOptions::default()).context("--all-adapters")?;
    }
    Ok(adapters)
}

/// Old OpenGL has none, and then there is nothing to put to the test.
pub fn has_compute_shaders(adapter: &Adapter) -> bool {
    let capabilities = adapter.get_downlevel_capabilities();
    capabilities.flags.contains(DownlevelFlags::COMPUTE_SHADERS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_choices_and_anything_else_is_part_of_a_name() {
        assert_eq!("gpu".parse(), Ok(Choice::Gpu));
        assert_eq!(" cpu ".parse(), Ok(Choice::Cpu));
        assert_eq!("RTX".parse(), Ok(Choice::Named("RTX".into())));
        assert!(" ".parse::<Choice>().is_err());
    }

    #[test]
    fn a_name_that_no_adapter_has_is_an_error_that_lists_those_there_are() {
        let error = Choice::Named("no such GPU".into()).open().unwrap_err();
        let error = format!("{error:#}");
        assert!(error.contains("--device no such GPU"), "{error}");
        assert!(error.contains("found: "), "{error}");
    }

    #[test]
    fn all_adapters_hold_the_one_that_is_opened_by_default() {
        let default = Choice::Gpu.open().unwrap().unwrap().info;
        let has = |adapter: &Adapter| adapter.get_info().name == default.name;
        assert!(all().unwrap().iter().any(has));
    }
}
