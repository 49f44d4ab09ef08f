//! Who is compared, and how the training of each went.

use anyhow::Result;
use report::Interrupt;
use trainer::candidate::Candidate;
use trainer::setting::Setting;
use trainer::training::{self, End, Epoch, Observer, Plan};

/// An optimizer with what is known of it before it trains.
pub struct Entrant {
    pub candidate: Candidate,
    pub title: String,
    pub lr: f64,
    pub batch_size: usize,
    /// Beside the parameter and its gradient.
    pub state_bytes_per_parameter: f64,
}

/// One training of one optimizer.
pub struct Run {
    /// Its place among the entrants.
    pub entrant: usize,
    pub seed: u64,
    /// From epoch 0 on, which is before training, to the last one that was finished.
    pub epochs: Vec<Epoch>,
    pub end: End,
}

/// Whoever wants to know how the comparison goes.
pub trait Audience {
    /// So many more samples were trained on, or will not be.
    fn advanced(&mut self, samples: u64);
    fn epoch(&mut self, entrant: &Entrant, seed: u64, epoch: &Epoch) -> Result<()>;
    fn run(&mut self, entrant: &Entrant, run: &Run) -> Result<()>;
}

/// Checks each candidate with the flags, before any work is done.
pub fn entrants(candidates: Vec<Candidate>, setting: &Setting) -> Result<Vec<Entrant>> {
    let entrant = |candidate: Candidate| {
        Ok(Entrant {
            title: candidate.title(),
            lr: candidate.lr()?,
            batch_size: setting.plan(&candidate, 0)?.batch_size,
            state_bytes_per_parameter: setting.state_bytes_per_parameter(&candidate)?,
            candidate,
        })
    };
    candidates.into_iter().map(entrant).collect()
}

/// Trains with each of `entrants`, and with each of `seeds` in turn, until the user interrupts it.
pub fn hold(
    setting: &Setting,
    entrants: &[Entrant],
    seeds: impl Iterator<Item = u64>,
    interrupt: &Interrupt,
    audience: &mut dyn Audience,
) -> Result<Vec<Run>> {
    let mut runs = Vec::new();
    for seed in seeds {
        for (index, entrant) in entrants.iter().enumerate() {
            if interrupt.is_requested() {
                return Ok(runs);
            }
            let mut record = Record {
                entrant,
                seed,
                epochs: Vec::new(),
                interrupt,
                audience,
                left: 0,
            };
            let plan = setting.plan(&entrant.candidate, seed)?;
            let end = record.train(setting, &plan)?;
            let run = Run {
                entrant: index,
                seed,
                epochs: record.epochs,
                end,
            };
            audience.run(entrant, &run)?;
            runs.push(run);
        }
    }
    Ok(runs)
}

/// Keeps the epochs of one training.
struct Record<'a> {
    entrant: &'a Entrant,
    seed: u64,
    epochs: Vec<Epoch>,
    interrupt: &'a Interrupt,
    audience: &'a mut dyn Audience,
    /// Samples that are still to be trained on.
    left: u64,
}

impl Record<'_> {
    fn train(&mut self, setting: &Setting, plan: &Plan) -> Result<End> {
        self.left = u64::from(plan.epochs) * plan.samples as u64;
        let mut network = setting.network(&self.entrant.candidate, plan)?;
        let before = training::untrained(network.as_mut(), plan)?;
        self.finished(&before)?;
        let outcome = training::train(network.as_mut(), plan, self)?;
        self.audience.advanced(self.left);
        Ok(outcome.end)
    }
}

impl Observer for Record<'_> {
    fn advanced(&mut self, samples: usize) {
        self.left -= samples as u64;
        self.audience.advanced(samples as u64);
    }

    fn finished(&mut self, epoch: &Epoch) -> Result<()> {
        self.epochs.push(*epoch);
        self.audience.epoch(self.entrant, self.seed, epoch)
    }

    fn stops(&self) -> bool {
        self.interrupt.is_requested()
    }
}
