//! What a shader of a rule is run for, and how it finds its elements.

use crate::{
    Rule,
    plan::{GradPlace, Width},
};

/// Binding of the first state slot; `shaders/` has those before it.
pub(crate) const FIRST_STATE_BINDING: u32 = 5;

/// How an update finds its elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Access {
    /// In this crate's own arenas.
    Arena,
    /// In arenas, by a grid of several rows.
    FoldedArena,
    /// In a caller's ranges.
    Ranges(Width, GradPlace),
}

impl Access {
    /// Every one there is.
    #[cfg(test)]
    pub const ALL: [Self; 8] = [
        Self::Arena,
        Self::FoldedArena,
        Self::Ranges(Width::Quads, GradPlace::OwnBuffer),
        Self::Ranges(Width::Quads, GradPlace::SameBuffer),
        Self::Ranges(Width::Quads, GradPlace::InParams),
        Self::Ranges(Width::Scalars, GradPlace::OwnBuffer),
        Self::Ranges(Width::Scalars, GradPlace::SameBuffer),
        Self::Ranges(Width::Scalars, GradPlace::InParams),
    ];

    pub fn width(self) -> Width {
        match self {
            Self::Arena | Self::FoldedArena => Width::Quads,
            Self::Ranges(width, _) => width,
        }
    }

    pub fn grad_place(self) -> GradPlace {
        match self {
            Self::Arena | Self::FoldedArena => GradPlace::OwnBuffer,
            Self::Ranges(_, place) => place,
        }
    }
}

/// What an update shader is run for; each is an entry point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Pass {
    /// One step.
    Update,
    /// Parameters to evaluate with in the place of those to train with.
    Evaluate,
    /// And back.
    Train,
    /// What [`Sum`](crate::Sum) sums up.
    Measure,
    /// What [`Lines`](crate::Lines) averages.
    Lines,
    /// What a [`MatrixStage`](crate::MatrixStage) begins with.
    Prepare,
}

impl Pass {
    /// The slots of elements and tensors that the pass looks at and leaves as they are; None if it
    /// changes all that are in use.
    pub fn reads(self, rule: &dyn Rule) -> Option<&'static [&'static str]> {
        let stages = rule.stages();
        match self {
            Self::Update => stages.matrix.map(|matrix| matrix.reads),
            Self::Measure => Some(stages.sum.map_or(&[], |sum| sum.reads)),
            Self::Prepare => None,
            Self::Evaluate | Self::Train | Self::Lines => Some(&[]),
        }
    }

    pub fn entry_point(self) -> &'static str {
        match self {
            Self::Update => "main",
            Self::Evaluate => "evaluate",
            Self::Train => "train",
            Self::Measure => "measure_tensors",
            Self::Lines => "measure_lines",
            Self::Prepare => "prepare_matrices",
        }
    }
}
