//! Cuts whole matrices into batches whose buffers can be bound.

use std::ops::Range;

use crate::{Error, plan::DispatchLimits};

/// What one item needs bound, in bytes.
#[derive(Debug, Clone)]
pub(super) struct Needs<const N: usize, const M: usize> {
    /// Where it lies in each buffer.
    pub ranges: [Range<u64>; N],
    /// How much it takes of each buffer that a batch fills from the start.
    pub sizes: [u64; M],
    /// What is said where it does not fit.
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

/// As few batches as the order of `items` allows.
pub(super) fn batches<T, const N: usize, const M: usize>(
    items: impl IntoIterator<Item = T>,
    limits: &DispatchLimits,
    needs: impl Fn(&T) -> Needs<N, M>,
) -> Result<Vec<Batch<T, N, M>>, Error> {
    let mut batches: Vec<Batch<T, N, M>> = Vec::new();
    for item in items {
        let Needs {
            ranges,
            sizes,
            name,
        } = needs(&item);
        let alone = ranges.map(|range| {
            range.start / limits.offset_alignment * limits.offset_alignment..range.end
        });
        let needed = largest(&alone, &sizes);
        if needed > limits.binding_bytes {
            return Err(Error::Limit {
                what: name,
                needed,
                limit: "max_storage_buffer_binding_size",
                allowed: limits.binding_bytes,
            });
        }
        if let Some(batch) = batches.last_mut() {
            let windows: [_; N] = std::array::from_fn(|i| {
                let (batch, item) = (&batch.windows[i], &alone[i]);
                batch.start.min(item.start)..batch.end.max(item.end)
            });
            let sizes: [_; M] = std::array::from_fn(|i| batch.sizes[i] + sizes[i]);
            if largest(&windows, &sizes) <= limits.binding_bytes {
                batch.items.push(item);
                batch.windows = windows;
                batch.sizes = sizes;
                continue;
            }
        }
        batches.push(Batch {
            items: vec![item],
            windows: alone,
            sizes,
        });
    }
    Ok(batches)
}

fn largest(windows: &[Range<u64>], sizes: &[u64]) -> u64 {
    let windows = windows.iter().map(|window| window.end - window.start);
    windows.chain(sizes.iter().copied()).max().unwrap_or(0)
}
