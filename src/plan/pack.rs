//! Packs neighbours into as few bindings as the limits allow.

use std::{collections::HashMap, hash::Hash, ops::Range};

/// The smallest range that holds both.
pub(crate) fn join(a: &Range<u64>, b: &Range<u64>) -> Range<u64> {
    a.start.min(b.start)..a.end.max(b.end)
}

pub(crate) fn length(range: &Range<u64>) -> u64 {
    range.end - range.start
}

/// Neighbours that are bound together.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pack<T, B> {
    pub items: Vec<T>,
    /// What is bound for all of them.
    pub bound: B,
}

/// Packs `items` in their order. Each item joins the ones before it as long as the binding for all
/// of them `fits`. `alone` gives the binding of one item, and `join` that of two. `fits` also gets
/// the number of items. An item that does not fit is packed alone.
pub(crate) fn pack<T, B>(
    items: impl IntoIterator<Item = T>,
    alone: impl Fn(&T) -> B,
    join: impl Fn(&B, &B) -> B,
    fits: impl Fn(&B, u64) -> bool,
) -> Vec<Pack<T, B>> {
    let mut packs: Vec<Pack<T, B>> = Vec::new();
    for item in items {
        let bound = alone(&item);
        if let Some(pack) = packs.last_mut() {
            let joined = join(&pack.bound, &bound);
            if fits(&joined, pack.items.len() as u64 + 1) {
                pack.items.push(item);
                pack.bound = joined;
                continue;
            }
        }
        packs.push(Pack {
            items: vec![item],
            bound,
        });
    }
    packs
}

/// Groups items by key. Items with the same key can share a binding. Keys and items keep their
/// order of appearance.
pub(crate) fn grouped<K: Copy + Eq + Hash, T>(
    items: impl IntoIterator<Item = (K, T)>,
) -> Vec<(K, Vec<T>)> {
    let mut groups: Vec<(K, Vec<T>)> = Vec::new();
    let mut positions = HashMap::new();
    for (key, item) in items {
        let position = *positions.entry(key).or_insert(groups.len());
        match groups.get_mut(position) {
            Some((_, items)) => items.push(item),
            None => groups.push((key, vec![item])),
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Packs of at most 10 bytes and 3 items.
    fn packed(ranges: &[Range<u64>]) -> Vec<usize> {
        let packs = pack(
            ranges.iter().cloned(),
            Clone::clone,
            join,
            |bytes, count| length(bytes) <= 10 && count <= 3,
        );
        let all = packs.iter().flat_map(|pack| &pack.items);
        assert!(all.eq(ranges), "not every item once and in order");
        for pack in &packs {
            let mut items = pack.items.iter().cloned();
            let first = items.next().unwrap();
            assert_eq!(pack.bound, items.fold(first, |a, b| join(&a, &b)));
        }
        packs.iter().map(|pack| pack.items.len()).collect()
    }

    #[test]
    fn items_share_a_pack_until_one_more_would_not_fit() {
        assert_eq!(packed(&[]), [0; 0]);
        assert_eq!(packed(&[0..4, 4..8, 8..12, 12..13]), [2, 2]);
        assert_eq!(packed(&[0..1, 1..2, 2..3, 3..4]), [3, 1]);
        assert_eq!(packed(&[0..4, 100..104, 2..4]), [1, 1, 1]);
    }

    #[test]
    fn groups_keep_the_order_of_appearance() {
        let groups = grouped([('b', 1), ('a', 2), ('b', 3), ('c', 4), ('a', 5)]);
        assert_eq!(
            groups,
            [('b', vec![1, 3]), ('a', vec![2, 5]), ('c', vec![4])]
        );
    }

    #[test]
    fn an_item_that_does_not_fit_is_alone() {
        assert_eq!(packed(&[0..1, 0..20, 19..21]), [1, 1, 1]);
    }
}
