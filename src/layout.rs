//! Which tensors exist, which parameter group each is in, and where each lies.

use std::{
    collections::HashMap,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::{
    Error, Formats, Rule,
    format::{Encoding, Storage, pcg},
    rule::{check_lr, check_stages},
};

/// Each tensor starts at a multiple of this many elements, which is 256 bytes, or of twice as many if its
/// parameters or gradients have 16 bits. So every device can bind a tensor alone.
pub const TENSOR_ALIGNMENT: usize = 64;

/// Each group starts and ends at a multiple of this many elements. One workgroup works on so many,
/// so a step needs no bounds check.
pub const GROUP_ALIGNMENT: usize = 1024;

/// Handle of a parameter group of a [`Layout`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Group(pub(crate) usize, HandleId);

/// Handle of a tensor of a [`Layout`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tensor(pub(crate) usize, HandleId);

/// Distinguishes the group or tensor of a handle from all others. Clones of a layout share those that
/// it had; what is added to a clone later is its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct HandleId(u64);

impl HandleId {
    fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

#[derive(Debug, Clone)]
pub(crate) struct TensorEntry {
    pub name: String,
    pub shape: Vec<usize>,
    pub group: Group,
    pub element_count: usize,
    id: HandleId,
}

/// Tensors by name and shape, in parameter groups that each have a rule. A layout is plain data.
/// The GPU [`Optimizer`](crate::Optimizer) and its [CPU twin](crate::cpu::Optimizer) are both made
/// from one.
///
/// ```
/// use wgpu_optim::{Layout, rules::AdamW};
///
/// let mut layout = Layout::new();
/// let body = layout.group(AdamW { weight_decay: 0.1, ..Default::default() })?;
/// let norms = layout.group(AdamW { weight_decay: 0.0, ..Default::default() })?;
/// let weight = layout.tensor(body, "fc1.weight", &[128, 784])?;
/// let scale = layout.tensor(norms, "norm1.scale", &[128])?;
/// assert_eq!(layout.find("fc1.weight"), Some(weight));
/// assert_eq!(layout.element_count(scale)?, 128);
/// # Ok::<(), wgpu_optim::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Layout {
    pub(crate) groups: Vec<Arc<dyn Rule>>,
    /// By group.
    ids: Vec<HandleId>,
    hyperparameters: Vec<Vec<(&'static str, String)>>,
    /// By group.
    pub(crate) formats: Vec<Formats>,
    pub(crate) tensors: Vec<TensorEntry>,
    names: HashMap<String, Tensor>,
    /// An upper bound on the elements of the groups and tensors so far, padding included.
    padded_count: usize,
}

/// Most elements of a layout, padding included. The byte size of a few arenas then fits a `usize`. In a
/// browser that of one arena of f32 does: the device counts bytes in 64 bits, and the twin says if it finds
/// no memory.
const MOST_ELEMENTS: usize = match usize::BITS {
    ..=32 => isize::MAX as usize / 4,
    _ => isize::MAX as usize / 64,
};

impl Layout {
    /// A layout without groups or tensors.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a parameter group that `rule` updates.
    ///
    /// # Errors
    /// [`Error::Hyperparameter`] gives the field that is out of range, its value and the range.
    /// [`Error::Rule`] says what is wrong with the declaration of a user's rule.
    pub fn group(&mut self, rule: impl Into<Box<dyn Rule>>) -> Result<Group, Error> {
        self.group_in(rule, Formats::default())
    }

    /// [`group`](Self::group), stored in these formats. The f32 [twin](crate::cpu::Optimizer) rounds after each
    /// step as the GPU does; the f64 twin, which is the truth, does not.
    ///
    /// # Errors
    /// As [`group`](Self::group). [`Error::Format`] for a format that cannot be had there.
    pub fn group_in(
        &mut self,
        rule: impl Into<Box<dyn Rule>>,
        formats: Formats,
    ) -> Result<Group, Error> {
        formats.check()?;
        let mut rule = rule.into();
        rule.validate()?;
        check_lr(&*rule, rule.lr())?;
        check_stages(&*rule)?;
        let fields = rule.hyperparameters();
        let values = fields.iter().map(|field| (field.name, field.value()));
        self.hyperparameters.push(values.collect());
        self.groups.push(Arc::from(rule));
        self.formats.push(formats);
        self.padded_count = self.padded_count.saturating_add(GROUP_ALIGNMENT);
        let id = HandleId::new();
        self.ids.push(id);
        Ok(Group(self.groups.len() - 1, id))
    }

    /// Adds a tensor to `group`. `&[]` is the shape of a scalar.
    ///
    /// # Errors
    /// [`Error::DuplicateName`]; [`Error::Shape`] for a dimension of zero, or a shape that the
    /// group's rule does not take; [`Error::UnknownHandle`] for another layout's group.
    pub fn tensor(&mut self, group: Group, name: &str, shape: &[usize]) -> Result<Tensor, Error> {
        self.check_group(group)?;
        let shape_error = |reason| Error::Shape {
            name: name.to_owned(),
            shape: shape.to_vec(),
            reason,
        };
        if shape.contains(&0) {
            return Err(shape_error("a dimension is zero, so there is no element"));
        }
        let (element_count, padded_count) = shape
            .iter()
            .try_fold(1usize, |count, &dimension| count.checked_mul(dimension))
            .filter(|&count| count <= MOST_ELEMENTS)
            .map(|count| {
                let padded = count.next_multiple_of(self.alignment(group));
                (count, self.padded_count.saturating_add(padded))
            })
            .filter(|&(_, padded_count)| padded_count <= MOST_ELEMENTS)
            .ok_or_else(|| {
                shape_error("with it, the layout has more elements than this machine can address")
            })?;
        if let Some(reason) = self.groups[group.0].refuses(shape) {
            return Err(shape_error(reason));
        }
        if self.names.contains_key(name) {
            return Err(Error::DuplicateName {
                name: name.to_owned(),
            });
        }
        let id = HandleId::new();
        let tensor = Tensor(self.tensors.len(), id);
        self.padded_count = padded_count;
        self.names.insert(name.to_owned(), tensor);
        self.tensors.push(TensorEntry {
            name: name.to_owned(),
            shape: shape.to_vec(),
            group,
            element_count,
            id,
        });
        Ok(tensor)
    }

    /// The tensor with that name.
    pub fn find(&self, name: &str) -> Option<Tensor> {
        self.names.get(name).copied()
    }

    /// All groups, in the order in which they were added.
    pub fn groups(&self) -> impl ExactSizeIterator<Item = Group> + use<> {
        let ids = self.ids.clone().into_iter().enumerate();
        ids.map(|(index, id)| Group(index, id))
    }

    /// All tensors, in the order in which they were added.
    pub fn tensors(&self) -> impl ExactSizeIterator<Item = Tensor> + use<> {
        let ids: Vec<_> = self.tensors.iter().map(|tensor| tensor.id).collect();
        let ids = ids.into_iter().enumerate();
        ids.map(|(index, id)| Tensor(index, id))
    }

    /// The rule of `group`.
    ///
    /// # Errors
    /// [`Error::UnknownHandle`] for another layout's group or tensor, here and in the other
    /// functions that take a handle.
    pub fn rule(&self, group: Group) -> Result<&dyn Rule, Error> {
        self.check_group(group)?;
        Ok(&*self.groups[group.0])
    }

    /// How `group` is stored.
    pub fn formats(&self, group: Group) -> Result<Formats, Error> {
        self.check_group(group)?;
        Ok(self.formats[group.0])
    }

    /// The hyperparameters of `group`'s rule by name, each as text that [`Rule::set`] can parse.
    pub fn hyperparameters(&self, group: Group) -> Result<&[(&'static str, String)], Error> {
        self.check_group(group)?;
        Ok(&self.hyperparameters[group.0])
    }

    /// The name that `tensor` was registered under.
    pub fn name(&self, tensor: Tensor) -> Result<&str, Error> {
        Ok(&self.entry(tensor)?.name)
    }

    /// The shape that `tensor` was registered with.
    pub fn shape(&self, tensor: Tensor) -> Result<&[usize], Error> {
        Ok(&self.entry(tensor)?.shape)
    }

    /// The parameter group of `tensor`.
    pub fn group_of(&self, tensor: Tensor) -> Result<Group, Error> {
        Ok(self.entry(tensor)?.group)
    }

    /// Number of elements of `tensor`.
    pub fn element_count(&self, tensor: Tensor) -> Result<usize, Error> {
        Ok(self.entry(tensor)?.element_count)
    }

    /// Number of elements of all tensors, padding not counted.
    pub fn parameter_count(&self) -> usize {
        self.tensors.iter().map(|t| t.element_count).sum()
    }

    /// How all of `group` is stored.
    pub(crate) fn storage(&self, group: Group) -> Storage {
        self.formats[group.0].into()
    }

    /// Each tensor of `group` starts at a multiple of this many elements.
    fn alignment(&self, group: Group) -> usize {
        let Storage {
            params,
            grads,
            beside,
            ..
        } = self.storage(group);
        let units =
            [params, grads, beside.unwrap_or(params)].map(|encoding| encoding.unit() as usize);
        units.into_iter().fold(TENSOR_ALIGNMENT, usize::max)
    }

    /// The first byte of each group in an arena of all groups, and the end of the last.
    pub(crate) fn arena_starts(
        &self,
        arena: &Arena,
        encoding: impl Fn(&Storage) -> Encoding,
    ) -> Vec<u64> {
        let sizes = self.groups().zip(&arena.groups);
        let sizes = sizes
            .map(|(group, elements)| encoding(&self.storage(group)).bytes(elements.len() as u64));
        let mut starts = vec![0];
        let mut end = 0;
        for size in sizes {
            end += size;
            starts.push(end);
        }
        starts
    }

    /// What the random bits of rounding begin from in `group`.
    pub(crate) fn seed(&self, group: Group) -> u32 {
        pcg(self.formats[group.0].seed.wrapping_add(group.0 as u32))
    }

    pub(crate) fn check_group(&self, group: Group) -> Result<(), Error> {
        if self.ids.get(group.0) == Some(&group.1) {
            return Ok(());
        }
        Err(Error::UnknownHandle {
            handle: format!("group {}", group.0),
            count: self.groups.len(),
        })
    }

    pub(crate) fn entry(&self, tensor: Tensor) -> Result<&TensorEntry, Error> {
        let own = self.tensors.get(tensor.0);
        own.filter(|own| tensor.1 == own.id)
            .ok_or_else(|| Error::UnknownHandle {
                handle: format!("tensor {}", tensor.0),
                count: self.tensors.len(),
            })
    }

    /// Where everything lies once all tensors are known.
    pub(crate) fn arena(&self) -> Arena {
        let mut groups = Vec::with_capacity(self.groups.len());
        let mut tensors = vec![0; self.tensors.len()];
        let mut in_group = tensors.clone();
        let mut end = 0usize;
        // This sorts the tensors by group in one pass, whatever order they were added in.
        let mut members = vec![Vec::new(); self.groups.len()];
        for (index, tensor) in self.tensors.iter().enumerate() {
            members[tensor.group.0].push(index);
        }
        for members in members {
            let start = end;
            for (position, index) in members.into_iter().enumerate() {
                tensors[index] = end;
                in_group[index] = position;
                let alignment = self.alignment(self.tensors[index].group);
                let count = self.tensors[index].element_count;
                end += count.next_multiple_of(alignment);
            }
            end = end.next_multiple_of(GROUP_ALIGNMENT);
            groups.push(start..end);
        }
        Arena {
            groups,
            tensors,
            in_group,
        }
    }
}

impl Layout {
    /// The elements of each tensor of `group`, counted from the group's start.
    pub(crate) fn tensors_in<'a>(
        &'a self,
        arena: &'a Arena,
        group: Group,
    ) -> impl Iterator<Item = Range<usize>> + 'a {
        let start = arena.groups[group.0].start;
        let members = self.tensors.iter().zip(&arena.tensors);
        members
            .filter(move |(tensor, _)| tensor.group == group)
            .map(move |(tensor, position)| {
                position - start..position - start + tensor.element_count
            })
    }
}

/// Element positions of a layout's groups and tensors in one contiguous arena.
#[derive(Debug, Clone)]
pub(crate) struct Arena {
    /// Elements of each group, padding included.
    pub groups: Vec<Range<usize>>,
    /// First element of each tensor.
    pub tensors: Vec<usize>,
    /// Position of each tensor among those of its group.
    pub in_group: Vec<usize>,
}

impl Arena {
    /// Elements of the whole arena, padding included.
    pub fn element_count(&self) -> usize {
        self.groups.last().map_or(0, |group| group.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::AdamW;

    #[test]
    fn groups_are_contiguous_and_everything_is_aligned() {
        let mut layout = Layout::new();
        let a = layout.group(AdamW::default()).unwrap();
        let b = layout.group(AdamW::default()).unwrap();
        let sizes = [1, 3, 64, 65, 1023, 1024, 1025];
        for (index, &size) in sizes.iter().enumerate() {
            let group = if index % 2 == 0 { a } else { b };
            layout.tensor(group, &format!("t{index}"), &[size]).unwrap();
        }
        let arena = layout.arena();
        let mut taken: Vec<(usize, usize)> = Vec::new();
        for tensor in layout.tensors() {
            let start = arena.tensors[tensor.0];
            let end = start + layout.element_count(tensor).unwrap();
            let group = &arena.groups[layout.group_of(tensor).unwrap().0];
            assert!(group.start <= start && end <= group.end);
            assert_eq!(start % TENSOR_ALIGNMENT, 0);
            taken.push((start, end));
        }
        taken.sort_unstable();
        assert!(taken.windows(2).all(|pair| pair[0].1 <= pair[1].0));
        for group in &arena.groups {
            assert_eq!(group.start % GROUP_ALIGNMENT, 0);
            assert_eq!(group.end % GROUP_ALIGNMENT, 0);
        }
        assert_eq!(arena.element_count(), arena.groups[1].end);
    }

    #[test]
    fn handles_of_a_clone_that_went_its_own_way_are_refused() {
        let mut layout = Layout::new();
        let group = layout.group(AdamW::default()).unwrap();
        let shared = layout.tensor(group, "shared", &[2]).unwrap();
        let mut clone = layout.clone();
        let here = layout.tensor(group, "here", &[3]).unwrap();
        let there = clone.tensor(group, "there", &[4]).unwrap();
        let other_group = clone.group(AdamW::default()).unwrap();
        assert_eq!(clone.name(shared), Ok("shared"));
        assert_eq!(layout.tensors().collect::<Vec<_>>(), [shared, here]);
        let refused =
            |result: Result<&str, Error>| matches!(result, Err(Error::UnknownHandle { .. }));
        assert!(refused(layout.name(there)) && refused(clone.name(here)));
        layout.group(AdamW::default()).unwrap();
        assert!(matches!(
            layout.rule(other_group),
            Err(Error::UnknownHandle { .. })
        ));
    }

    #[test]
    fn bad_tensors_are_refused_by_name() {
        let mut layout = Layout::new();
        let group = layout.group(AdamW::default()).unwrap();
        layout.tensor(group, "w", &[2]).unwrap();
        let duplicate = layout.tensor(group, "w", &[3]).unwrap_err();
        assert_eq!(duplicate, Error::DuplicateName { name: "w".into() });
        let empty = layout.tensor(group, "empty", &[3, 0]).unwrap_err();
        assert!(
            empty.to_string().contains("\"empty\" of shape [3, 0]"),
            "{empty}"
        );
        let huge = layout.tensor(group, "huge", &[usize::MAX, 2]).unwrap_err();
        assert!(matches!(huge, Error::Shape { .. }));
        let filling = layout.tensor(group, "filling", &[MOST_ELEMENTS - 2048]);
        filling.unwrap();
        let last = layout.tensor(group, "last", &[4096]).unwrap_err();
        assert!(matches!(last, Error::Shape { .. }));
        assert!(layout.arena().element_count() <= MOST_ELEMENTS);
        let stranger = layout
            .tensor(Group(7, HandleId::new()), "x", &[1])
            .unwrap_err();
        assert!(matches!(stranger, Error::UnknownHandle { .. }));
        assert_eq!(
            layout.tensors().len(),
            2,
            "a refused tensor leaves no trace"
        );
        let scalar = layout.tensor(group, "scalar", &[]).unwrap();
        assert_eq!(layout.element_count(scalar), Ok(1));
    }
}
