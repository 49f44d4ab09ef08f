//! Which device trains: a GPU, a software driver, or the CPU twin.

use std::str::FromStr;

use anyhow::{Context, Result};
use wgpu_optim::wgpu::{AdapterInfo, Backend, DeviceType};
use wgpu_optim::{Gpu, GpuOptions};

use crate::patience::patiently;

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

impl Choice {
    pub fn open(&self) -> Result<Opened> {
        let open = |options| {
            // Some OpenGL drivers take most of a minute the first time.
            patiently("opening the device", || Gpu::open_blocking(&options))
        };
        match self {
            Self::Cpu => Ok(cpu(Vec::new())),
            Self::Auto => Ok(match open(GpuOptions::default()) {
                Ok(found) if suits_auto(&found.info) => {
                    let remarks = remarks(&found.info);
                    gpu(found, remarks)
                }
                Ok(found) => cpu_instead(format!(
                    "There is only {} ({}), which is slow.",
                    found.info.name, found.info.backend
                )),
                // The error says what was found.
                Err(error) => cpu_instead(format!("No device could be opened: {error}.")),
            }),
            Self::Gpu => {
                let found = open(GpuOptions::default()).context("--device gpu")?;
                let remarks = remarks(&found.info);
                Ok(gpu(found, remarks))
            }
            Self::Named(name) => {
                let options = GpuOptions {
                    name: Some(name.clone()),
                    ..GpuOptions::default()
                };
                let found = open(options).with_context(|| {
                    format!("--device {name} (auto, gpu, cpu or part of an adapter's name)")
                })?;
                Ok(gpu(found, Vec::new()))
            }
        }
    }
}

/// Why this adapter, the best that was found.
fn remarks(adapter: &AdapterInfo) -> Vec<String> {
    let of_kind = match adapter.device_type {
        DeviceType::DiscreteGpu => "the first discrete GPU",
        DeviceType::IntegratedGpu => "an integrated GPU, and there is no discrete one",
        DeviceType::VirtualGpu => "a virtual GPU, and there is no other",
        DeviceType::Other => "the only kind of GPU there is",
        DeviceType::Cpu => {
            return vec![
                "There is no GPU, so a software driver stands in for one.".into(),
                "--device cpu is faster: it needs no driver.".into(),
            ];
        }
    };
    vec![format!("It is {of_kind}.")]
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

/// GL on the CPU is slower than anything else.
fn suits_auto(adapter: &AdapterInfo) -> bool {
    adapter.device_type != DeviceType::Cpu || adapter.backend == Backend::Vulkan
}

fn gpu(gpu: Gpu, remarks: Vec<String>) -> Opened {
    Opened {
        name: format!("{} ({})", gpu.info.name, gpu.info.backend),
        device: Device::Gpu(Box::new(gpu)),
        remarks,
    }
}

fn cpu_instead(reason: String) -> Opened {
    cpu(vec![
        reason,
        "So the CPU twin takes its place, which is faster than any software driver.".into(),
        "To see the shaders run all the same, install one: apt-get install mesa-vulkan-drivers \
         on Debian and Ubuntu."
            .into(),
    ])
}

fn cpu(remarks: Vec<String>) -> Opened {
    Opened {
        device: Device::Cpu,
        name: "CPU twin".into(),
        remarks,
    }
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

    #[test]
    fn a_device_is_described_with_what_its_driver_tells() {
        let Device::Gpu(gpu) = Choice::Gpu.open().unwrap().device else {
            panic!("no adapter");
        };
        let mut info = gpu.info.clone();
        (info.driver, info.driver_info) = (" NVIDIA ".into(), "580.1".into());
        assert_eq!(driver(&info).unwrap(), "NVIDIA 580.1");
        assert!(describe(&info).ends_with("; driver NVIDIA 580.1)"));
        (info.driver, info.driver_info) = (String::new(), " ".into());
        assert_eq!(driver(&info), None);
        assert!(!describe(&info).contains("driver"));
        assert!(Device::Gpu(gpu).driver().is_some() && Device::Cpu.driver().is_none());
    }

    #[test]
    fn auto_takes_whatever_there_is_and_says_why() {
        let opened = Choice::Auto.open().unwrap();
        assert!(!opened.remarks.is_empty());
        let found = Gpu::open_blocking(&GpuOptions::default()).unwrap().info;
        match opened.device {
            Device::Gpu(gpu) => assert!(suits_auto(&found) && gpu.info.name == found.name),
            Device::Cpu => assert!(!suits_auto(&found), "{:?}", opened.remarks),
        }
    }

    #[test]
    fn without_a_device_the_reader_learns_of_the_twin_and_of_drivers() {
        let opened = cpu_instead("There is nothing.".into());
        let remarks = opened.remarks.join("\n");
        assert!(remarks.contains("There is nothing."));
        assert!(remarks.contains("CPU twin") && remarks.contains("mesa-vulkan-drivers"));
    }
}
