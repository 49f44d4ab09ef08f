//! A slot in the bytes of its format.

use std::ops::Range;

use super::arena::zeros;
use crate::{
    Error,
    format::{Encoding, Noise, Rounding},
    memory::reserved,
    rule::{CodedPart, Real},
    shader::FIRST_SLOT_NUMBER,
};

/// The values of a group in one slot. Numbers of f64 are the reference and never lie here.
#[derive(Debug, Clone)]
pub(super) struct Coded {
    encoding: Encoding,
    bytes: Vec<u8>,
}

/// The random bits that the slots of a group are rounded by after a step.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rounded {
    /// The group's.
    pub seed: u32,
    pub t: u64,
}

impl Rounded {
    pub fn noise(self, slot: usize) -> Noise {
        Noise::new(self.seed, self.t, (FIRST_SLOT_NUMBER + slot) as u32)
    }
}

impl Coded {
    /// `count` zeros.
    pub fn zeros(encoding: Encoding, count: usize, what: &str) -> Result<Self, Error> {
        let [blocks, block_bytes] = encoding.blocks(count);
        let mut bytes = reserved(blocks * block_bytes, &format!("bytes of {what}"))?;
        let zero = encoding.encoded(&[0.0]);
        for _ in 0..blocks {
            bytes.extend_from_slice(&zero);
        }
        Ok(Self { encoding, bytes })
    }

    pub fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// All of it. New values are rounded by `noise`, and without it not stored.
    pub fn part(&mut self, noise: Option<Noise>) -> CodedPart<'_> {
        CodedPart {
            encoding: self.encoding,
            bytes: &mut self.bytes,
            first: 0,
            noise,
        }
    }

    /// The values of these elements, which begin at a block.
    pub fn read<T: Real>(&self, elements: Range<usize>) -> Result<Vec<T>, Error> {
        let mut values = zeros(elements.len(), "values to read")?;
        decode(self.encoding, self.bytes(elements), &mut values);
        Ok(values)
    }

    /// Replaces these elements, which begin at a block and are all of a tensor's, each rounded to the
    /// nearest.
    pub fn write<T: Real>(&mut self, elements: Range<usize>, values: &[T]) {
        let encoding = self.encoding;
        if let Ok(values) = bytemuck::try_cast_slice(values) {
            encoding.encode(values, 0, Rounding::Nearest, self.bytes_mut(elements));
        }
    }

    /// Replaces each of these elements by one value, as [`write`](Self::write) does.
    pub fn write_all<T: Real>(&mut self, elements: Range<usize>, value: T) {
        // Whole blocks at a time.
        let piece = [value; 4096];
        for start in elements.clone().step_by(piece.len()) {
            let count = piece.len().min(elements.end - start);
            self.write(start..start + count, &piece[..count]);
        }
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
        encoding.clear_padding(to, count);
    }

    /// All of it. `from` has as many elements in the same encoding.
    pub fn take_over(&mut self, from: &Self) {
        self.bytes.copy_from_slice(&from.bytes);
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

fn decode<T: Real>(encoding: Encoding, bytes: &[u8], values: &mut [T]) {
    if let Ok(values) = bytemuck::try_cast_slice_mut(values) {
        encoding.decode(bytes, values);
    }
}
