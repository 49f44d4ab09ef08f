//! The grid of a dispatch's workgroups.

use super::limits::DispatchLimits;

/// The smallest grid of at least `blocks` workgroups.
pub(crate) fn fold(blocks: u64, limits: &DispatchLimits) -> [u32; 2] {
    let y = blocks.div_ceil(u64::from(limits.workgroups_per_dimension));
    [blocks.div_ceil(y) as u32, y as u32]
}

/// One span per workgroup. Workgroups beyond the last block have nothing to do.
pub(super) fn padded<T: Clone + Default>(
    spans: impl Iterator<Item = T>,
    [x, y]: [u32; 2],
) -> Vec<T> {
    let count = x as usize * y as usize;
    spans
        .chain(std::iter::repeat(T::default()))
        .take(count)
        .collect()
}
