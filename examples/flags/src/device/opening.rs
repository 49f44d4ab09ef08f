//! Opens what was chosen.

use anyhow::{Context, Result};
use wgpu_optim::wgpu::{AdapterInfo, Backend, DeviceType};
use wgpu_optim::{Gpu, GpuOptions};

use super::{Choice, Device, Opened};
use crate::patience::patiently;

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
    use super::super::{describe, driver};
    use super::*;

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
