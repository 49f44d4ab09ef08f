//! A rule that looks at whole tensors: normalized gradient descent, whose steps are as long in every
//! tensor, however large the gradient, with momentum. `m ← μm + g/(‖g‖ + eps)`, `p ← p − lr·m`.

use wgpu_optim::{
    Extent, Over, Rule, Stages, Sum,
    cpu::{Block, Real, Shape, Step, Sums, Twin},
    rule,
};

rule! {
    /// Normalized gradient descent with momentum.
    pub struct NormalizedDescent("normalized_descent") {
        pub lr: f64 in NON_NEGATIVE = 0.1,
        /// How much of the last step is taken again.
        pub momentum: f64 in BELOW_ONE = 0.9,
        pub eps: f64 in EPS = 1e-8,
    }
    constants: momentum, eps;
    // One number per parameter, and one per tensor. All stay on the device.
    slots: momentum_buffer, norm.of(Extent::Tensor);
    // What is summed before the update; the sum reads no state.
    stages: Stages::sum(Sum {
        names: &["g_squared"],
        over: Over::Tensor,
        reads: &[],
    });
    wgsl: WGSL;
}

impl Rule for NormalizedDescent {}

/// `OfTensor` has the slots of tensors, `Sums` and `Totals` the names in `stages`; these and `Shape`
/// are the crate's, as `Step` is. `measure` runs for every four elements, `conclude` once for each
/// tensor, and then `update`.
const WGSL: &str = "
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

/// The same three functions on the CPU.
impl<T: Real> Twin<T> for NormalizedDescent {
    fn measure(&self, block: Block<'_, T>, _now: Step<T>) -> Sums {
        block.sum(|_, g, [_]| [g * g])
    }

    fn conclude(&self, sums: [T; 4], tensor: &mut [T], _shape: Shape<T>, _now: Step<T>) {
        tensor[0] = sums[0].sqrt();
    }

    fn update(&self, block: Block<'_, T>, now: Step<T>) {
        let [momentum, eps] = self.constants_as::<T, _>();
        let [norm] = block.of_tensor();
        block.each(move |p, g, [momentum_buffer]| {
            *momentum_buffer = momentum * *momentum_buffer + g / (norm + eps);
            p - now.lr * *momentum_buffer
        });
    }
}
