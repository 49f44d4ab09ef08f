//! What surrounds the update, to be held against the twin like the rules themselves: clipping, loss
//! scaling, skipping, accumulation, averaging.

use wgpu_optim::{Average, Clip, LossScale, Options};

/// Options under the name that the table has for them.
pub struct Around {
    pub label: &'static str,
    pub options: Options,
}

/// The rules that are stepped with each of [`arounds`]: they differ in what they keep, in how
/// they use the step count and in what they look at before the update.
pub const RULES: [&str; 7] = [
    "adamw",
    "sgd",
    "adopt",
    "lamb",
    "adafactor",
    "muon",
    "newton_dense",
];

/// Each thing by itself, and all that go together.
pub fn arounds() -> Vec<Around> {
    let default = Options::default;
    // Grows and shrinks within a few steps.
    let loss_scale = Some(LossScale {
        init_scale: 1024.0,
        growth_interval: 2,
        ..Default::default()
    });
    let average = |debias| Some(Average { decay: 0.9, debias });
    let around = |label, options| Around { label, options };
    vec![
        around(
            "clip=global_norm",
            Options {
                clip: Clip::GlobalNorm(1.0),
                ..default()
            },
        ),
        around(
            "clip=value",
            Options {
                clip: Clip::Value(0.05),
                ..default()
            },
        ),
        around(
            "clip=tensor_norm",
            Options {
                clip: Clip::TensorNorm(0.5),
                ..default()
            },
        ),
        around(
            "loss_scale=dynamic",
            Options {
                loss_scale,
                ..default()
            },
        ),
        around(
            "skip_non_finite zero_grad",
            Options {
                skip_non_finite: true,
                zero_grad: true,
                ..default()
            },
        ),
        around(
            "accumulate=4 average",
            Options {
                accumulate: 4,
                average: average(false),
                ..default()
            },
        ),
        around(
            "clip=global_norm loss_scale=dynamic accumulate=4 zero_grad average=debiased",
            Options {
                clip: Clip::GlobalNorm(1.0),
                loss_scale,
                accumulate: 4,
                zero_grad: true,
                average: average(true),
                ..default()
            },
        ),
    ]
}
