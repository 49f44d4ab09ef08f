//! A rule that looks at each parameter by itself: one WGSL function and its twin.
//!
//! It is AdaHB, "heavy ball by agreement": momentum whose rate per parameter grows while the gradient
//! keeps its sign. It is no published optimizer; it shows what a rule can have.

use wgpu_optim::{
    Rule, Slot,
    cpu::{Block, Real, Step, Twin},
    hyperparameter::Hyperparameter,
};

/// The rule as users write it: plain numbers in f64.
#[derive(Debug, Clone)]
pub struct AdaHb {
    pub lr: f64,
    pub momentum: f64,
    pub weight_decay: f64,
    /// How fast the rate follows the agreement of signs.
    pub rate: f64,
    /// Classic heavy ball: no rate per parameter.
    pub plain: bool,
}

impl Default for AdaHb {
    fn default() -> Self {
        Self {
            lr: 0.03,
            momentum: 0.9,
            weight_decay: 0.0,
            rate: 0.1,
            plain: false,
        }
    }
}

/// Four parameters at a time. `Hyper` has one f32 for each of `constants()` and `State` one
/// `vec4<f32>` for each of `slots()`, in their order; `Step` is the crate's: lr, decay (lr times the
/// decoupled weight decay), t, at. `PLAIN` is declared by `flags()`.
const WGSL: &str = "
struct Hyper {
    momentum: f32,
    rate: f32,
}

struct State {
    momentum_buffer: vec4<f32>,
    agreement: vec4<f32>,
}

fn update(p: vec4<f32>, g: vec4<f32>, s: ptr<function, State>, h: Hyper, now: Step) -> vec4<f32> {
    var u = g;
    if !PLAIN {
        let same = sign(g) * sign((*s).momentum_buffer);
        (*s).agreement += h.rate * (same - (*s).agreement);
        u = (1.0 + (*s).agreement) * g;
    }
    (*s).momentum_buffer = h.momentum * (*s).momentum_buffer + u;
    // at: the warm-up.
    return p - (now.decay * p + now.lr * now.at.x * (*s).momentum_buffer);
}
";

impl Rule for AdaHb {
    fn name(&self) -> &str {
        "adahb"
    }

    /// What `set`, command lines and files can change, and what values are allowed.
    fn hyperparameters(&mut self) -> Vec<Hyperparameter<'_>> {
        vec![
            Hyperparameter::non_negative("lr", &mut self.lr),
            Hyperparameter::below_one("momentum", &mut self.momentum),
            Hyperparameter::non_negative("weight_decay", &mut self.weight_decay),
            Hyperparameter::up_to_one("rate", &mut self.rate),
            Hyperparameter::flag("plain", &mut self.plain),
        ]
    }

    fn lr(&self) -> f64 {
        self.lr
    }

    fn decoupled_weight_decay(&self) -> f64 {
        self.weight_decay
    }

    /// One number per parameter each. The second takes no memory if the flag leaves it unused.
    fn slots(&self) -> Vec<Slot> {
        vec![
            Slot::element("momentum_buffer"),
            Slot::element("agreement").used_if(!self.plain),
        ]
    }

    fn constants(&self) -> Vec<f64> {
        vec![self.momentum, self.rate]
    }

    fn flags(&self) -> Vec<(&'static str, bool)> {
        vec![("PLAIN", self.plain)]
    }

    /// What depends on the step count alone is computed here, in f64: a warm-up over ten steps.
    fn at(&self, t: u64) -> [f64; 4] {
        [(t as f64 / 10.0).min(1.0), 0.0, 0.0, 0.0]
    }

    fn wgsl(&self) -> &str {
        WGSL
    }
}

/// The same update on the CPU, once for f32 and f64, line for line as in WGSL.
impl<T: Real> Twin<T> for AdaHb {
    fn update(&self, block: Block<'_, T>, now: Step<T>) {
        let [momentum, rate] = [self.momentum, self.rate].map(T::from_f64);
        let (plain, one) = (self.plain, T::one());
        block.each(move |p, g, [momentum_buffer, agreement]| {
            let mut u = g;
            if !plain {
                let same = Real::sign(g) * Real::sign(*momentum_buffer);
                *agreement = *agreement + rate * (same - *agreement);
                u = (one + *agreement) * g;
            }
            *momentum_buffer = momentum * *momentum_buffer + u;
            p - (now.decay * p + now.lr * now.at[0] * *momentum_buffer)
        });
    }
}
