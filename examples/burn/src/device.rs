//! Burn's wgpu devices with the handles behind them.
//!
//! Burn gives a device's queue only to the one who opens it. So this crate opens it, or is told.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use burn::tensor::Device;
use burn::tensor::wgpu::WgpuOptions;
use wgpu_optim::wgpu;

use crate::{Error, thread::FusionThread};

/// A device that burn computes on, and the handles to record on it.
#[derive(Clone)]
pub(crate) struct Shared {
    /// Without autodiff.
    pub burn: Device,
    pub device: wgpu::Device,
    pub queue: wgpu::Queue,
    pub thread: Arc<FusionThread>,
    /// Whether [`init`] opened it.
    is_default: bool,
}

static SHARED: Mutex<Vec<Shared>> = Mutex::new(Vec::new());

/// What a panic under the lock leaves is a shorter list, which is as good.
fn shared() -> MutexGuard<'static, Vec<Shared>> {
    SHARED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Opens burn's default wgpu device, or gives the one that it opened before. Call it before the
/// program's first tensor, in place of `Device::default()`.
///
/// ```no_run
/// let device = wgpu_optim_burn::init()?.autodiff();
/// # Ok::<(), wgpu_optim_burn::Error>(())
/// ```
///
/// # Errors
/// [`Error::Open`] if burn finds no device, or if burn has opened the device already, since there
/// were tensors before.
pub fn init() -> Result<Device, Error> {
    // Burn opens a device once. Whoever asks at the same time waits for it.
    let mut list = shared();
    if let Some(open) = list.iter().find(|open| open.is_default) {
        return Ok(open.burn.clone());
    }
    let open = open(Device::wgpu_options(), true)?;
    let device = open.burn.clone();
    list.push(open);
    Ok(device)
}

/// [`init`] with burn's options: which adapter, which graphics API, how memory is kept. To burn, each
/// choice of an adapter and an API is a device, and it opens that once.
///
/// ```no_run
/// use burn::tensor::{Device, DeviceKind};
///
/// let options = Device::wgpu_options().device_kind(DeviceKind::DiscreteGpu(1));
/// let device = wgpu_optim_burn::init_with(options)?.autodiff();
/// # Ok::<(), wgpu_optim_burn::Error>(())
/// ```
///
/// # Errors
/// [`Error::Open`] if burn finds no such device, or has opened it before.
pub fn init_with(options: WgpuOptions) -> Result<Device, Error> {
    let open = open(options, false)?;
    let device = open.burn.clone();
    shared().push(open);
    Ok(device)
}

/// Says which handles are behind `device`, for a program that opened or supplied it itself
/// (`Device::wgpu_options().init_with_setup()` or `.setup(…)`). Call it before the program's first
/// tensor.
///
/// ```no_run
/// use burn::tensor::Device;
///
/// let (device, setup) = Device::wgpu_options().init_with_setup()?;
/// wgpu_optim_burn::share(&device, &setup.device, &setup.queue)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`Error::Burn`] if burn does not compute on `device` with its wgpu backend.
pub fn share(device: &Device, handles: &wgpu::Device, queue: &wgpu::Queue) -> Result<(), Error> {
    let device = device.clone().inner();
    let open = Shared {
        thread: Arc::new(FusionThread::new(&device)?),
        burn: device,
        device: handles.clone(),
        queue: queue.clone(),
        is_default: false,
    };
    let mut list = shared();
    list.retain(|known| known.burn != open.burn);
    list.push(open);
    Ok(())
}

fn open(options: WgpuOptions, is_default: bool) -> Result<Shared, Error> {
    let (device, setup) = options.init_with_setup().map_err(|error| Error::Open {
        message: error.to_string(),
    })?;
    Ok(Shared {
        thread: Arc::new(FusionThread::new(&device)?),
        burn: device,
        device: setup.device,
        queue: setup.queue,
        is_default,
    })
}

/// The wgpu device and queue behind `device`, to record on beside burn.
///
/// # Errors
/// [`Error::UnknownDevice`].
pub fn handles(device: &Device) -> Result<(wgpu::Device, wgpu::Queue), Error> {
    let Shared { device, queue, .. } = find(device)?;
    Ok((device, queue))
}

/// What is known of `device`.
pub(crate) fn find(device: &Device) -> Result<Shared, Error> {
    let known = shared().iter().find(|known| known.burn == *device).cloned();
    known.ok_or_else(|| Error::UnknownDevice {
        device: format!("{device:?}"),
    })
}
