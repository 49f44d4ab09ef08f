//! The passes of a rule's shaders, and how they find their elements.

use crate::{
    Rule,
    plan::{GradPlace, Width},
};

/// Binding of the first state slot. The files in `shaders/` use the bindings before it.
pub(crate) const FIRST_STATE_BINDING: u32 = 5;

/// How an update finds its elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Access {
    /// In this crate's own arenas.
    Arena,
    /// In this crate's own arenas, with a grid of several rows.
    FoldedArena,
    /// In one span of a caller's ranges.
    Range(Width, GradPlace),
    /// In many spans of a caller's ranges.
    Ranges(Width, GradPlace),
    /// In a caller's ranges, and copies of the parameters in such ranges too.
    RangesAndCopies(Width, GradPlace),
    /// By tiles of matrices, in ranges.
    Tiles(GradPlace),
}

impl Access {
    /// All without copies in ranges and without tiles.
    #[cfg(test)]
    pub const ALL: [Self; 14] = [
        Self::Arena,
        Self::FoldedArena,
        Self::Range(Width::Quads, GradPlace::OwnBuffer),
        Self::Range(Width::Quads, GradPlace::SameBuffer),
        Self::Range(Width::Quads, GradPlace::InParams),
        Self::Range(Width::Scalars, GradPlace::OwnBuffer),
        Self::Range(Width::Scalars, GradPlace::SameBuffer),
        Self::Range(Width::Scalars, GradPlace::InParams),
        Self::Ranges(Width::Quads, GradPlace::OwnBuffer),
        Self::Ranges(Width::Quads, GradPlace::SameBuffer),
        Self::Ranges(Width::Quads, GradPlace::InParams),
        Self::Ranges(Width::Scalars, GradPlace::OwnBuffer),
        Self::Ranges(Width::Scalars, GradPlace::SameBuffer),
        Self::Ranges(Width::Scalars, GradPlace::InParams),
    ];

    /// All with copies in ranges.
    #[cfg(test)]
    pub const WITH_COPIES: [Self; 6] = [
        Self::RangesAndCopies(Width::Quads, GradPlace::OwnBuffer),
        Self::RangesAndCopies(Width::Quads, GradPlace::SameBuffer),
        Self::RangesAndCopies(Width::Quads, GradPlace::InParams),
        Self::RangesAndCopies(Width::Scalars, GradPlace::OwnBuffer),
        Self::RangesAndCopies(Width::Scalars, GradPlace::SameBuffer),
        Self::RangesAndCopies(Width::Scalars, GradPlace::InParams),
    ];

    /// All by tiles.
    #[cfg(test)]
    pub const BY_TILES: [Self; 3] = [
        Self::Tiles(GradPlace::OwnBuffer),
        Self::Tiles(GradPlace::SameBuffer),
        Self::Tiles(GradPlace::InParams),
    ];

    pub fn width(self) -> Width {
        match self {
            Self::Arena | Self::FoldedArena | Self::Tiles(_) => Width::Quads,
            Self::Range(width, _) | Self::Ranges(width, _) | Self::RangesAndCopies(width, _) => {
                width
            }
        }
    }

    pub fn grad_place(self) -> GradPlace {
        match self {
            Self::Arena | Self::FoldedArena => GradPlace::OwnBuffer,
            Self::Range(_, place)
            | Self::Ranges(_, place)
            | Self::RangesAndCopies(_, place)
            | Self::Tiles(place) => place,
        }
    }

    pub fn is_in_tiles(self) -> bool {
        matches!(self, Self::Tiles(_))
    }
}

/// What a shader of a rule runs for. Each has its own entry point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Pass {
    /// One step.
    Update,
    /// One step of a group that is one workgroup, and its numbers.
    Step,
    /// The change to the parameters to evaluate with.
    Evaluate,
    /// The change back to the parameters to train with.
    Train,
    /// The copy of parameters that did not come from a step.
    Copy,
    /// What a [`Sum`](crate::Sum) adds up.
    Measure,
    /// What [`Lines`](crate::Lines) average.
    Lines,
    /// The first half of a [`MatrixStage`](crate::MatrixStage), which fills the matrices.
    Prepare,
}

impl Pass {
    /// The slots of elements and tensors that the pass reads and does not change. `None` if it
    /// changes all slots in use.
    pub fn reads(self, rule: &dyn Rule) -> Option<&'static [&'static str]> {
        let stages = rule.stages();
        match self {
            Self::Update | Self::Step => stages.matrix.map(|matrix| matrix.reads),
            Self::Measure => Some(stages.sum.map_or(&[], |sum| sum.reads)),
            Self::Prepare => None,
            Self::Evaluate | Self::Train | Self::Copy | Self::Lines => Some(&[]),
        }
    }

    /// Whether the pass changes parameters.
    pub fn stores_params(self) -> bool {
        matches!(
            self,
            Self::Update | Self::Step | Self::Evaluate | Self::Train
        )
    }

    pub fn entry_point(self) -> &'static str {
        match self {
            Self::Update | Self::Step => "main",
            Self::Evaluate => "evaluate",
            Self::Train => "train",
            Self::Copy => "copy_params",
            // Of large spans; small ones have `measure_small`.
            Self::Measure => "measure_large",
            Self::Lines => "measure_lines",
            Self::Prepare => "prepare_matrices",
        }
    }
}
