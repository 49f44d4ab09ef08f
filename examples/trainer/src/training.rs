//! The training loop, the same for every device.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use wgpu_optim::Stats;
use wgpu_optim::schedule::Schedule;

use crate::network::{Network, Score, batch_count};

pub struct Plan {
    pub epochs: u32,
    pub batch_size: usize,
    /// Batches whose gradients add up to one step.
    pub accumulate: u32,
    /// From how many steps one has its gradient spoilt.
    pub poison: Option<u32>,
    /// Samples of the training data.
    pub samples: usize,
    /// What `--optimizer` starts with.
    pub lr: f64,
    /// Of the part of each group's learning rate.
    pub schedule: Schedule,
    pub seed: u64,
}

/// What one epoch brought.
#[derive(Clone, Copy, Debug)]
pub struct Epoch {
    /// Counted from 1.
    pub number: u32,
    /// While training, before each batch's own step.
    pub train: Score,
    /// After the epoch.
    pub test: Score,
    /// Of `--optimizer` in the epoch's last step.
    pub lr: f64,
    pub samples_per_second: f64,
}

/// What a training ended with.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The last score.
    pub test: Score,
    pub time: Duration,
    /// When the device had finished the first step.
    pub first_step: Option<Instant>,
    pub stats: Stats,
}

/// Whoever wants to know how the training goes.
pub trait Observer {
    /// So many more samples were handed to the device.
    fn advanced(&mut self, samples: usize);
    fn finished(&mut self, epoch: &Epoch) -> Result<()>;
}

/// The order in which each epoch visits the samples: depends on nothing but their number and the
/// seed.
pub struct Shuffle {
    random: ChaCha8Rng,
    order: Vec<u32>,
}

impl Shuffle {
    pub fn new(samples: usize, seed: u64) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        // Stream 0 draws the starting weights.
        random.set_stream(1);
        Self {
            random,
            order: (0..samples as u32).collect(),
        }
    }

    pub fn next_epoch(&mut self) -> &[u32] {
        self.order.shuffle(&mut self.random);
        &self.order
    }
}

/// Trains. Batches count on across epochs towards the number that makes a step; those that are left
/// over at the end make none.
pub fn train(
    network: &mut dyn Network,
    plan: &Plan,
    observer: &mut dyn Observer,
) -> Result<Outcome> {
    let start = Instant::now();
    let batches = batch_count(plan.samples, plan.batch_size);
    let mut shuffle = Shuffle::new(plan.samples, plan.seed);
    let (mut micro_batches, mut step) = (0, 0);
    let mut lr = plan.lr;
    let mut first_step = None;
    let mut test = Score {
        loss: f64::NAN,
        accuracy: f64::NAN,
    };
    for number in 1..=plan.epochs {
        let epoch_start = Instant::now();
        network.start_epoch(shuffle.next_epoch())?;
        for batch in 0..batches {
            network.backward(batch)?;
            micro_batches += 1;
            if micro_batches == plan.accumulate {
                micro_batches = 0;
                let part = plan.schedule.at(1.0, step);
                lr = part * plan.lr;
                step += 1;
                if plan
                    .poison
                    .is_some_and(|every| step % u64::from(every) == 0)
                {
                    network.poison()?;
                }
                network.update(part)?;
                if first_step.is_none() {
                    network.finish()?;
                    first_step = Some(Instant::now());
                }
            }
            observer.advanced(plan.batch_size.min(plan.samples - batch * plan.batch_size));
        }
        let train = network.train_score()?;
        let seconds = epoch_start.elapsed().as_secs_f64();
        test = network.test_score()?;
        let samples_per_second = plan.samples as f64 / seconds;
        observer.finished(&Epoch {
            number,
            train,
            test,
            lr,
            samples_per_second,
        })?;
        ensure!(
            train.loss.is_finite() && test.loss.is_finite(),
            "The loss is no finite number any more in epoch {number}: try a smaller --lr."
        );
    }
    Ok(Outcome {
        test,
        time: start.elapsed(),
        first_step,
        stats: network.stats()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_depends_on_the_seed_and_is_a_new_permutation_each_epoch() {
        let (mut one, mut same, mut other) = (
            Shuffle::new(100, 1),
            Shuffle::new(100, 1),
            Shuffle::new(100, 2),
        );
        let first = one.next_epoch().to_vec();
        assert_eq!(first, same.next_epoch());
        assert_ne!(first, other.next_epoch());
        let second = one.next_epoch().to_vec();
        assert_ne!(first, second);
        for mut order in [first, second] {
            order.sort_unstable();
            assert!(order.iter().copied().eq(0..100));
        }
    }
}
