use crate::{
    Error, Rule, Slot,
    cpu::{Block, Real, Step, Twin},
    hyperparameter::{Hyperparameter, Interval},
};

/// Rprop: a step size per parameter that grows while its gradient keeps its sign.
///
/// `step_size` times `etaplus` or `etaminus` by the sign of `g·prev`, within `[step_size_min,
/// step_size_max]`; where the sign changed, `g ← 0`; `p ← p − sign(g)·step_size`, `prev ← g`.
///
/// For whole-batch gradients. Source: Riedmiller & Braun 1993, as in `torch.optim.Rprop`.
#[derive(Debug, Clone, PartialEq)]
pub struct Rprop {
    /// What every step size starts at; not looked at afterwards.
    pub lr: f64,
    /// Factor where the sign changes, in `(0, 1)`.
    pub etaminus: f64,
    /// Factor where the sign stays, at least 1.
    pub etaplus: f64,
    /// The smallest step.
    pub step_size_min: f64,
    /// The largest step; at least `step_size_min`.
    pub step_size_max: f64,
    /// Climb in place of descending.
    pub maximize: bool,
}

impl Default for Rprop {
    fn default() -> Self {
        Self {
            lr: 1e-2,
            etaminus: 0.5,
            etaplus: 1.2,
            step_size_min: 1e-6,
            step_size_max: 50.0,
            maximize: false,
        }
    }
}

impl Rprop {
    /// `Hyper` in shaders/rules/rprop.wgsl.
    fn hyper(&self) -> [f64; 4] {
        [
            self.etaminus,
            self.etaplus,
            self.step_size_min,
            self.step_size_max,
        ]
    }
}

impl Rule for Rprop {
    fn name(&self) -> &str {
        "rprop"
    }

    fn hyperparameters(&mut self) -> Vec<Hyperparameter<'_>> {
        vec![
            Hyperparameter::non_negative("lr", &mut self.lr),
            Hyperparameter::number(
                "etaminus",
                &mut self.etaminus,
                Interval::new(f32::MIN_POSITIVE as f64, 1.0, false),
            ),
            Hyperparameter::number("etaplus", &mut self.etaplus, Interval::at_least(1.0)),
            Hyperparameter::non_negative("step_size_min", &mut self.step_size_min),
            Hyperparameter::non_negative("step_size_max", &mut self.step_size_max),
            Hyperparameter::flag("maximize", &mut self.maximize),
        ]
    }

    fn check_combination(&self) -> Result<(), Error> {
        if self.step_size_min <= self.step_size_max {
            return Ok(());
        }
        Err(Error::Hyperparameter {
            rule: self.name().to_owned(),
            name: "step_size_max".to_owned(),
            value: self.step_size_max.to_string(),
            allowed: format!("at least step_size_min = {}", self.step_size_min),
        })
    }

    fn lr(&self) -> f64 {
        self.lr
    }

    fn maximize(&self) -> bool {
        self.maximize
    }

    fn slots(&self) -> Vec<Slot> {
        vec![
            Slot::element("prev"),
            Slot::element("step_size").starting_at(self.lr),
        ]
    }

    fn constants(&self) -> Vec<f64> {
        self.hyper().to_vec()
    }

    fn wgsl(&self) -> &str {
        include_str!("../../shaders/rules/rprop.wgsl")
    }
}

impl<T: Real> Twin<T> for Rprop {
    fn update(&self, block: Block<'_, T>, _: Step<T>) {
        let [etaminus, etaplus, step_size_min, step_size_max] = self.hyper().map(T::from_f64);
        block.each(move |p, grad, [prev, step_size]| {
            // Of the signs, since the product of small gradients underflows.
            let agreement = grad.sign() * prev.sign();
            let mut factor = T::one();
            if agreement > T::zero() {
                factor = etaplus;
            }
            if agreement < T::zero() {
                factor = etaminus;
            }
            *step_size = (*step_size * factor).max(step_size_min).min(step_size_max);
            let g = if agreement < T::zero() {
                T::zero()
            } else {
                grad
            };
            *prev = g;
            p - g.sign() * *step_size
        });
    }
}
