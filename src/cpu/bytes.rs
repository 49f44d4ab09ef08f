//! Parameters and state as a device stores them, byte for byte.

use std::borrow::Cow;

use super::{Optimizer, arena::zeros, transfer::StatePlace};
use crate::{
    Error, Tensor,
    error::check_length,
    format::{Encoding, Rounding},
    memory::reserved,
    rule::{Real, wide},
};

impl<T: Real> Optimizer<T> {
    /// The parameters of `tensor` as a device stores them, row-major and little-endian: 4 bytes for each
    /// element in f32 and 2 in bf16. In bf16+8 it is 2 for each, and after all of them 1 for each, in bf16+16
    /// another 2: the bits that an optimizer keeps beside it. Numbers of f64 are rounded to f32 first.
    ///
    /// ```
    /// use wgpu_optim::{Format, Formats, Layout, cpu, rules::AdamW};
    ///
    /// let mut layout = Layout::new();
    /// let formats = Formats { params: Format::Bf16Plus8, ..Default::default() };
    /// let group = layout.group_in(AdamW::default(), formats)?;
    /// let weight = layout.tensor(group, "weight", &[2])?;
    /// let mut optimizer = cpu::Optimizer::<f32>::new(&layout)?;
    /// optimizer.param_mut(weight)?.copy_from_slice(&[1.0, 1.0 + 1.0 / 256.0]);
    ///
    /// let bytes = optimizer.param_bytes(weight)?;
    /// // The second is half a bf16's last place below 1.0078125: -128 of 256 of it.
    /// assert_eq!(bytes, [0x80, 0x3f, 0x81, 0x3f, 0x00, 0x80]);
    /// optimizer.write_param_bytes(weight, &bytes)?;
    /// assert_eq!(optimizer.param(weight)?, [1.0, 1.0 + 1.0 / 256.0]);
    /// # Ok::<(), wgpu_optim::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::UnknownHandle`] for another layout's tensor and [`Error::OutOfMemory`], here and below.
    pub fn param_bytes(&self, tensor: Tensor) -> Result<Vec<u8>, Error> {
        encoded(self.param_encoding(tensor)?, self.param(tensor)?)
    }

    /// Writes what [`param_bytes`](Self::param_bytes) gives.
    ///
    /// # Errors
    /// [`Error::Length`] for a wrong number of bytes. The parameters are as they were then.
    pub fn write_param_bytes(&mut self, tensor: Tensor, bytes: &[u8]) -> Result<(), Error> {
        let encoding = self.param_encoding(tensor)?;
        decoded(encoding, bytes, self.param_mut(tensor)?)
    }

    /// The state `slot` of `tensor` as a device stores it, little-endian: 4 bytes for each element in f32 and 2
    /// in bf16. In int8 it is 80 for each 64 elements, the last of which may be fewer: the bits of the largest
    /// magnitude of each 16, and then 64 codes. What belongs to no element is that of zeros. Numbers of f64 are
    /// rounded to f32 first.
    ///
    /// # Errors
    /// [`Error::UnknownState`] if the tensor's rule has no state with that name.
    pub fn state_bytes(&self, tensor: Tensor, slot: &str) -> Result<Vec<u8>, Error> {
        let encoding = self.state_encoding(tensor, slot)?;
        if let Some(bytes) = self.coded_bytes(tensor, slot)? {
            let mut copy = reserved(bytes.len(), "bytes to read")?;
            copy.extend_from_slice(bytes);
            // Rules such as AdaBelief fill it.
            encoding.clear_padding(&mut copy, self.layout.element_count(tensor)?);
            return Ok(copy);
        }
        encoded(encoding, &self.state(tensor, slot)?)
    }

    /// Writes what [`state_bytes`](Self::state_bytes) gives.
    ///
    /// # Errors
    /// [`Error::UnknownState`]; [`Error::Length`] for a wrong number of bytes. The state is as it was then.
    pub fn write_state_bytes(
        &mut self,
        tensor: Tensor,
        slot: &str,
        bytes: &[u8],
    ) -> Result<(), Error> {
        let encoding = self.state_encoding(tensor, slot)?;
        if let Some((coded, elements)) = self.coded_mut(tensor, slot)? {
            check(encoding, bytes, elements.len())?;
            coded.fill(elements, bytes);
            return Ok(());
        }
        decoded(encoding, bytes, self.state_mut(tensor, slot)?)
    }

    fn param_encoding(&self, tensor: Tensor) -> Result<Encoding, Error> {
        let group = self.layout.entry(tensor)?.group;
        Ok(self.layout.storage(group).params)
    }

    fn state_encoding(&self, tensor: Tensor, slot: &str) -> Result<Encoding, Error> {
        Ok(match self.state_place(tensor, slot)? {
            StatePlace::Elements(group, slot, _) => self.groups[group.0].encodings[slot],
            _ => Encoding::F32,
        })
    }
}

fn encoded<T: Real>(encoding: Encoding, values: &[T]) -> Result<Vec<u8>, Error> {
    let values = as_f32(values)?;
    let [own, beside] = encoding.stored_bytes(values.len());
    let mut bytes = reserved(own + beside, "bytes to read")?;
    bytes.resize(own + beside, 0);
    let (own, beside) = bytes.split_at_mut(own);
    encoding.encode(&values, 0, Rounding::Nearest, own);
    if let Some(residual) = encoding.residual() {
        residual.encode(&values, 0, Rounding::Nearest, beside);
    }
    Ok(bytes)
}

fn decoded<T: Real>(encoding: Encoding, bytes: &[u8], values: &mut [T]) -> Result<(), Error> {
    let own = check(encoding, bytes, values.len())?;
    let (own, beside) = bytes.split_at(own);
    let mut found = zeros(values.len(), "values to write")?;
    encoding.decode(own, &mut found);
    if let Some(residual) = encoding.residual() {
        residual.decode(beside, &mut found);
    }
    store(&found, values);
    Ok(())
}

/// Refuses another number of bytes than `count` elements have. Gives how many are not beside the others.
fn check(encoding: Encoding, bytes: &[u8], count: usize) -> Result<usize, Error> {
    let [own, beside] = encoding.stored_bytes(count);
    check_length("bytes to write", own + beside, bytes.len())?;
    Ok(own)
}

/// Values as f32. Those that are f32 keep their bits, even where they are no numbers.
pub(super) fn as_f32<T: Real>(values: &[T]) -> Result<Cow<'_, [f32]>, Error> {
    if size_of::<T>() == size_of::<f32>()
        && let Ok(values) = bytemuck::try_cast_slice(values)
    {
        return Ok(Cow::Borrowed(values));
    }
    let mut singles = reserved(values.len(), "values as f32")?;
    singles.extend(values.iter().map(|&value| wide(value) as f32));
    Ok(Cow::Owned(singles))
}

/// Puts values of f32 in place of others.
pub(super) fn store<T: Real>(values: &[f32], to: &mut [T]) {
    if size_of::<T>() == size_of::<f32>()
        && let Ok(to) = bytemuck::try_cast_slice_mut(to)
    {
        to.copy_from_slice(values);
        return;
    }
    for (to, value) in to.iter_mut().zip(values) {
        *to = T::from_f64(f64::from(*value));
    }
}
