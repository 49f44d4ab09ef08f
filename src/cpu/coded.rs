//! A slot in the bytes of its format. A thread decodes what it is about to step, and encodes it again
//! while it is in the nearest cache.

use std::ops::Range;

use crate::{
    Error,
    format::{Encoding, Noise, Rounding},
    rule::Real,
};

/// The values of a group in one slot. Numbers of f64 are the reference and never lie here.
#[derive(Debug, Clone)]
pub(super) struct Coded {
    encoding: Encoding,
    bytes: Vec<u8>,
}

/// A part of such a slot.
pub(super) struct CodedPart<'a> {
    encoding: Encoding,
    bytes: &'a mut [u8],
}

/// The random bits that each slot of a group is rounded by after a step.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rounded {
    /// The group's.
    pub seed: u32,
    pub t: u64,
}

impl Coded {
    /// `count` zeros.
    pub fn zeros(encoding: Encoding, count: usize, what: &str) -> Result<Self, Error> {
        let [blocks, block_bytes] = encoding.blocks(count);
        let mut bytes = Vec::new();
        let reserved = bytes.try_reserve_exact(blocks * block_bytes);
        reserved.map_err(|_| Error::OutOfMemory {
            what: format!("{count} {what}"),
        })?;
        let zero = encoding.encoded(&[0.0]);
        for _ in 0..blocks {
            bytes.extend_from_slice(&zero);
        }
        Ok(Self { encoding, bytes })
    }

    pub fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// All of it.
    pub fn part(&mut self) -> CodedPart<'_> {
        CodedPart {
            encoding: self.encoding,
            bytes: &mut self.bytes,
        }
    }

    /// The values of these elements, which begin at a block.
    pub fn read<T: Real>(&self, elements: Range<usize>) -> Vec<T> {
        let mut values = vec![0.0; elements.len()];
        self.encoding.decode(self.bytes(elements), &mut values);
        let values = values
            .into_iter()
            .map(|value| T::from_f64(f64::from(value)));
        values.collect()
    }

    /// Replaces these elements, which begin at a block and are all of a tensor's, each rounded to the
    /// nearest.
    pub fn write<T: Real>(&mut self, elements: Range<usize>, values: &[T]) {
        let values: Vec<_> = values
            .iter()
            .map(|value| value.to_f32().unwrap_or(f32::NAN))
            .collect();
        let encoding = self.encoding;
        encoding.encode(&values, 0, Rounding::Nearest, self.bytes_mut(elements));
    }

    /// The bytes of these elements, which begin at a block and are all of a tensor's.
    pub fn bytes(&self, elements: Range<usize>) -> &[u8] {
        &self.bytes[self.bytes_of(elements)]
    }

    /// Puts as many bytes in their place. Codes that belong to no element become those of zeros.
    pub fn fill(&mut self, elements: Range<usize>, bytes: &[u8]) {
        let (encoding, count) = (self.encoding, elements.len());
        let to = self.bytes_mut(elements);
        to.copy_from_slice(bytes);
        let [rows, row_bytes] = encoding.blocks(count);
        let padding = encoding.padding(count);
        if padding > 0 {
            let row = &mut to[(rows - 1) * row_bytes..];
            let mut values = vec![0.0; encoding.elements(row_bytes as u64) as usize - padding];
            encoding.decode(row, &mut values);
            encoding.encode(&values, 0, Rounding::Nearest, row);
        }
    }

    fn bytes_mut(&mut self, elements: Range<usize>) -> &mut [u8] {
        let bytes = self.bytes_of(elements);
        &mut self.bytes[bytes]
    }

    fn bytes_of(&self, elements: Range<usize>) -> Range<usize> {
        let at = |element: usize| self.encoding.bytes(element as u64) as usize;
        at(elements.start)..at(elements.end)
    }
}

impl CodedPart<'_> {
    /// Splits off what comes before element `end`, where this begins at element `start`.
    pub fn split_off(&mut self, start: usize, end: usize) -> Self {
        let [start, end] = [start, end].map(|element| self.encoding.bytes(element as u64) as usize);
        Self {
            encoding: self.encoding,
            bytes: self.bytes.split_off_mut(..end - start).unwrap_or_default(),
        }
    }

    /// The first `count` values.
    pub fn decoded<T: Real>(&self, count: usize) -> Vec<T> {
        let mut values = vec![T::zero(); count];
        if let Ok(values) = bytemuck::try_cast_slice_mut(&mut values) {
            self.encoding.decode(self.bytes, values);
        }
        values
    }

    /// Stores `values`, the first of which is element `first` of slot number `slot`.
    pub fn store<T: Real>(&mut self, values: &[T], first: usize, slot: u32, rounded: Rounded) {
        let Rounded { seed, t } = rounded;
        let rounding = Rounding::Stochastic(Noise::new(seed, t, slot));
        if let Ok(values) = bytemuck::try_cast_slice(values) {
            self.encoding
                .encode(values, first as u64, rounding, self.bytes);
        }
    }
}
