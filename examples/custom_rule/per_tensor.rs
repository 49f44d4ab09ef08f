//! A rule that looks at whole tensors: normalized gradient descent, whose steps are as long in every
//! tensor, however large the gradient, with momentum. `m ← μm + g/(‖g‖ + eps)`, `p ← p − lr·m`.

use wgpu_optim::{
    Over, Rule, Slot, Stages, Sum,
    cpu::{Block, Real, Shape, Step, Sums, Twin},
    hyperparameter::Hyperparameter,
};

#[derive(Debug, Clone)]
pub struct NormalizedDescent {
    pub lr: f64,
    pub momentum: f64,
    pub eps: f64,
}

impl Default for NormalizedDescent {
    fn default() -> Self {
        Self {
            lr: 0.1,
            momentum: 0.9,
            eps: 1e-8,
        }
    }
}

/// `OfTensor` has one f32 for each slot of tensors, `Sums` and `Totals` a member for each name in
/// `stages()`; `Sums`, `Totals` and `Shape` are the crate's, as `Step` is. `measure` runs for every
/// four elements, `conclude` once for each tensor, and then `update`.
const WGSL: &str = "
struct Hyper {
    momentum: f32,
    eps: f32,
}

struct State {
    momentum_buffer: vec4<f32>,
}

struct OfTensor {
    norm: f32,
}

fn measure(p: vec4<f32>, g: vec4<f32>, s: State, h: Hyper, now: Step, tensor: OfTensor) -> Sums {
    return Sums(g * g);
}

fn conclude(sums: Totals, tensor: ptr<function, OfTensor>, shape: Shape, h: Hyper, now: Step) {
    (*tensor).norm = sqrt(sums.g_squared);
}

fn update(
    p: vec4<f32>,
    g: vec4<f32>,
    s: ptr<function, State>,
    h: Hyper,
    now: Step,
    tensor: OfTensor,
) -> vec4<f32> {
    (*s).momentum_buffer = h.momentum * (*s).momentum_buffer + g / (tensor.norm + h.eps);
    return p - now.lr * (*s).momentum_buffer;
}
";

impl Rule for NormalizedDescent {
    fn name(&self) -> &str {
        "normalized_descent"
    }

    fn hyperparameters(&mut self) -> Vec<Hyperparameter<'_>> {
        vec![
            Hyperparameter::non_negative("lr", &mut self.lr),
            Hyperparameter::below_one("momentum", &mut self.momentum),
            Hyperparameter::eps("eps", &mut self.eps),
        ]
    }

    fn lr(&self) -> f64 {
        self.lr
    }

    /// One number per parameter, and one per tensor. All stay on the device.
    fn slots(&self) -> Vec<Slot> {
        vec![Slot::element("momentum_buffer"), Slot::tensor("norm")]
    }

    /// What is summed before the update; the sum reads no state.
    fn stages(&self) -> Stages {
        Stages::sum(Sum {
            names: &["g_squared"],
            over: Over::Tensor,
            reads: &[],
        })
    }

    fn constants(&self) -> Vec<f64> {
        vec![self.momentum, self.eps]
    }

    fn wgsl(&self) -> &str {
        WGSL
    }
}

/// The same three functions on the CPU.
impl<T: Real> Twin<T> for NormalizedDescent {
    fn measure(&self, block: Block<'_, T>, _now: Step<T>) -> Sums {
        block.sum(|_, g, [_]| [g * g])
    }

    fn conclude(&self, sums: [T; 4], tensor: &mut [T], _shape: Shape<T>, _now: Step<T>) {
        tensor[0] = sums[0].sqrt();
    }

    fn update(&self, block: Block<'_, T>, now: Step<T>) {
        let [momentum, eps] = [self.momentum, self.eps].map(T::from_f64);
        let [norm] = block.of_tensor();
        block.each(move |p, g, [momentum_buffer]| {
            *momentum_buffer = momentum * *momentum_buffer + g / (norm + eps);
            p - now.lr * *momentum_buffer
        });
    }
}
