//! An optimizer of your own: one WGSL function and its twin in Rust, and it gets all that the rules
//! of this crate get: parameter groups, schedules, arenas or your buffers, per-step gradients,
//! saved state, and the check against f64.
//!
//!     cargo run --release --example custom_rule
//!
//! The rule here is AdaHB, "heavy ball by agreement": momentum whose rate per parameter grows while
//! the gradient keeps its sign. It is no published optimizer; it shows what a rule can have. A
//! mistake in your WGSL comes back as `Error::Shader` with the line and column in your text.

use wgpu_optim::{
    Gpu, GpuOptions, Layout, Optimizer, Options, Rule, Slot,
    cpu::{self, Block, Real, Step, Twin},
    hyperparameter::Hyperparameter,
};

/// The rule as users write it: plain numbers in f64.
#[derive(Debug, Clone)]
struct AdaHb {
    lr: f64,
    momentum: f64,
    weight_decay: f64,
    /// How fast the rate follows the agreement of signs.
    rate: f64,
    /// Classic heavy ball: no rate per parameter.
    plain: bool,
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

/// Minimises `Σ ½aᵢ(pᵢ − 1)²` on the GPU and on the twin in f64, and compares the two.
fn main() -> Result<(), Box<dyn std::error::Error>> {
    const COUNT: usize = 10_000;
    const STEPS: usize = 200;
    let Gpu {
        device,
        queue,
        info,
        ..
    } = Gpu::open_blocking(&GpuOptions::default())?;
    let mut layout = Layout::new();
    let group = layout.group(AdaHb {
        weight_decay: 1e-3,
        ..Default::default()
    })?;
    let weight = layout.tensor(group, "weight", &[COUNT])?;
    let mut optimizer = Optimizer::new(&device, &layout, Options::default())?;
    let mut truth = cpu::Optimizer::<f64>::new(&layout)?;

    let mut error = 0.0f64;
    for _ in 0..STEPS {
        // Your backward pass would do this on the GPU.
        let params = optimizer.read_param_blocking(&queue, weight)?;
        let grads: Vec<f32> = (0..COUNT)
            .map(|i| (0.1 + i as f32 / COUNT as f32) * (params[i] - 1.0))
            .collect();
        optimizer.write_grad(&queue, weight, &grads)?;
        for (to, from) in truth.grad_mut(weight)?.iter_mut().zip(&grads) {
            *to = f64::from(*from);
        }
        let mut encoder = device.create_command_encoder(&Default::default());
        optimizer.step(&mut encoder)?;
        queue.submit([encoder.finish()]);
        truth.step()?;
    }
    let found = optimizer.read_param_blocking(&queue, weight)?;
    for (found, truth) in found.iter().zip(truth.param(weight)?) {
        error = error.max((f64::from(*found) - truth).abs());
    }
    let farthest = found.iter().fold(0.0f32, |far, p| far.max((p - 1.0).abs()));
    println!(
        "{STEPS} steps of a rule of our own over {COUNT} parameters on {}",
        info.name
    );
    println!("farthest from the minimum: {farthest:.3}");
    println!("largest difference from f64 on the CPU: {error:.1e}");

    if error < 1e-5 && farthest < 0.2 {
        return Ok(());
    }
    Err("the rule does not do what it should".into())
}

#[test]
fn the_rule_converges_and_agrees_with_its_twin() {
    main().unwrap();
}
