//! Cuts whole matrices into batches that each fit the device's bindings.

use std::ops::Range;

use crate::{
    Error,
    plan::{DispatchLimits, Pack, join, length, pack},
};

/// What one item must have bound, in bytes.
#[derive(Debug, Clone)]
pub(super) struct Needs<const N: usize, const M: usize> {
    /// Where the item lies in each buffer.
    pub ranges: [Range<u64>; N],
    /// How much the item takes of each scratch buffer. A batch fills those from the start.
    pub sizes: [u64; M],
    /// What the error says if the item does not fit.
    pub name: String,
}

/// Items that are dispatched together.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Batch<T, const N: usize, const M: usize> {
    pub items: Vec<T>,
    /// What to bind of each buffer.
    pub windows: [Range<u64>; N],
    pub sizes: [u64; M],
}

/// Puts `items` into as few batches as their order allows.
pub(super) fn batches<T, const N: usize, const M: usize>(
    items: impl IntoIterator<Item = T>,
    limits: &DispatchLimits,
    needs: impl Fn(&T) -> Needs<N, M>,
) -> Result<Vec<Batch<T, N, M>>, Error> {
    let mut checked = Vec::new();
    for item in items {
        let Needs {
            ranges,
            sizes,
            name,
        } = needs(&item);
        let windows = ranges.map(|range| limits.binding_of(&range));
        let bound = Bound { windows, sizes };
        let needed = bound.largest();
        if needed > limits.binding_bytes {
            return Err(Error::Limit {
                what: name,
                needed,
                limit: "max_storage_buffer_binding_size",
                allowed: limits.binding_bytes,
            });
        }
        checked.push((item, bound));
    }
    let packs = pack(
        checked,
        |(_, bound)| bound.clone(),
        Bound::join,
        |bound, _| bound.largest() <= limits.binding_bytes,
    );
    let batch = |pack: Pack<(T, Bound<N, M>), Bound<N, M>>| Batch {
        items: pack.items.into_iter().map(|(item, _)| item).collect(),
        windows: pack.bound.windows,
        sizes: pack.bound.sizes,
    };
    Ok(packs.into_iter().map(batch).collect())
}

/// What the items of a batch have bound together.
#[derive(Debug, Clone)]
struct Bound<const N: usize, const M: usize> {
    windows: [Range<u64>; N],
    sizes: [u64; M],
}

impl<const N: usize, const M: usize> Bound<N, M> {
    fn join(&self, other: &Self) -> Self {
        Self {
            windows: std::array::from_fn(|i| join(&self.windows[i], &other.windows[i])),
            sizes: std::array::from_fn(|i| self.sizes[i] + other.sizes[i]),
        }
    }

    fn largest(&self) -> u64 {
        let windows = self.windows.iter().map(length);
        windows.chain(self.sizes).max().unwrap_or(0)
    }
}
