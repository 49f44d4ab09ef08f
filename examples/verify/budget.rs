//! What a GPU's error may be.

use wgpu_optim::Options;
use wgpu_optim::{
    Error, Rule, cpu,
    wgpu::{AdapterInfo, DeviceType},
};

use crate::accuracy::Truth;
use crate::problem::Problem;

/// What arithmetic a device is held to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allowance {
    /// A CPU's: every operation rounds correctly, as in the f32 twin.
    Exact,
    /// What WGSL allows: divisions and roots may be off by a few ulp.
    Wgsl,
}

/// The f32 twin's own error. Its rounding stays far below, another formula would not.
pub const TWIN_BUDGET: f64 = 1e-2;

/// Of a million elements of a sign-based rule, so many may go the other way.
pub const TURNED_PER_MILLION: usize = 100;

/// Ulp that WGSL allows a division.
const DIVISION: f64 = 2.5;
/// Ulp that WGSL allows a root: it inherits from `1 / inverseSqrt(x)`, of 2 ulp and a division.
const ROOT: f64 = 4.5;

impl Allowance {
    pub fn of(info: &AdapterInfo) -> Self {
        match info.device_type {
            DeviceType::Cpu => Self::Exact,
            _ => Self::Wgsl,
        }
    }

    /// The budget and its reason.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Exact => {
                "2 × the f32 twin's + 2 ulp, since a software driver rounds as a CPU does;\n\
                 the column says how much of it is used"
            }
            Self::Wgsl => {
                "2 × the f32 twin's + 2 ulp + what WGSL allows a GPU: a division may be off\n\
                 by 2.5 ulp and a root by 4.5, so that each step's change is right to\n\
                 (2.5 × divisions + 4.5 × roots) × 2⁻²³ of itself, and all of them to as much of\n\
                 the longest way of any parameter; the column says how much of it is used"
            }
        }
    }

    /// The largest distance from `truth` that `rule` may end up at on a device, where the f32
    /// twin's is `twin`.
    pub fn budget(
        self,
        problem: &Problem,
        options: &Options,
        rule: &dyn Rule,
        truth: &Truth,
        twin: f64,
    ) -> Result<f64, Error> {
        Ok(2.0 * twin + self.beyond_a_twin(problem, options, rule, truth)?)
    }

    /// What a device's rounding may add to a part of the f32 twin's error.
    pub fn beyond_a_twin(
        self,
        problem: &Problem,
        options: &Options,
        rule: &dyn Rule,
        truth: &Truth,
    ) -> Result<f64, Error> {
        let as_on_a_cpu = 2.0 * truth.ulp();
        Ok(match self {
            Self::Exact => as_on_a_cpu,
            Self::Wgsl => as_on_a_cpu + per_change(rule.wgsl()) * longest_way(problem, options)?,
        })
    }
}

/// The relative error of a step's change by the operations that need not round correctly.
fn per_change(wgsl: &str) -> f64 {
    let code: String = wgsl
        .lines()
        .filter_map(|line| line.split("//").next())
        .collect();
    let divisions = code.matches('/').count() as f64;
    let roots = code.matches("sqrt(").count() as f64;
    (DIVISION * divisions + ROOT * roots) * f64::from(f32::EPSILON)
}

/// The longest way of any parameter over all steps, in f64.
fn longest_way(problem: &Problem, options: &Options) -> Result<f64, Error> {
    let widen = |values: &Vec<f32>| values.iter().map(|v| f64::from(*v)).collect();
    let mut before: Vec<Vec<f64>> = problem.params.iter().map(widen).collect();
    let mut ways: Vec<Vec<f64>> = before
        .iter()
        .map(|values| vec![0.0; values.len()])
        .collect();
    let mut twin = cpu::Optimizer::<f64>::with_options(&problem.layout, options.clone())?;
    problem.replay(&mut twin, |_, twin| {
        for (tensor, (before, ways)) in problem
            .layout
            .tensors()
            .zip(before.iter_mut().zip(&mut ways))
        {
            for ((after, before), way) in twin.param(tensor)?.iter().zip(before).zip(ways) {
                *way += (after - *before).abs();
                *before = *after;
            }
        }
        Ok(())
    })?;
    Ok(ways.into_iter().flatten().fold(0.0, f64::max))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::{Mark, View};
    use wgpu_optim::{Layout, Options, rules};

    #[test]
    fn divisions_and_roots_are_counted_but_not_those_in_comments() {
        let eps = f64::from(f32::EPSILON);
        assert_eq!(per_change("// a / b\nlet x = a * b;"), 0.0);
        assert_eq!(per_change("let x = a / b; // a / b\n"), 2.5 * eps);
        let adam = rules::by_name("adam").unwrap();
        assert_eq!(per_change(adam.wgsl()), 7.0 * eps);
        let adadelta = rules::by_name("adadelta").unwrap();
        assert_eq!(per_change(adadelta.wgsl()), 11.5 * eps);
        let lion = rules::by_name("lion").unwrap();
        assert_eq!(per_change(lion.wgsl()), 0.0);
    }

    #[test]
    fn a_way_there_and_back_counts_twice_and_adds_to_a_gpus_budget_alone() {
        let mut layout = Layout::new();
        let mut rule = rules::by_name("sgd").unwrap();
        rule.set("lr", "1").unwrap();
        let group = layout.group(rule).unwrap();
        layout.tensor(group, "w", &[2]).unwrap();
        let problem = Problem {
            layout,
            params: vec![vec![1.0, 1.0]],
            grads: vec![vec![vec![3.0, 1.0]], vec![vec![-3.0, 1.0]]],
            rates: Vec::new(),
            inputs: Vec::new(),
        };
        assert_eq!(longest_way(&problem, &Options::default()).unwrap(), 6.0);

        let marks = [Mark {
            step: 2,
            tensor: 0,
            view: View::Trained,
        }];
        let truth = Truth::new(&problem, &marks, vec![vec![1.0, -1.0]]);
        let adam = rules::by_name("adam").unwrap();
        let budget = |allowance: Allowance| {
            let options = Options::default();
            allowance
                .budget(&problem, &options, &*adam, &truth, 1e-6)
                .unwrap()
        };
        let eps = f64::from(f32::EPSILON);
        assert_eq!(budget(Allowance::Exact), 2e-6 + 2.0 * eps);
        assert_eq!(budget(Allowance::Wgsl), 2e-6 + 2.0 * eps + 7.0 * eps * 6.0);
    }
}
