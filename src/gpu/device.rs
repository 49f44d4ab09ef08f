//! Opens a device for programs that have none.

mod advice;

use advice::advice;

use crate::Error;

/// A device with its adapter's full limits, and its queue.
///
/// ```
/// use wgpu_optim::{Gpu, GpuOptions};
///
/// let gpu = Gpu::open_blocking(&GpuOptions::default())?;
/// println!("{} on {}", gpu.info.name, gpu.info.backend);
/// # Ok::<(), wgpu_optim::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Gpu {
    /// The adapter that was picked.
    pub adapter: wgpu::Adapter,
    /// Has the adapter's full limits, and pipeline caches where the adapter supports them.
    pub device: wgpu::Device,
    /// The device's queue.
    pub queue: wgpu::Queue,
    /// Name, backend and kind of the adapter.
    pub info: wgpu::AdapterInfo,
}

/// Which adapter to open.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GpuOptions {
    /// Backends to consider. `None` takes those that the environment variable `WGPU_BACKEND` names.
    /// Without that variable it takes the first-class ones (Vulkan, Metal, DX12, WebGPU), and then
    /// GL if none of their adapters fits.
    pub backends: Option<wgpu::Backends>,
    /// Whether a discrete or an integrated GPU comes first.
    pub power_preference: wgpu::PowerPreference,
    /// Part of the adapter's name. Case does not matter. Browsers hide that name, so there this fits no
    /// adapter; leave it out.
    pub name: Option<String>,
    /// Whether to consider software drivers only.
    pub fallback: bool,
}

impl Gpu {
    /// Opens the best adapter that fits `options`.
    ///
    /// # Errors
    /// [`Error::NoAdapter`] says what was asked for and which adapters exist. [`Error::NoBackend`]
    /// means that the application has enabled no backend of wgpu; [`Error::UnknownBackend`], that
    /// `WGPU_BACKEND` names one that there is not.
    pub async fn open(options: &GpuOptions) -> Result<Self, Error> {
        if wgpu::Instance::enabled_backend_features().is_empty() {
            return Err(Error::NoBackend);
        }
        let mut found = Vec::new();
        for backends in options.backends_in_turn()? {
            let mut adapters = adapters(backends, options).await;
            adapters.sort_by_key(|adapter| options.rank(&adapter.get_info()));
            for adapter in adapters {
                let info = adapter.get_info();
                if options.admits(&info) {
                    return Self::open_adapter(adapter).await;
                }
                found.push(format!("{:?} ({})", info.name, info.backend));
            }
        }
        Err(Error::NoAdapter {
            wanted: options.describe(),
            advice: advice(options, !found.is_empty()),
            found: if found.is_empty() {
                "none at all".to_owned()
            } else {
                found.join(", ")
            },
        })
    }

    /// [`Gpu::open`], blocking.
    #[cfg(not(target_family = "wasm"))]
    pub fn open_blocking(options: &GpuOptions) -> Result<Self, Error> {
        pollster::block_on(Self::open(options))
    }

    /// Opens a device on `adapter` with the limits of [`required_limits`], and with
    /// [`wgpu::Features::PIPELINE_CACHE`] if the adapter supports it. In a browser it sets the device's
    /// lost callback; if you set another, see [`DeviceLoss`](crate::DeviceLoss).
    pub async fn open_adapter(adapter: wgpu::Adapter) -> Result<Self, Error> {
        let info = adapter.get_info();
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("wgpu-optim"),
            // For `Options::pipeline_cache`, where supported. It costs nothing when unused.
            required_features: adapter.features() & wgpu::Features::PIPELINE_CACHE,
            required_limits: required_limits(&adapter),
            ..Default::default()
        };
        let (device, queue) =
            adapter
                .request_device(&descriptor)
                .await
                .map_err(|error| Error::DeviceRequest {
                    adapter: info.name.clone(),
                    message: error.to_string(),
                })?;
        #[cfg(target_family = "wasm")]
        {
            let loss = crate::DeviceLoss::of(&device);
            device.set_device_lost_callback(move |_, _| loss.report());
        }
        Ok(Self {
            adapter,
            device,
            queue,
            info,
        })
    }

    /// All adapters of `backends`.
    pub async fn adapters(backends: wgpu::Backends) -> Vec<wgpu::AdapterInfo> {
        let adapters = adapters(backends, &GpuOptions::default()).await;
        adapters.iter().map(wgpu::Adapter::get_info).collect()
    }

    /// [`Gpu::adapters`], blocking.
    #[cfg(not(target_family = "wasm"))]
    pub fn adapters_blocking(backends: wgpu::Backends) -> Vec<wgpu::AdapterInfo> {
        pollster::block_on(Self::adapters(backends))
    }
}

/// The limits to request for a device on `adapter`, so that tensors may be as large as the adapter
/// allows. wgpu's default limits allow at most 67 million parameters per arena.
///
/// ```no_run
/// # async fn open(adapter: wgpu::Adapter) -> Result<(), wgpu::RequestDeviceError> {
/// let descriptor = wgpu::DeviceDescriptor {
///     required_limits: wgpu_optim::required_limits(&adapter),
///     ..Default::default()
/// };
/// let (device, queue) = adapter.request_device(&descriptor).await?;
/// # Ok(()) }
/// ```
pub fn required_limits(adapter: &wgpu::Adapter) -> wgpu::Limits {
    adapter.limits()
}

#[cfg(not(target_family = "wasm"))]
async fn adapters(backends: wgpu::Backends, _: &GpuOptions) -> Vec<wgpu::Adapter> {
    // wgpu panics if no backend was compiled in.
    if wgpu::Instance::enabled_backend_features().is_empty() {
        return Vec::new();
    }
    instance(backends).enumerate_adapters(backends).await
}

/// A browser does not list its adapters; it picks one itself.
#[cfg(target_family = "wasm")]
async fn adapters(backends: wgpu::Backends, options: &GpuOptions) -> Vec<wgpu::Adapter> {
    let request = wgpu::RequestAdapterOptions {
        power_preference: options.power_preference,
        force_fallback_adapter: options.fallback,
        ..Default::default()
    };
    let adapter = instance(backends).request_adapter(&request).await;
    adapter.into_iter().collect()
}

/// Refuses a list in which wgpu would pass over a name that it does not know.
fn check_backend_names(list: Option<&str>) -> Result<(), Error> {
    let mut names = list.unwrap_or_default().split(',').map(str::trim);
    let unknown =
        names.find(|name| !name.is_empty() && wgpu::Backends::from_comma_list(name).is_empty());
    match unknown {
        Some(name) => Err(Error::UnknownBackend {
            name: name.to_owned(),
            known: "vulkan, metal, dx12, gl, webgpu".to_owned(),
        }),
        None => Ok(()),
    }
}

/// The instance of all backends: one in a process, since wgpu tells what belongs to which device only
/// within an instance.
#[cfg(not(target_family = "wasm"))]
fn instance(_: wgpu::Backends) -> wgpu::Instance {
    static INSTANCE: std::sync::OnceLock<wgpu::Instance> = std::sync::OnceLock::new();
    let all = wgpu::Backends::PRIMARY | wgpu::Backends::SECONDARY;
    INSTANCE.get_or_init(|| new_instance(all)).clone()
}

#[cfg(target_family = "wasm")]
fn instance(backends: wgpu::Backends) -> wgpu::Instance {
    new_instance(backends)
}

fn new_instance(backends: wgpu::Backends) -> wgpu::Instance {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = backends;
    wgpu::Instance::new(descriptor)
}

impl GpuOptions {
    fn backends_in_turn(&self) -> Result<Vec<wgpu::Backends>, Error> {
        match self.backends {
            Some(backends) => return Ok(vec![backends]),
            None => check_backend_names(std::env::var("WGPU_BACKEND").ok().as_deref())?,
        }
        Ok(match wgpu::Backends::from_env() {
            Some(backends) => vec![backends],
            None => vec![wgpu::Backends::PRIMARY, wgpu::Backends::SECONDARY],
        })
    }

    fn admits(&self, info: &wgpu::AdapterInfo) -> bool {
        let named = self.name.as_ref().is_none_or(|part| {
            let name = info.name.to_lowercase();
            name.contains(&part.to_lowercase())
        });
        named && (!self.fallback || info.device_type == wgpu::DeviceType::Cpu)
    }

    /// Lower is better.
    fn rank(&self, info: &wgpu::AdapterInfo) -> u8 {
        use wgpu::DeviceType::{Cpu, DiscreteGpu, IntegratedGpu, Other, VirtualGpu};
        let saving = self.power_preference == wgpu::PowerPreference::LowPower;
        match info.device_type {
            IntegratedGpu if saving => 0,
            DiscreteGpu => 1,
            IntegratedGpu => 2,
            VirtualGpu => 3,
            Other => 4,
            Cpu => 5,
        }
    }

    fn describe(&self) -> String {
        let mut words = Vec::new();
        if let Some(name) = &self.name {
            words.push(format!("with {name:?} in its name"));
        }
        if self.fallback {
            words.push("that is a software driver".to_owned());
        }
        if let Some(backends) = self.backends.or_else(wgpu::Backends::from_env) {
            let names = backends.iter_names().map(|(name, _)| name);
            words.push(format!("of {}", names.collect::<Vec<_>>().join(", ")));
        }
        if words.is_empty() {
            words.push("of any kind".to_owned());
        }
        words.join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backend_that_there_is_not_is_named() {
        for list in [
            None,
            Some(""),
            Some("vulkan"),
            Some("gl, vulkan"),
            Some("VULKAN"),
        ] {
            assert_eq!(check_backend_names(list), Ok(()), "{list:?}");
        }
        let error = check_backend_names(Some("vulkan,nonsense")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "WGPU_BACKEND names \"nonsense\"; expected some of: vulkan, metal, dx12, gl, webgpu"
        );
    }
}
