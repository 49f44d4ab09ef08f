//! What a block of elements has of one slot: numbers, or the bytes of a format.

use crate::format::{Encoding, Noise, Rounding};

use super::Real;

/// A block's part of one slot.
pub(crate) enum Part<'a, T> {
    /// Empty if the slot is not in use.
    Plain(&'a mut [T]),
    /// A thread decodes what it is about to step, and encodes it again while it is in the nearest cache.
    Coded(CodedPart<'a>),
}

/// A part in the bytes of its format. Numbers of f64 are the reference and never lie so.
pub(crate) struct CodedPart<'a> {
    pub encoding: Encoding,
    pub bytes: &'a mut [u8],
    /// The number of its first element in the group, at the start of a block of the encoding.
    pub first: usize,
    /// What new values are rounded by. Without it, none are stored.
    pub noise: Option<Noise>,
}

impl<T: Real> Part<'_, T> {
    /// Whether the slot is not in use, or the block has no elements.
    pub fn is_unused(&self) -> bool {
        matches!(self, Self::Plain(values) if values.is_empty())
    }

    /// Whether it is numbers.
    pub fn is_plain(&self) -> bool {
        matches!(self, Self::Plain(values) if !values.is_empty())
    }

    /// Splits off the first `count` elements.
    pub fn split_off(&mut self, count: usize) -> Self {
        match self {
            Self::Plain(values) => Self::Plain(values.split_off_mut(..count).unwrap_or_default()),
            Self::Coded(part) => Self::Coded(part.split_off(count)),
        }
    }

    /// The values, of which there are `count`. What is not numbers yet comes to lie in `room`.
    pub fn open<'v>(&'v mut self, room: &'v mut [T], count: usize) -> &'v mut [T] {
        match self {
            Self::Plain(values) if !values.is_empty() => return values,
            // A slot that is not in use reads as zero.
            Self::Plain(_) => room[..count].fill(T::zero()),
            Self::Coded(part) => {
                if let Ok(room) = bytemuck::try_cast_slice_mut(&mut room[..count]) {
                    part.encoding.decode(part.bytes, room);
                }
            }
        }
        &mut room[..count]
    }

    /// Stores what became of the values in `room`.
    pub fn close(self, room: &[T], count: usize) {
        if let Self::Coded(part) = self
            && let Some(noise) = part.noise
            && let Ok(values) = bytemuck::try_cast_slice(&room[..count])
        {
            let rounding = Rounding::Stochastic(noise);
            let first = part.first as u64;
            part.encoding.encode(values, first, rounding, part.bytes);
        }
    }
}

impl CodedPart<'_> {
    fn split_off(&mut self, count: usize) -> Self {
        let [start, end] = [self.first, self.first + count];
        let at = |element| self.encoding.bytes(element as u64) as usize;
        let bytes = self.bytes.split_off_mut(..at(end) - at(start));
        self.first = end;
        Self {
            encoding: self.encoding,
            bytes: bytes.unwrap_or_default(),
            first: start,
            noise: self.noise,
        }
    }
}
