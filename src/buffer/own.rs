//! Buffers that nobody else has.

use std::ops::Deref;

/// A buffer that is destroyed when it is dropped. Natively, wgpu frees a buffer once nothing refers to it.
/// In a browser a buffer that is only dropped stays until the garbage collector comes, which does not see
/// how large it is.
///
/// wgpu refuses a submission that uses a destroyed buffer. So whoever records a use keeps the buffer until
/// the encoder is submitted.
#[derive(Debug)]
pub(crate) struct Own {
    buffer: wgpu::Buffer,
    /// Whether somebody else has it too.
    is_shared: bool,
}

impl Own {
    pub fn new(buffer: wgpu::Buffer) -> Self {
        Self {
            buffer,
            is_shared: false,
        }
    }

    /// Drops the buffer without destroying it.
    pub fn leave(mut self) {
        self.is_shared = true;
    }
}

impl Deref for Own {
    type Target = wgpu::Buffer;

    fn deref(&self) -> &wgpu::Buffer {
        &self.buffer
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        if !self.is_shared {
            self.buffer.destroy();
        }
    }
}
