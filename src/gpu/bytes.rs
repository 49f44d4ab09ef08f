//! Parameters and state as they are stored, byte for byte.

use super::Optimizer;
use crate::{Error, Tensor, format::Encoding, memory::reserved};

impl Optimizer {
    /// Reads the parameters of `tensor` as they are stored, row-major and little-endian: 4 bytes for each
    /// element in f32 and 2 in bf16. In bf16+8 it is 2 for each, and after all of them 1 for each, in bf16+16
    /// another 2: the bits that the optimizer keeps beside it. Natively, something must poll the device meanwhile.
    ///
    /// ```
    /// # use wgpu_optim::{Format, Formats, Gpu, GpuOptions, Layout, Optimizer, Options, rules::AdamW};
    /// # let Gpu { device, queue, .. } = Gpu::open_blocking(&GpuOptions::default())?;
    /// let mut layout = Layout::new();
    /// let formats = Formats { params: Format::Bf16, state: Format::Int8, ..Default::default() };
    /// let group = layout.group_in(AdamW::default(), formats)?;
    /// let weight = layout.tensor(group, "weight", &[3])?;
    /// let optimizer = Optimizer::new(&device, &layout, Options::default())?;
    /// optimizer.write_param(&queue, weight, &[1.0, -2.0, 0.5])?;
    ///
    /// let bytes = optimizer.read_param_bytes_blocking(&queue, weight)?;
    /// assert_eq!(bytes, [0x80, 0x3f, 0x00, 0xc0, 0x00, 0x3f]);
    /// optimizer.write_param_bytes(&queue, weight, &bytes)?;
    /// let exp_avg = optimizer.read_state_bytes_blocking(&queue, weight, "exp_avg")?;
    /// assert_eq!(exp_avg.len(), 80);
    /// # Ok::<(), wgpu_optim::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`read_param`](Self::read_param).
    pub async fn read_param_bytes(
        &self,
        queue: &wgpu::Queue,
        tensor: Tensor,
    ) -> Result<Vec<u8>, Error> {
        let param = self.stored_param(tensor)?;
        param.read_bytes(&self.setup.device, queue).await
    }

    /// Reads the state `slot` of `tensor` as it is stored, little-endian: 4 bytes for each element in f32 and 2
    /// in bf16. In int8 it is 80 for each 64 elements, the last of which may be fewer: the bits of the largest
    /// magnitude of each 16, and then 64 codes. What belongs to no element is that of zeros.
    ///
    /// # Errors
    /// As [`read_state`](Self::read_state).
    pub async fn read_state_bytes(
        &self,
        queue: &wgpu::Queue,
        tensor: Tensor,
        slot: &str,
    ) -> Result<Vec<u8>, Error> {
        let state = self.stored_state(tensor, slot)?;
        state.read_bytes(&self.setup.device, queue).await
    }

    /// Writes the parameters of `tensor` as they are stored: what
    /// [`read_param_bytes`](Self::read_param_bytes) gives. The write comes before everything that is submitted
    /// to `queue` afterwards. A copy of the parameters is written too.
    ///
    /// # Errors
    /// [`Error::Length`] for a wrong number of bytes; else as [`write_param`](Self::write_param).
    pub fn write_param_bytes(
        &self,
        queue: &wgpu::Queue,
        tensor: Tensor,
        bytes: &[u8],
    ) -> Result<(), Error> {
        let param = self.stored_param(tensor)?;
        let copy = self.writable_copy(tensor)?;
        param.write_bytes(&self.setup.device, queue, bytes)?;
        match copy {
            Some(copy) => {
                // Parameters that have a copy are f32.
                let mut values = reserved(param.count, "values to write")?;
                values.resize(param.count, 0.0);
                Encoding::F32.decode(bytes, &mut values);
                copy.write(&self.setup.device, queue, &values)
            }
            None => Ok(()),
        }
    }

    /// Writes the state `slot` of `tensor` as it is stored: what
    /// [`read_state_bytes`](Self::read_state_bytes) gives.
    ///
    /// # Errors
    /// [`Error::Length`] for a wrong number of bytes; else as [`write_state`](Self::write_state).
    pub fn write_state_bytes(
        &self,
        queue: &wgpu::Queue,
        tensor: Tensor,
        slot: &str,
        bytes: &[u8],
    ) -> Result<(), Error> {
        let state = self.stored_state(tensor, slot)?;
        state.write_bytes(&self.setup.device, queue, bytes)
    }
}

#[cfg(not(target_family = "wasm"))]
impl Optimizer {
    /// [`read_param_bytes`](Self::read_param_bytes), blocking.
    pub fn read_param_bytes_blocking(
        &self,
        queue: &wgpu::Queue,
        tensor: Tensor,
    ) -> Result<Vec<u8>, Error> {
        let param = self.stored_param(tensor)?;
        param.read_bytes_blocking(&self.setup.device, queue)
    }

    /// [`read_state_bytes`](Self::read_state_bytes), blocking.
    pub fn read_state_bytes_blocking(
        &self,
        queue: &wgpu::Queue,
        tensor: Tensor,
        slot: &str,
    ) -> Result<Vec<u8>, Error> {
        let state = self.stored_state(tensor, slot)?;
        state.read_bytes_blocking(&self.setup.device, queue)
    }
}
