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

impl<'a, T: Real> Part<'a, T> {
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

    /// The values, if they are numbers.
    pub fn plain(self) -> &'a mut [T] {
        match self {
            Self::Plain(values) => values,
            Self::Coded(_) => &mut [],
        }
    }

    /// The values of `count` elements from `start` on, at the start of a block. What is not numbers comes to lie in
    /// `room`, and a slot that is not in use reads as zero.
    pub fn open<'v>(&'v mut self, start: usize, count: usize, room: &'v mut [T]) -> &'v mut [T] {
        match self {
            Self::Plain([]) => room.fill(T::zero()),
            Self::Plain(all) => return &mut all[start..][..count],
            Self::Coded(part) => part.decode(start, room),
        }
        room
    }

    /// Stores what became of the values in `room`.
    pub fn close(&mut self, start: usize, room: &[T]) {
        if let Self::Coded(part) = self {
            part.encode(start, room);
        }
    }
}

impl CodedPart<'_> {
    /// Where the block that begins with the element `start` lies.
    fn at(&self, start: usize) -> usize {
        self.encoding.bytes(start as u64) as usize
    }

    fn decode<T: Real>(&self, start: usize, values: &mut [T]) {
        if let Ok(values) = bytemuck::try_cast_slice_mut(values) {
            self.encoding.decode(&self.bytes[self.at(start)..], values);
        }
    }

    fn encode<T: Real>(&mut self, start: usize, values: &[T]) {
        if let Some(noise) = self.noise
            && let Ok(values) = bytemuck::try_cast_slice(values)
        {
            let [at, first] = [self.at(start), self.first + start];
            let rounding = Rounding::Stochastic(noise);
            let bytes = &mut self.bytes[at..];
            self.encoding.encode(values, first as u64, rounding, bytes);
        }
    }

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
