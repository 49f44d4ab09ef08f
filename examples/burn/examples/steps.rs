//! Times steps beside burn's own Adam, in turns on one device.
//!
//! ```sh
//! cargo run --release --example steps            # everything, 11 rounds
//! cargo run --release --example steps -- 5 vit   # 5 rounds of the workloads with that in their names, in any case
//! ```
//!
//! Without `--release` burn's own work for each tensor takes longer, and so the contest means less.
//!
//! In each round each of the two has a turn, and who begins alternates. Updates have gradients of
//! their own to use up, which are made before the clock starts. A turn ends when the device is done. A
//! turn of updates is one step: where the gradients of several were there, burn's fusion would make one
//! pass over memory of all of them, which no training can.

#[path = "../tests/support/mod.rs"]
mod support;

use std::time::Instant;

use anyhow::{Context, Result};
use burn::module::Module;
use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::Device;
use wgpu_optim_burn::{Counts, FusedOptimizer, Options, rules::Adam};

use support::{Params, Transformer, gradients};

const LR: f64 = 1e-3;

/// A module with both of its optimizers, and how a turn goes.
trait Workload {
    fn turn(&mut self, of_ours: bool) -> Result<f64>;

    /// What our steps took beside the updates.
    fn counts(&self) -> &Counts;
}

struct Contest<M: Module> {
    device: Device,
    steps: u32,
    /// The gradients of a step, if they are not part of what is timed.
    given: Option<fn(&M, u32) -> GradientsParams>,
    /// The gradients of a step that are part of it.
    backward: fn(&M, &Device) -> GradientsParams,
    ours: (Option<M>, FusedOptimizer),
    burn: (Option<M>, ModuleOptimizer),
}

impl<M: Module> Contest<M> {
    fn new(
        device: &Device,
        model: M,
        steps: u32,
        given: Option<fn(&M, u32) -> GradientsParams>,
        backward: fn(&M, &Device) -> GradientsParams,
    ) -> Self {
        let rule = Adam {
            eps: 1e-5,
            ..Default::default()
        };
        Self {
            device: device.clone(),
            steps,
            given,
            backward,
            // Forked, so that neither is a clone that the other has to copy.
            ours: (
                Some(model.clone().fork(device)),
                FusedOptimizer::new(rule, Options::default()),
            ),
            burn: (Some(model), AdamConfig::new().init()),
        }
    }

    fn sync(&self) -> Result<()> {
        let done = self.device.sync();
        done.map_err(|error| anyhow::anyhow!("the device did not finish: {error:?}"))
    }
}

impl<M: Module> Workload for Contest<M> {
    /// Milliseconds per step.
    fn turn(&mut self, of_ours: bool) -> Result<f64> {
        let model = if of_ours {
            &mut self.ours.0
        } else {
            &mut self.burn.0
        };
        let mut model = model.take().context("a turn failed before")?;
        let mut given = match self.given {
            Some(given) => (0..self.steps).map(|step| given(&model, step)).collect(),
            None => Vec::new(),
        };
        self.sync()?;
        let start = Instant::now();
        for _ in 0..self.steps {
            let grads = match given.pop() {
                Some(grads) => grads,
                None => (self.backward)(&model, &self.device),
            };
            model = match of_ours {
                true => self.ours.1.step(LR, model, grads),
                false => self.burn.1.step(LR, model, grads),
            };
        }
        self.sync()?;
        let time = 1e3 * start.elapsed().as_secs_f64() / f64::from(self.steps);
        *(if of_ours {
            &mut self.ours.0
        } else {
            &mut self.burn.0
        }) = Some(model);
        Ok(time)
    }

    fn counts(&self) -> &Counts {
        self.ours.1.counts()
    }
}

/// The tensors of ViT-Ti/16.
fn vit() -> Vec<usize> {
    const WIDTH: usize = 192;
    let linear = |inputs: usize, outputs: usize| [inputs * outputs, outputs];
    let norm = [WIDTH, WIDTH];
    let mut lengths = vec![WIDTH, 197 * WIDTH];
    lengths.extend(linear(3 * 16 * 16, WIDTH));
    for _ in 0..12 {
        lengths.extend(norm);
        lengths.extend(linear(WIDTH, 3 * WIDTH));
        lengths.extend(linear(WIDTH, WIDTH));
        lengths.extend(norm);
        lengths.extend(linear(WIDTH, 4 * WIDTH));
        lengths.extend(linear(4 * WIDTH, WIDTH));
    }
    lengths.extend(norm);
    lengths.extend(linear(WIDTH, 1000));
    lengths
}

fn workload(name: &str, device: &Device) -> Box<dyn Workload> {
    let update = |lengths: &[usize]| -> Box<dyn Workload> {
        let model = Params::new(lengths, device);
        let none = |_: &Params, _: &Device| GradientsParams::new();
        Box::new(Contest::new(device, model, 1, Some(gradients), none))
    };
    match name {
        BIG => update(&[4 << 20]),
        VIT => update(&vit()),
        SMALL => update(&[64; 5000]),
        _ => {
            let model = Transformer::of_size(device, 64, 4);
            let train = |model: &Transformer, device: &Device| {
                GradientsParams::from_grads(model.loss(0, device).backward(), model)
            };
            Box::new(Contest::new(device, model, 4, None, train))
        }
    }
}

const BIG: &str = "update, one tensor of 4 Mi";
const VIT: &str = "update, ViT-Ti, 152 tensors";
const SMALL: &str = "update, 5 000 tensors of 64";
const TRAIN: &str = "training step, transformer of 4 blocks";

/// A median with its quartiles.
fn quartiles(mut samples: Vec<f64>) -> String {
    samples.sort_by(f64::total_cmp);
    let [low, median, high] = [1, 2, 3].map(|quarter| samples[(samples.len() - 1) * quarter / 4]);
    format!("{median:.3} ({low:.3} to {high:.3})")
}

fn main() -> Result<()> {
    let mut rounds = 11;
    let mut wanted = String::new();
    for argument in std::env::args().skip(1) {
        match argument.parse::<usize>() {
            Ok(number) => rounds = number.max(1),
            Err(_) => wanted = argument,
        }
    }
    let device = support::device();
    println!("milliseconds per step, medians (quartiles) of {rounds} rounds\n");
    println!("| | ours | burn's Adam | burn ÷ ours |\n|---|---|---|---|");
    for name in [BIG, VIT, SMALL, TRAIN] {
        if !name.to_lowercase().contains(&wanted.to_lowercase()) {
            continue;
        }
        let mut workload = workload(name, &device);
        // Compiling, tuning, gathering.
        for of_ours in [true, false, true, false] {
            workload.turn(of_ours)?;
        }
        let mut times = [Vec::new(), Vec::new()];
        for round in 0..rounds {
            for turn in 0..2 {
                let of_ours = (round + turn) % 2 == 0;
                times[usize::from(!of_ours)].push(workload.turn(of_ours)?);
            }
        }
        let [ours, burn] = times;
        let ratios = ours
            .iter()
            .zip(&burn)
            .map(|(ours, burn)| burn / ours)
            .collect();
        println!(
            "| {name} | {} | {} | {} |",
            quartiles(ours),
            quartiles(burn),
            quartiles(ratios)
        );
        eprintln!("  {:?}", workload.counts());
    }
    Ok(())
}
