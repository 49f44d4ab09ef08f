//! Copies of parameters in a caller's ranges.

use std::{borrow::Cow, ops::Range};

use bytemuck::{Pod, Zeroable};

use super::{RangeWindow, Span};
use crate::format::Storage;

/// Where a copy of parameters in 16 bits begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CopyStart {
    /// The number of its buffer, which holds neither parameters nor gradients.
    pub buffer: usize,
    /// In bytes, a multiple of 4.
    pub offset: u64,
}

impl CopyStart {
    /// Where what follows `elements` begins.
    pub fn after(self, elements: u64, storage: &Storage) -> Self {
        Self {
            offset: self.offset + copy_bytes(storage, elements),
            ..self
        }
    }

    /// The number of the first element in the binding of `bytes`.
    pub fn first_in(self, bytes: &Range<u64>, storage: &Storage) -> u32 {
        let first = storage
            .copy()
            .map(|copy| copy.elements(self.offset - bytes.start));
        // A binding holds fewer than 2³² elements.
        first.unwrap_or(0) as u32
    }
}

/// How many bytes the copies of `elements` take.
pub(super) fn copy_bytes(storage: &Storage, elements: u64) -> u64 {
    storage.copy().map_or(0, |copy| copy.bytes(elements))
}

/// What a [`RangeWindow`] binds of a buffer of copies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CopyWindow {
    pub buffer: usize,
    pub bytes: Range<u64>,
    /// The first element of each span, from the start of the binding.
    pub firsts: Vec<u32>,
}

/// A span with its copy, as the shaders read it.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct CopiedSpan {
    span: Span,
    copy: u32,
}

impl RangeWindow {
    /// The table of spans that its shader reads.
    pub fn table(&self) -> Cow<'_, [u8]> {
        let Some(copies) = &self.copies else {
            return bytemuck::cast_slice(&self.spans).into();
        };
        let rows = self.spans.iter().zip(&copies.firsts);
        let rows: Vec<_> = rows
            .map(|(&span, &copy)| CopiedSpan { span, copy })
            .collect();
        bytemuck::cast_slice(&rows).to_vec().into()
    }
}
