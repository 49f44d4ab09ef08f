//! What rules are written with.

pub(super) use crate::rule::Bound;
pub(super) use crate::{
    Error, Extent, Lines, MatrixStage, MatrixWork, Over, Rule, Stages, Sum,
    cpu::{Block, Real, Shape, Step, Sums, Twin, ema, pull},
    hyperparameter::{Choice, Interval, choice},
    rule,
    rules::{
        bias_correction, decay_terms,
        direction::{Direction, direction},
        root,
    },
};
