//! Which device a queue or a buffer is of. wgpu does not say, so this tries.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    task::{Context, Poll, Waker},
};

use super::guarded::is_lost;
use crate::Error;

/// Refuses a queue that is not of `device`, and a lost device. `buffer` should be of `device` too.
///
/// The queue is asked to write nothing to an offset that cannot be. wgpu's objection goes to the
/// queue's own device. If it does not come here, it went elsewhere, where by default it panics.
/// Within another instance of wgpu there may be no such buffer, which panics too.
///
/// In a browser objections arrive later. There this refuses only a device that is reported lost.
pub(crate) fn check_queue(
    device: &wgpu::Device,
    queue: &wgpu::Queue,
    buffer: &wgpu::Buffer,
    during: &str,
) -> Result<(), Error> {
    let lost = || Error::DeviceLost {
        during: during.to_owned(),
    };
    if cfg!(target_family = "wasm") {
        return match is_lost(device) {
            true => Err(lost()),
            false => Ok(()),
        };
    }
    if objects(device, || queue.write_buffer(buffer, 1, &[])) == Objection::Here {
        return Ok(());
    }
    if is_lost(device) {
        return Err(lost());
    }
    check_owned(device, [buffer], || "the buffer".to_owned())?;
    Err(Error::OtherDevice {
        what: "the queue".to_owned(),
    })
}

/// Refuses buffers of which one is not of `device`. `what` names them. A lost device is left to others
/// to find.
pub(crate) fn check_owned<'a>(
    device: &wgpu::Device,
    buffers: impl IntoIterator<Item = &'a wgpu::Buffer>,
    what: impl FnOnce() -> String,
) -> Result<(), Error> {
    // A transition may be to any state, whatever the buffer's usage. It is never submitted.
    let transitions = buffers.into_iter().map(|buffer| wgpu::BufferTransition {
        buffer,
        state: wgpu::BufferUses::COPY_SRC,
    });
    let objection = objects(device, || {
        let mut encoder = device.create_command_encoder(&Default::default());
        encoder.transition_resources(transitions, std::iter::empty());
        encoder.finish();
    });
    if objection == Objection::None || is_lost(device) {
        return Ok(());
    }
    Err(Error::OtherDevice { what: what() })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Objection {
    None,
    /// To the device in question.
    Here,
    Panic,
}

/// How wgpu objects to `attempt`.
fn objects(device: &wgpu::Device, attempt: impl FnOnce()) -> Objection {
    let scope = device.push_error_scope(wgpu::ErrorFilter::Validation);
    let attempted = catch_unwind(AssertUnwindSafe(attempt));
    let mut objection = pin!(scope.pop());
    let objection = objection
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()));
    match (attempted, objection) {
        (Err(_), _) => Objection::Panic,
        (Ok(()), Poll::Ready(Some(_))) => Objection::Here,
        (Ok(()), Poll::Ready(None) | Poll::Pending) => Objection::None,
    }
}
