//! What wgpu objects to, as errors.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use super::is_reported_lost;
use crate::Error;

/// Runs `make` and returns wgpu's objections as an error. By default wgpu would panic on them.
/// Natively the answer is there at once.
pub(crate) async fn guarded<T>(
    device: &wgpu::Device,
    what: &str,
    make: impl FnOnce() -> T,
) -> Result<T, Error> {
    let (made, answer) = begun(device, what, make);
    answer.get().await?;
    Ok(made)
}

/// [`guarded`] for places that cannot await. In a browser, objections arrive later. There this
/// returns success unless the device is reported lost, and the page's own error handling sees them.
pub(crate) fn guarded_now<T>(
    device: &wgpu::Device,
    what: &str,
    make: impl FnOnce() -> T,
) -> Result<T, Error> {
    let (made, answer) = begun(device, what, make);
    match answer.now() {
        Ok(answer) => answer?,
        Err(_) if is_reported_lost(device) => return Err(lost(what)),
        Err(_) => {}
    }
    Ok(made)
}

/// Runs `make`. Whether wgpu objects to it is asked of the [`Answer`].
pub(crate) fn begun<T>(device: &wgpu::Device, what: &str, make: impl FnOnce() -> T) -> (T, Answer) {
    let (made, objection) = watched(device, make);
    let answer = Answer {
        device: device.clone(),
        what: what.to_owned(),
        objection,
    };
    (made, answer)
}

/// Whether wgpu objects to something that was made.
pub(crate) struct Answer {
    device: wgpu::Device,
    what: String,
    objection: Objection,
}

impl Answer {
    /// # Errors
    /// What wgpu objects to; [`Error::DeviceLost`] if the device is reported lost.
    pub async fn get(self) -> Result<(), Error> {
        let objection = self.objection.await;
        outcome(&self.device, &self.what, objection)
    }

    /// The answer, or this again if it has not come.
    pub fn now(mut self) -> Result<Result<(), Error>, Self> {
        let mut context = Context::from_waker(Waker::noop());
        match self.objection.as_mut().poll(&mut context) {
            Poll::Ready(objection) => Ok(outcome(&self.device, &self.what, objection)),
            Poll::Pending => Err(self),
        }
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("what", &self.what)
            .finish_non_exhaustive()
    }
}

#[cfg(not(target_family = "wasm"))]
type Objection = Pin<Box<dyn Future<Output = Option<wgpu::Error>> + Send>>;
#[cfg(target_family = "wasm")]
type Objection = Pin<Box<dyn Future<Output = Option<wgpu::Error>>>>;

fn watched<T>(device: &wgpu::Device, make: impl FnOnce() -> T) -> (T, Objection) {
    let memory = device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
    let internal = device.push_error_scope(wgpu::ErrorFilter::Internal);
    let validation = device.push_error_scope(wgpu::ErrorFilter::Validation);
    let made = make();
    // The scope that was pushed last must be popped first.
    let validation = validation.pop();
    let internal = internal.pop();
    let memory = memory.pop();
    // What ran out of memory is also invalid. Report the cause, not the consequence.
    let objection = async { memory.await.or(internal.await).or(validation.await) };
    (made, Box::pin(objection))
}

fn outcome(device: &wgpu::Device, what: &str, objection: Option<wgpu::Error>) -> Result<(), Error> {
    match objection {
        None if is_reported_lost(device) => Err(lost(what)),
        None => Ok(()),
        Some(objection) => Err(describe(device, objection, what)),
    }
}

fn describe(device: &wgpu::Device, objection: wgpu::Error, what: &str) -> Error {
    let what = what.to_owned();
    match objection {
        wgpu::Error::OutOfMemory { .. } => Error::OutOfMemory { what },
        _ if is_lost(device) => lost(&what),
        other => Error::Wgpu {
            what,
            message: other.to_string(),
        },
    }
}

fn lost(what: &str) -> Error {
    Error::DeviceLost {
        during: format!("making {what}"),
    }
}

/// Whether the device is lost. wgpu reports that to a single callback, and that callback is the
/// caller's. But a lost device objects to nothing, so this asks for a buffer that is of no use. In a
/// browser the objection arrives later; there the device is lost if somebody
/// [reported](crate::DeviceLoss) it.
pub(crate) fn is_lost(device: &wgpu::Device) -> bool {
    if cfg!(target_family = "wasm") {
        return is_reported_lost(device);
    }
    let (_, mut objection) = watched(device, || {
        device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("wgpu-optim probe"),
            size: 4,
            usage: wgpu::BufferUsages::empty(),
            mapped_at_creation: false,
        })
    });
    let objection = objection
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()));
    matches!(objection, Poll::Ready(None))
}
