//! What one thread does alone, and what takes a workgroup.

use super::{grid::fold, limits::DispatchLimits, measuring::MEASURING_THREADS};

/// How many threads add up the partial sums of a tensor, or of another run of gradients.
///
/// A workgroup's barriers cost as much as hundreds of additions, so a workgroup for each of many
/// small tensors would take longer than all else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Size {
    /// One thread, [`SMALL_PER_WORKGROUP`] of them in a workgroup.
    Small,
    /// A workgroup.
    Large,
}

/// The shaders have it as the size of their workgroups.
const SMALL_PER_WORKGROUP: u64 = 64;

/// Most partial sums that one thread adds up. They are those of a tensor that one workgroup
/// measures. Its last elements may be measured apart.
const MOST_PARTIALS: u64 = MEASURING_THREADS + 1;

impl Size {
    /// The size of what has that many partial sums.
    pub fn of_partials(count: u64) -> Self {
        match count <= MOST_PARTIALS {
            true => Self::Small,
            false => Self::Large,
        }
    }

    /// The grid for `count` of them.
    pub fn grid(self, count: usize, limits: &DispatchLimits) -> [u32; 2] {
        let count = count as u64;
        match self {
            Self::Small => fold(count.div_ceil(SMALL_PER_WORKGROUP), limits),
            Self::Large => fold(count, limits),
        }
    }
}

/// Parts `items` by size. Sizes that none has are left out.
pub(crate) fn by_size<T>(
    items: impl IntoIterator<Item = T>,
    size: impl Fn(&T) -> Size,
) -> impl Iterator<Item = (Size, Vec<T>)> {
    let (small, large) = items
        .into_iter()
        .partition::<Vec<_>, _>(|item| size(item) == Size::Small);
    [(Size::Small, small), (Size::Large, large)]
        .into_iter()
        .filter(|(_, items)| !items.is_empty())
}
