//! Optimizer steps over gradients that are there already, by both, with equal results.

mod ours;
mod peer;

use anyhow::{Result, ensure};
use burn::tensor::Device;
use wgpu_optim::Gpu;

use crate::timing::{self, Contestant};

/// Of the way that parameters go: both compute in f32, burn Adam's bias corrections too.
const TOLERANCE: f32 = 1e-4;
/// So many tensors are compared.
const COMPARED: usize = 8;

#[derive(Clone, Copy, Debug)]
pub enum Rule {
    Sgd,
    Adagrad,
    RmsProp,
    Adam,
    AdamW,
}

const LR: f64 = 1e-2;
const MOMENTUM: f64 = 0.9;
const ALPHA: f64 = 0.99;
const BETA1: f64 = 0.9;
const BETA2: f64 = 0.999;
const EPS: f64 = 1e-8;
const WEIGHT_DECAY: f64 = 1e-2;

/// So many tensors of one length, and what updates them.
pub struct Problem {
    rule: Rule,
    tensors: usize,
    length: usize,
}

/// What tensors are filled with.
#[derive(Clone, Copy)]
enum Fill {
    Params,
    FirstGradients,
    /// Others, so that a moment that does not move shows.
    Gradients,
}

impl Problem {
    /// Numbers spread evenly between -1 and 1, in no order: a Weyl sequence, which takes next to
    /// no time.
    fn values(&self, fill: Fill, tensor: usize) -> Vec<f32> {
        let first = (fill as usize * self.tensors + tensor) * self.length;
        let value = |index| (index as u32).wrapping_mul(0x9e37_79b1) as i32 as f32;
        let numbers = first..first + self.length;
        numbers
            .map(|index| value(index) / (1_u32 << 31) as f32)
            .collect()
    }
}

/// A contestant whose tensors can be seen.
trait Stepper: Contestant {
    fn set_gradients(&mut self, fill: Fill) -> Result<()>;
    fn param(&self, tensor: usize) -> Result<Vec<f32>>;
}

pub fn run(gpu: &Gpu, burn: &Device, rounds: usize) -> Result<()> {
    let problem = |rule, tensors, length| Problem {
        rule,
        tensors,
        length,
    };
    let one = 1 << 24;
    for problem in [
        problem(Rule::Sgd, 1, one),
        problem(Rule::Adagrad, 1, one),
        problem(Rule::RmsProp, 1, one),
        problem(Rule::AdamW, 1, one),
        problem(Rule::Adam, 1, one),
        problem(Rule::Adam, 1000, 16_384),
        problem(Rule::Adam, 5000, 64),
    ] {
        compare(&problem, gpu, burn, rounds)?;
    }
    Ok(())
}

fn compare(problem: &Problem, gpu: &Gpu, burn: &Device, rounds: usize) -> Result<()> {
    let (mut ours, ours_start) = timing::start(|| ours::Steps::new(problem, gpu))?;
    let (mut burn, burn_start) = timing::start(|| peer::Steps::new(problem, burn))?;
    ours.set_gradients(Fill::Gradients)?;
    burn.set_gradients(Fill::Gradients)?;
    let times = timing::interleave(rounds, 1, &mut ours, &mut burn)?;
    let Problem {
        rule,
        tensors,
        length,
    } = *problem;
    for tensor in (0..tensors).step_by(tensors.div_ceil(COMPARED)) {
        let start = problem.values(Fill::Params, tensor);
        check_equal(&start, &ours.param(tensor)?, &burn.param(tensor)?)?;
    }
    let what = format!("{rule:?}, {tensors} × {length}");
    timing::print(&what, &times, &ours_start, &burn_start);
    Ok(())
}

/// So that nobody times work that is not done.
fn check_equal(start: &[f32], ours: &[f32], burn: &[f32]) -> Result<()> {
    let largest = |a: &[f32], b: &[f32]| {
        let differences = a.iter().zip(b).map(|(a, b)| (a - b).abs());
        // `f32::max` passes over a NaN.
        let counted = differences.map(|d| if d.is_nan() { f32::INFINITY } else { d });
        counted.fold(0.0, f32::max)
    };
    ensure!(start.len() == ours.len() && start.len() == burn.len());
    let way = largest(start, burn);
    let apart = largest(ours, burn);
    ensure!(
        apart <= TOLERANCE * way,
        "ours and burn's parameters end {apart} apart after a way of {way}"
    );
    Ok(())
}
