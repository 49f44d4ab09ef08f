//! What one thread does alone, and what takes a workgroup.

use super::{
    grid::fold,
    limits::DispatchLimits,
    measuring::{MEASURING_THREADS, MOST_ALONE},
};

/// How many threads measure a span, or add up the partial sums of a tensor or of another run of
/// gradients.
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
    /// The size of a span of that many elements.
    pub fn of_span(count: u64) -> Self {
        match count <= MOST_ALONE {
            true => Self::Small,
            false => Self::Large,
        }
    }

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

#[cfg(test)]
mod tests {
    use super::super::{
        measuring::{measuring_threads, span},
        samples::{TINY, WIDE},
    };
    use super::*;
    use crate::{
        format::{Encoding, QUAD},
        plan::Width,
        rules::Lamb,
        shader,
    };

    #[test]
    fn a_tensor_within_a_span_is_small_and_all_others_are_large() {
        // The quads and what is left over, or single elements alone.
        let partials =
            |count: u64| measuring_threads(count) + u64::from(!count.is_multiple_of(QUAD));
        let of_one_workgroup = span(1);
        for count in [1, 64, of_one_workgroup - 1, of_one_workgroup] {
            assert_eq!(Size::of_partials(partials(count)), Size::Small, "{count}");
        }
        let two_spans = [of_one_workgroup, of_one_workgroup / 2];
        let of_two_spans: u64 = two_spans.into_iter().map(partials).sum();
        assert_eq!(Size::of_partials(of_two_spans), Size::Large);
    }

    #[test]
    fn every_item_is_in_one_part_and_no_part_is_empty() {
        let of_odd = |n: &u32| match n % 2 {
            1 => Size::Large,
            _ => Size::Small,
        };
        let parts = |items: &[u32]| by_size(items.to_vec(), of_odd).collect::<Vec<_>>();
        let both = [(Size::Small, vec![4, 2]), (Size::Large, vec![1, 3])];
        assert_eq!(parts(&[1, 4, 3, 2]), both);
        assert_eq!(parts(&[1]), [(Size::Large, vec![1])]);
        assert!(parts(&[]).is_empty());
    }

    #[test]
    fn a_grid_has_a_thread_or_a_workgroup_for_each() {
        assert_eq!(Size::Small.grid(64, &WIDE), [1, 1]);
        assert_eq!(Size::Small.grid(65, &WIDE), [2, 1]);
        assert_eq!(Size::Large.grid(65, &WIDE), [65, 1]);
        assert_eq!(Size::Small.grid(64 * 7, &TINY), [3, 3]);
    }

    #[test]
    fn the_shaders_workgroups_have_as_many_threads_as_the_grid_is_made_for() {
        let texts = [
            shader::summarize(),
            shader::clip_tensors(),
            shader::measure(Width::Quads, Encoding::F32),
            shader::conclude_tensors(&Lamb::default()),
        ];
        for text in texts {
            let module = naga::front::wgsl::parse_str(&text).unwrap();
            let small = module.entry_points.iter();
            let small = small.filter(|entry| entry.name.contains("small"));
            let sizes: Vec<_> = small
                .map(|entry| u64::from(entry.workgroup_size[0]))
                .collect();
            assert!(!sizes.is_empty());
            assert!(sizes.iter().all(|size| *size == SMALL_PER_WORKGROUP));
            let stride = format!("{SMALL_PER_WORKGROUP}u * (workgroup.y");
            assert_eq!(text.matches(&stride).count(), sizes.len());
        }
    }
}
