//! The state of one parameter group.

use std::{ops::Range, sync::Arc};

use rayon::prelude::*;

use super::{
    arena::{CHUNK, Values, zeros},
    coded::Coded,
    lines::LineState,
};
use crate::{
    Error, Group, Layout, Options, Rule, Slot,
    format::{Encoding, Noise, Rounding},
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
    /// How each of them is stored.
    pub encodings: Vec<Encoding>,
    /// One arena per element slot, indexed from the group's start. It is empty if the slot is not
    /// in use, or is coded.
    pub state: Vec<Values<T>>,
    /// The same of those in fewer bits.
    pub coded: Vec<Option<Coded>>,
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
        let storage = layout.storage(group);
        let encoding_of = |slot| rule.stages().encoding_of(slot, &storage);
        let encodings: Vec<_> = slots.iter().map(encoding_of).collect();
        let mut state = Vec::new();
        let mut coded = Vec::new();
        for (slot, encoding) in slots.iter().zip(&encodings) {
            let count = match slot.used {
                true => arena.groups[group.0].len(),
                false => 0,
            };
            // Numbers of f64 are the reference, and stay as they are.
            let is_coded = slot.used && encoding.rounds() && size_of::<T>() == size_of::<f32>();
            // Parameters and gradients are arrays 0 and 1.
            let plain = if is_coded { 0 } else { count };
            let mut values = Values::zeros(plain, 2 + state.len(), slot.name)?;
            let in_bytes = is_coded.then(|| Coded::zeros(*encoding, count, slot.name));
            let mut in_bytes = in_bytes.transpose()?;
            // Padding must stay zero, so it starts at zero even if the tensors start at another
            // value.
            let start = T::from_f64(slot.start);
            let is_filled = slot.used && start != T::zero();
            for tensor in layout.tensors_in(arena, group).filter(|_| is_filled) {
                match &mut in_bytes {
                    Some(coded) => coded.write_all(tensor, start),
                    None => values[tensor].fill(start),
                }
            }
            state.push(values);
            coded.push(in_bytes);
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
            encodings,
            state,
            coded,
            rule: rule.clone(),
        })
    }
}

/// Rounds all values of a group. Numbers of f64 are the reference, and stay as they are.
pub(super) fn round<T: Real>(encoding: Encoding, values: &mut [T], noise: Noise) {
    if !encoding.rounds() || size_of::<T>() != size_of::<f32>() {
        return;
    }
    let chunks = values.par_chunks_mut(CHUNK).enumerate();
    chunks.for_each(|(chunk, values)| {
        if let Ok(values) = bytemuck::try_cast_slice_mut(values) {
            let first = (chunk * CHUNK) as u64;
            encoding.round(values, first, Rounding::Stochastic(noise));
        }
    });
}

/// Swaps the parameters of a group with their average, to evaluate or to go back. Numbers of f64 are not
/// rounded.
pub(super) fn swap<T: Real>(
    encoding: Encoding,
    params: &mut [T],
    averages: &mut [T],
    to_evaluate: bool,
) {
    if encoding == Encoding::F32 || size_of::<T>() != size_of::<f32>() {
        return params.swap_with_slice(averages);
    }
    let chunks = params
        .par_chunks_mut(CHUNK)
        .zip(averages.par_chunks_mut(CHUNK));
    chunks.for_each(|(params, averages)| {
        let both = [params, averages].map(bytemuck::try_cast_slice_mut);
        if let [Ok(params), Ok(averages)] = both {
            match to_evaluate {
                true => encoding.swap_in(params, averages),
                false => encoding.swap_back(params, averages),
            }
        }
    });
}
