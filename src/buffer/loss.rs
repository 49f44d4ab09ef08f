//! Lost devices, as far as a browser says.

/// Tells this crate that a device is lost. Only a browser needs it: natively the crate finds out by itself.
///
/// wgpu has one callback for that in each device. [`Gpu::open`](crate::Gpu::open) and
/// [`Gpu::open_adapter`](crate::Gpu::open_adapter) set it in a browser. If you opened the device yourself, or
/// set a callback of your own, report the loss there. Otherwise a step on a lost device is taken for one
/// that was recorded.
///
/// ```
/// # use wgpu_optim::{Gpu, GpuOptions};
/// use wgpu_optim::DeviceLoss;
///
/// # let Gpu { device, .. } = Gpu::open_blocking(&GpuOptions::default())?;
/// let loss = DeviceLoss::of(&device);
/// device.set_device_lost_callback(move |reason, message| {
///     loss.report();
///     eprintln!("the device is lost ({reason:?}): {message}"); // whatever else you do
/// });
/// # Ok::<(), wgpu_optim::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct DeviceLoss {
    /// wgpu has no weak reference to a device, and a strong one in the device's own callback would keep the
    /// device forever. So its hash stands for it, which in a browser comes from a number that is no other
    /// device's.
    #[cfg(target_family = "wasm")]
    device: u64,
}

#[cfg(target_family = "wasm")]
mod reported {
    use std::{
        hash::{DefaultHasher, Hash, Hasher},
        sync::{Mutex, PoisonError},
    };

    use super::DeviceLoss;

    static LOST: Mutex<Vec<u64>> = Mutex::new(Vec::new());

    fn number_of(device: &wgpu::Device) -> u64 {
        let mut hasher = DefaultHasher::new();
        device.hash(&mut hasher);
        hasher.finish()
    }

    impl DeviceLoss {
        /// For a report that `device` is lost.
        pub fn of(device: &wgpu::Device) -> Self {
            Self {
                device: number_of(device),
            }
        }

        /// Says that the device is lost. From now on whatever needs it gives
        /// [`Error::DeviceLost`](crate::Error::DeviceLost).
        pub fn report(&self) {
            let mut lost = LOST.lock().unwrap_or_else(PoisonError::into_inner);
            if !lost.contains(&self.device) {
                lost.push(self.device);
            }
        }
    }

    pub fn is_reported_lost(device: &wgpu::Device) -> bool {
        let lost = LOST.lock().unwrap_or_else(PoisonError::into_inner);
        !lost.is_empty() && lost.contains(&number_of(device))
    }
}

#[cfg(not(target_family = "wasm"))]
mod reported {
    use super::DeviceLoss;

    impl DeviceLoss {
        /// For a report that `device` is lost.
        pub fn of(_device: &wgpu::Device) -> Self {
            Self {}
        }

        /// Says that the device is lost. From now on whatever needs it gives
        /// [`Error::DeviceLost`](crate::Error::DeviceLost).
        pub fn report(&self) {}
    }

    pub fn is_reported_lost(_device: &wgpu::Device) -> bool {
        false
    }
}

/// Whether somebody reported that `device` is lost. Natively nobody needs to: see
/// [`is_lost`](super::is_lost).
pub(crate) use reported::is_reported_lost;
