//! Which device trains: a GPU, a software driver, or the CPU twin.

use std::convert::Infallible;
use std::str::FromStr;

use anyhow::{Context, Result};
use wgpu_optim::wgpu::{AdapterInfo, Backend, DeviceType};
use wgpu_optim::{Gpu, GpuOptions};

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
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text {
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

/// An open device and, where there is something to tell, why it is this one.
pub struct Opened {
    pub device: Device,
    pub name: String,
    pub remarks: Vec<String>,
}

impl Choice {
    pub fn open(&self) -> Result<Opened> {
        match self {
            Self::Cpu => Ok(cpu(Vec::new())),
            Self::Auto => Ok(match Gpu::open_blocking(&GpuOptions::default()) {
                Ok(found) if suits_auto(&found.info) => gpu(found),
                Ok(found) => cpu_instead(format!(
                    "There is only {} ({}), which is slow. A software Vulkan driver is faster \
                     (Debian, Ubuntu: apt-get install mesa-vulkan-drivers).",
                    found.info.name, found.info.backend
                )),
                // The error says what was found and how to get a driver.
                Err(error) => cpu_instead(format!("There is {error}.")),
            }),
            Self::Gpu => Ok(gpu(
                Gpu::open_blocking(&GpuOptions::default()).context("--device gpu")?
            )),
            Self::Named(name) => {
                let options = GpuOptions {
                    name: Some(name.clone()),
                    ..GpuOptions::default()
                };
                let found = Gpu::open_blocking(&options).with_context(|| {
                    format!("--device {name} (auto, gpu, cpu or part of an adapter's name)")
                })?;
                Ok(gpu(found))
            }
        }
    }
}

/// GL on the CPU is slower than anything else.
fn suits_auto(adapter: &AdapterInfo) -> bool {
    adapter.device_type != DeviceType::Cpu || adapter.backend == Backend::Vulkan
}

fn gpu(gpu: Gpu) -> Opened {
    let name = format!("{} ({})", gpu.info.name, gpu.info.backend);
    let mut remarks = Vec::new();
    if gpu.info.device_type == DeviceType::Cpu {
        remarks.push("There is no GPU, so a software driver stands in for one.".into());
        remarks.push("--device cpu is faster: it trains without any driver.".into());
    }
    Opened {
        device: Device::Gpu(Box::new(gpu)),
        name,
        remarks,
    }
}

fn cpu_instead(reason: String) -> Opened {
    let remark = "So the CPU twin trains, which is faster than a software driver anyway.";
    cpu(vec![reason, remark.into()])
}

fn cpu(remarks: Vec<String>) -> Opened {
    Opened {
        device: Device::Cpu,
        name: "CPU twin".into(),
        remarks,
    }
}
