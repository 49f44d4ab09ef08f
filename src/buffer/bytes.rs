//! Numbers as they are stored, byte for byte.

use std::borrow::Cow;

use super::{Stored, fetch};
use crate::{Error, memory::reserved};

impl Stored {
    /// Reads the bytes, and after all of them those that lie beside.
    pub async fn read_bytes(
        &self,
        device: &wgpu::Device,
        queue: &wgpu::Queue,
    ) -> Result<Vec<u8>, Error> {
        fetch(device, queue, &self.ranges(), |bytes| self.bytes(bytes)).await?
    }

    /// [`read_bytes`](Self::read_bytes), blocking.
    #[cfg(not(target_family = "wasm"))]
    pub fn read_bytes_blocking(
        &self,
        device: &wgpu::Device,
        queue: &wgpu::Queue,
    ) -> Result<Vec<u8>, Error> {
        self.fetch_blocking(device, queue, |bytes| self.bytes(bytes))?
    }

    /// Writes what [`read_bytes`](Self::read_bytes) gives.
    pub fn write_bytes(
        &self,
        device: &wgpu::Device,
        queue: &wgpu::Queue,
        bytes: &[u8],
    ) -> Result<(), Error> {
        let [own, beside] = self.encoding.stored_bytes(self.count);
        self.check_write(device, queue, "bytes to write", own + beside, bytes.len())?;
        let (own, beside) = bytes.split_at(own);
        let own = match self.encoding.padding(self.count) {
            0 => Cow::Borrowed(own),
            _ => {
                let mut whole = reserved(own.len(), "bytes to write")?;
                whole.extend_from_slice(own);
                self.encoding.clear_padding(&mut whole, self.count);
                Cow::Owned(whole)
            }
        };
        self.put(device, queue, own, beside)
    }

    /// The bytes of the elements among those of the ranges.
    fn bytes(&self, ranges: &[u8]) -> Result<Vec<u8>, Error> {
        let [own, beside] = self.encoding.stored_bytes(self.count);
        let mut bytes = reserved(own + beside, "bytes to read")?;
        let (of_own, of_beside) = ranges.split_at(ranges.len().min(self.range.size as usize));
        bytes.extend_from_slice(&of_own[..own.min(of_own.len())]);
        self.encoding.clear_padding(&mut bytes, self.count);
        bytes.extend_from_slice(&of_beside[..beside.min(of_beside.len())]);
        Ok(bytes)
    }
}
