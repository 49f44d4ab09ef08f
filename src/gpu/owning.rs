//! Who destroys which buffers.

use std::{
    ops::Deref,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::buffer::Own;

/// A device, and the buffers that were made with it here. They are destroyed with this.
///
/// What a bind group or a recorded command uses must not be destroyed before the submission. So each
/// encoder into which an optimizer records holds this too, through a closure that wgpu keeps until the
/// encoder is submitted or dropped.
#[derive(Debug)]
pub(super) struct OwningDevice {
    device: wgpu::Device,
    buffers: Mutex<Vec<Own>>,
    /// Owns other buffers that the bind groups over these use.
    _uses: Option<Arc<OwningDevice>>,
}

impl OwningDevice {
    pub fn new(device: &wgpu::Device) -> Arc<Self> {
        Arc::new(Self {
            device: device.clone(),
            buffers: Mutex::default(),
            _uses: None,
        })
    }

    /// Owns nothing yet. What will be made is used together with what `uses` owns.
    pub fn beside(uses: &Arc<Self>) -> Arc<Self> {
        Arc::new(Self {
            device: uses.device.clone(),
            buffers: Mutex::default(),
            _uses: Some(uses.clone()),
        })
    }

    /// As [`wgpu::Device::create_buffer`].
    pub fn create_buffer(&self, descriptor: &wgpu::BufferDescriptor<'_>) -> wgpu::Buffer {
        let buffer = self.device.create_buffer(descriptor);
        self.buffers().push(Own::new(buffer.clone()));
        buffer
    }

    /// Leaves `buffer` to a caller who is given it, if it is owned here.
    pub fn give_away(&self, buffer: &wgpu::Buffer) {
        let mut buffers = self.buffers();
        if let Some(position) = buffers.iter().position(|own| **own == *buffer) {
            let own = buffers.swap_remove(position);
            own.leave();
        }
    }

    /// Nothing is ever half done under the lock, so a poisoned one is fine.
    fn buffers(&self) -> MutexGuard<'_, Vec<Own>> {
        self.buffers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All that is owned here, for tests.
    #[cfg(test)]
    pub fn owned(&self) -> Vec<wgpu::Buffer> {
        self.buffers()
            .iter()
            .map(|own| wgpu::Buffer::clone(own))
            .collect()
    }
}

impl Deref for OwningDevice {
    type Target = wgpu::Device;

    fn deref(&self) -> &wgpu::Device {
        &self.device
    }
}
