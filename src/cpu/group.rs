//! The state of one parameter group.

use std::{ops::Range, sync::Arc};

use super::{
    arena::{Values, zeros},
    lines::LineState,
};
use crate::{
    Error, Group, Layout, Options, Rule, Slot,
    layout::Arena,
    progress::{Past, Progress, Skips},
    rule::{Real, Step},
    shape::Matrices,
};

#[derive(Debug, Clone)]
pub(super) struct GroupState<T> {
    pub rule: Arc<dyn Rule>,
    pub progress: Progress,
    pub skips: Skips,
    /// What the group kept once before its last steps.
    pub past: Past,
    pub slots: Vec<Slot>,
    /// One arena per element slot, indexed from the group's start. It is empty if the slot is not
    /// in use.
    pub state: Vec<Values<T>>,
    pub tensors: Vec<TensorState<T>>,
    /// How the systems of equations went.
    pub solved: Tally,
}

/// How the systems of equations went; see [`GroupStats`].
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tally {
    pub damping: f64,
    pub failures: u64,
    pub unsolved: u64,
}

/// The state of one tensor of a group.
#[derive(Debug, Clone)]
pub(super) struct TensorState<T> {
    /// Counted from the group's start.
    pub elements: Range<usize>,
    pub matrices: Matrices,
    /// One value per tensor slot.
    pub values: Vec<T>,
    /// The slot of pairs of elements.
    pub pairs: Vec<T>,
    /// The slots of rows and columns.
    pub lines: Option<LineState<T>>,
}

/// Elements of a group that are stepped alike: one tensor, or the whole group.
#[derive(Debug, Clone)]
pub(super) struct StepPart<T> {
    /// Counted from the group's start.
    pub elements: Range<usize>,
    pub now: Step<T>,
    /// Index among the group's tensors.
    pub tensor: Option<usize>,
}

impl<T: Real> GroupState<T> {
    /// Creates the state, with the values that the group's rule starts from.
    pub fn new(
        layout: &Layout,
        arena: &Arena,
        options: &Options,
        group: Group,
    ) -> Result<Self, Error> {
        let rule = &layout.groups[group.0];
        let slots = options.element_slots(&**rule);
        let mut state = Vec::new();
        for slot in &slots {
            let count = if slot.used {
                arena.groups[group.0].len()
            } else {
                0
            };
            // Parameters and gradients are arrays 0 and 1.
            let mut values = Values::zeros(count, 2 + state.len(), slot.name)?;
            // Padding must stay zero, so it starts at zero even if the tensors start at another
            // value.
            for tensor in layout.tensors_in(arena, group).filter(|_| slot.used) {
                values[tensor].fill(T::from_f64(slot.start));
            }
            state.push(values);
        }
        let of_tensor = rule.tensor_slots();
        let keeps_lines = rule.stages().lines.is_some();
        let pair = rule.pair_slot();
        let mut tensors = Vec::new();
        let members = layout.tensors.iter().filter(|tensor| tensor.group == group);
        for (tensor, elements) in members.zip(layout.tensors_in(arena, group)) {
            let matrices = Matrices::of(&tensor.shape);
            let start = |slot: &Slot| if slot.used { slot.start } else { 0.0 };
            let values = of_tensor.iter().map(start).map(T::from_f64);
            let pairs = match pair {
                Some(pair) => zeros(pair.extent.count(&tensor.shape), pair.name)?,
                None => Vec::new(),
            };
            let lines = keeps_lines.then(|| LineState::new(matrices));
            tensors.push(TensorState {
                elements,
                values: values.collect(),
                pairs,
                lines: lines.transpose()?,
                matrices,
            });
        }
        Ok(Self {
            tensors,
            solved: Tally::default(),
            progress: Progress::new(&**rule),
            skips: Skips::default(),
            past: Past::default(),
            slots,
            state,
            rule: rule.clone(),
        })
    }
}
