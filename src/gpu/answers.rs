//! What wgpu objects to while a plan is made, without waiting for each answer.

use std::{
    ops::Deref,
    sync::{Mutex, PoisonError},
};

use super::owning::OwningDevice;
use crate::{
    Error,
    buffer::{Answer, begun},
};

/// Answers that have not come yet. Natively each is there at once, so there are none.
#[derive(Debug, Default)]
pub(super) struct Answers(Mutex<Vec<Answer>>);

impl Answers {
    pub fn on<'a>(&'a self, device: &'a OwningDevice) -> GuardedDevice<'a> {
        GuardedDevice {
            device,
            answers: self,
        }
    }

    /// Waits for all answers. The first objection comes before the error of `made`, which was made
    /// meanwhile.
    pub async fn heard<T>(self, made: Result<T, Error>) -> Result<T, Error> {
        // Nothing is ever half done under the lock, so a poisoned one is fine.
        let answers = self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        for answer in answers {
            answer.get().await?;
        }
        made
    }
}

/// A device on which buffers and bindings are made one after another. In a browser each objection
/// takes a turn of its event loop, so they are waited for together, in [`Answers::heard`].
#[derive(Debug, Clone, Copy)]
pub(super) struct GuardedDevice<'a> {
    device: &'a OwningDevice,
    answers: &'a Answers,
}

impl GuardedDevice<'_> {
    /// Runs `make`, which makes `what`. In a browser, wgpu's objections come later.
    pub fn guarded<T>(&self, what: &str, make: impl FnOnce() -> T) -> Result<T, Error> {
        let (made, answer) = begun(self.device, what, make);
        match answer.now() {
            Ok(answer) => answer?,
            Err(pending) => {
                let mut answers = self.answers.0.lock();
                let answers = answers.as_mut().map_err(|poisoned| poisoned.get_mut());
                answers.unwrap_or_else(|answers| answers).push(pending);
            }
        }
        Ok(made)
    }
}

impl Deref for GuardedDevice<'_> {
    type Target = OwningDevice;

    fn deref(&self) -> &OwningDevice {
        self.device
    }
}
