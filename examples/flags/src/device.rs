//! Which device trains: a GPU, a software driver, or the CPU twin.

// A browser opens devices in its own way: nothing may wait there.
#[cfg(not(target_family = "wasm"))]
mod opening;

use std::str::FromStr;

use wgpu_optim::Gpu;
use wgpu_optim::wgpu::AdapterInfo;

/// What the user asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// A real GPU, else a software Vulkan driver, else the CPU twin.
    Auto,
    /// The best adapter of any kind.
    Gpu,
    Cpu,
    /// The best adapter whose name contains this text, in any case.
    Named(String),
}

impl FromStr for Choice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text.trim() {
            "" => return Err("expected auto, gpu, cpu or part of an adapter's name".into()),
            "auto" => Self::Auto,
            "gpu" => Self::Gpu,
            "cpu" => Self::Cpu,
            name => Self::Named(name.into()),
        })
    }
}

pub enum Device {
    Gpu(Box<Gpu>),
    Cpu,
}

impl Device {
    /// Name and version of the driver, where there is one and it tells.
    pub fn driver(&self) -> Option<String> {
        match self {
            Self::Gpu(gpu) => driver(&gpu.info),
            Self::Cpu => None,
        }
    }
}

/// An open device and, where there is something to tell, why it is this one.
pub struct Opened {
    pub device: Device,
    pub name: String,
    pub remarks: Vec<String>,
}

/// Name, backend and driver.
pub fn describe(info: &AdapterInfo) -> String {
    match driver(info) {
        None => format!("{} ({})", info.name, info.backend),
        Some(driver) => format!("{} ({}; driver {driver})", info.name, info.backend),
    }
}

/// Name and version of the driver, where it tells.
pub fn driver(info: &AdapterInfo) -> Option<String> {
    let driver = [info.driver.trim(), info.driver_info.trim()];
    let driver: Vec<_> = driver.into_iter().filter(|word| !word.is_empty()).collect();
    (!driver.is_empty()).then(|| driver.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_choices_and_anything_else_is_part_of_a_name() {
        assert_eq!("auto".parse(), Ok(Choice::Auto));
        assert_eq!(" cpu ".parse(), Ok(Choice::Cpu));
        assert_eq!("RTX".parse(), Ok(Choice::Named("RTX".into())));
        assert!(" ".parse::<Choice>().is_err());
    }
}
