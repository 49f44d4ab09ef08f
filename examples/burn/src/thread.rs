//! The thread on which burn's fusion lives.
//!
//! Each question to fusion is a trip to that thread and back. On that thread it is answered at once.

use burn::tensor::Device;

use crate::{Error, bridge};

fn any_tensor(device: &Device) -> burn::Tensor<1> {
    burn::Tensor::zeros([1], &device.clone().inner())
}

/// A way to run work on fusion's thread. Without fusion, work runs where it is.
///
/// Make one before burn has work queued, and keep it. To register a service, cubecl holds its lock
/// of all services while it waits for that thread; if the thread meanwhile has work that looks a
/// service up, both wait for ever.
#[cfg(feature = "fusion")]
pub(crate) struct FusionThread(burn::backend::DeviceHandle<Neighbour>);

/// Nothing but a reason to be on that thread.
#[cfg(feature = "fusion")]
struct Neighbour;

#[cfg(feature = "fusion")]
impl burn::backend::DeviceService for Neighbour {
    fn init(_: burn::backend::DeviceId) -> Self {
        Self
    }

    fn utilities(&self) -> burn::backend::ServerUtilitiesHandle {
        std::sync::Arc::new(())
    }

    fn stage() -> burn::backend::DeviceServiceStage {
        burn::backend::DeviceServiceStage::Upstream
    }
}

#[cfg(feature = "fusion")]
impl FusionThread {
    /// The thread of `device`. It waits for all that `device` has to do.
    pub fn new(device: &Device) -> Result<Self, Error> {
        let tensor = bridge::computed(bridge::primitive(any_tensor(device))?);
        device.sync().map_err(|error| Error::Burn {
            during: "finding fusion's thread",
            message: format!("{error:?}"),
        })?;
        let id = burn::backend::Device::to_id(&tensor.device);
        Ok(Self(burn::backend::DeviceHandle::new(id)))
    }

    /// Runs `task` there, with the caller's stream.
    pub fn run<R: Send>(&self, task: impl FnOnce() -> R + Send) -> Result<R, Error> {
        self.0.exclusive(task).map_err(|error| Error::Burn {
            during: "a walk on fusion's thread",
            message: format!("{error:?}"),
        })
    }
}

/// A way to run work where it is.
#[cfg(not(feature = "fusion"))]
pub(crate) struct FusionThread;

#[cfg(not(feature = "fusion"))]
impl FusionThread {
    /// Nothing but a look at whether `device` is one of burn's wgpu backend.
    pub fn new(device: &Device) -> Result<Self, Error> {
        bridge::primitive(any_tensor(device)).map(|_| Self)
    }

    pub fn run<R: Send>(&self, task: impl FnOnce() -> R + Send) -> Result<R, Error> {
        Ok(task())
    }
}
