//! The training loop, the same for every device.

use std::time::Duration;

use anyhow::{Result, bail};
#[cfg(not(target_family = "wasm"))]
use flags::patience::patiently;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use wgpu_optim::Stats;
use wgpu_optim::schedule::Schedule;

use crate::clock::Instant;
use crate::network::{Network, Score, Waiting, batch_count};
use crate::progress::Progress;

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
    /// Steps since the start.
    pub steps: u64,
    /// Of training since the start: test data are scored while this clock stands still.
    pub seconds: f64,
}

impl Epoch {
    /// Whether the losses are numbers that training can go on from.
    pub fn is_finite(&self) -> bool {
        self.train.loss.is_finite() && self.test.loss.is_finite()
    }
}

/// How a training came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// After all epochs.
    Complete,
    /// The loss was no finite number any more.
    Diverged { epoch: u32 },
    /// The observer wished it, within an epoch.
    Stopped,
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
    pub end: End,
    pub progress: Progress,
}

impl Outcome {
    /// Fails for a training that diverged.
    pub fn converged(self) -> Result<Self> {
        if let End::Diverged { epoch } = self.end {
            bail!("The loss is no finite number any more in epoch {epoch}: try a smaller --lr.");
        }
        Ok(self)
    }
}

/// Whoever wants to know how the training goes.
pub trait Observer {
    /// So many more samples were handed to the device.
    fn advanced(&mut self, samples: usize);
    fn finished(&mut self, epoch: &Epoch) -> Result<()>;
    /// After each epoch, and where the training stops: what is saved now can be gone on from. Not for
    /// a training that diverged.
    fn reached(&mut self, _: &Progress, _: &mut dyn Network) -> Result<()> {
        Ok(())
    }
    /// Whether to stop before the next batch.
    fn stops(&self) -> bool {
        false
    }
    /// What to wait for before the next batch: where others need their turn.
    fn turn(&mut self) -> Option<Waiting<'_, ()>> {
        None
    }
}

/// The order in which each epoch visits the samples: depends on nothing but their number and the
/// seed.
#[derive(Clone)]
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

/// The scores before training, as epoch 0: of all training data and of the test data.
#[cfg(not(target_family = "wasm"))]
pub fn untrained(network: &mut dyn Network, plan: &Plan) -> Result<Epoch> {
    pollster::block_on(untrained_async(network, plan))
}

/// [`untrained`], for programs that may not wait.
pub async fn untrained_async(network: &mut dyn Network, plan: &Plan) -> Result<Epoch> {
    let order: Vec<u32> = (0..plan.samples as u32).collect();
    network.start_epoch(&order)?;
    for batch in 0..batch_count(plan.samples, plan.batch_size) {
        network.score_batch(batch)?;
    }
    Ok(Epoch {
        number: 0,
        train: network.train_score_async().await?,
        test: network.test_score_async().await?,
        lr: plan.lr,
        samples_per_second: 0.0,
        steps: 0,
        seconds: 0.0,
    })
}

/// Trains. Batches count on across epochs towards the number that makes a step; those that are left
/// over at the end make none.
#[cfg(not(target_family = "wasm"))]
pub fn train(
    network: &mut dyn Network,
    plan: &Plan,
    observer: &mut dyn Observer,
) -> Result<Outcome> {
    resume(network, plan, Progress::default(), observer)
}

/// [`train`], from `progress` on. The network must be as it was when that was reached, but for its
/// gradient.
#[cfg(not(target_family = "wasm"))]
pub fn resume(
    network: &mut dyn Network,
    plan: &Plan,
    progress: Progress,
    observer: &mut dyn Observer,
) -> Result<Outcome> {
    pollster::block_on(async {
        let start = Instant::now();
        let mut training = Training::new(network, plan, progress)?;
        let end = loop {
            if let Some(end) = training.advance(observer).await? {
                break end;
            }
        };
        Ok(Outcome {
            test: training.progress.test.unwrap_or(UNKNOWN),
            time: start.elapsed(),
            first_step: training.first_step,
            stats: training.network.stats_async().await?,
            end,
            progress: training.progress,
        })
    })
}

/// Before the first epoch is complete.
#[cfg(not(target_family = "wasm"))]
const UNKNOWN: Score = Score {
    loss: f64::NAN,
    accuracy: f64::NAN,
};

/// A training under way, of which several may take turns.
pub struct Training<'a> {
    pub network: &'a mut dyn Network,
    plan: &'a Plan,
    progress: Progress,
    shuffle: Shuffle,
    /// Since the last step.
    micro_batches: u32,
    steps: u64,
    /// Of `--optimizer` in the last step.
    lr: f64,
    seconds: f64,
    first_step: Option<Instant>,
}

impl<'a> Training<'a> {
    /// From `progress` on. The network must be as it was when that was reached, but for its gradient.
    pub fn new(network: &'a mut dyn Network, plan: &'a Plan, progress: Progress) -> Result<Self> {
        let (batches, accumulate) = (progress.all_batches(plan), u64::from(plan.accumulate));
        let steps = batches / accumulate;
        let last = steps.checked_sub(1);
        let mut training = Self {
            network,
            plan,
            progress,
            shuffle: Shuffle::new(plan.samples, plan.seed),
            micro_batches: (batches % accumulate) as u32,
            steps,
            lr: last.map_or(plan.lr, |last| plan.lr * plan.schedule.at(1.0, last)),
            seconds: 0.0,
            first_step: None,
        };
        training.replay()?;
        Ok(training)
    }

    /// Shuffles as often as the epochs did. The batches since the last step leave their gradient once
    /// more: no weight has changed since they did.
    fn replay(&mut self) -> Result<()> {
        let end = self.progress.all_batches(self.plan);
        let first = end - u64::from(self.micro_batches);
        let per_epoch = batch_count(self.plan.samples, self.plan.batch_size) as u64;
        let mut shuffle = self.shuffle.clone();
        for epoch in 0..=u64::from(self.progress.epochs) {
            self.shuffle = shuffle.clone();
            let order = shuffle.next_epoch();
            let before = epoch * per_epoch;
            let batches = first.max(before)..end.min(before + per_epoch);
            if !batches.is_empty() {
                self.network.start_epoch(order)?;
            }
            for batch in batches {
                self.network.backward((batch - before) as usize)?;
            }
        }
        Ok(())
    }

    /// Goes on to the end of the epoch. Tells how the training came to its end once it has.
    pub async fn advance(&mut self, observer: &mut dyn Observer) -> Result<Option<End>> {
        if self.progress.epochs >= self.plan.epochs {
            return Ok(Some(End::Complete));
        }
        let Some(epoch) = self.epoch(observer).await? else {
            return Ok(Some(self.stop(observer).await?));
        };
        self.progress = self.progress.after(&epoch);
        observer.finished(&epoch)?;
        if !epoch.is_finite() {
            let epoch = epoch.number;
            return Ok(Some(End::Diverged { epoch }));
        }
        observer.reached(&self.progress, self.network)?;
        Ok(None)
    }

    /// None if the observer stops it.
    async fn epoch(&mut self, observer: &mut dyn Observer) -> Result<Option<Epoch>> {
        let plan = self.plan;
        let start = Instant::now();
        let before = self.progress.samples(plan);
        self.network.start_epoch(self.shuffle.next_epoch())?;
        for batch in self.progress.batches..batch_count(plan.samples, plan.batch_size) {
            if let Some(others) = observer.turn() {
                others.await?;
            }
            if observer.stops() {
                return Ok(None);
            }
            if self.first_step.is_none() {
                self.first_batch(batch).await?;
            } else {
                self.batch(batch).await?;
            }
            self.progress.batches += 1;
            observer.advanced(plan.batch_size.min(plan.samples - batch * plan.batch_size));
        }
        // Waits for the device: the clock has all of the epoch's steps.
        let train = self.progress.train + self.network.train_score_async().await?;
        let seconds = start.elapsed().as_secs_f64();
        self.seconds += seconds;
        let samples = self.progress.samples(plan) - before;
        Ok(Some(Epoch {
            number: self.progress.epochs + 1,
            train,
            test: self.network.test_score_async().await?,
            lr: self.lr,
            samples_per_second: samples as f64 / seconds,
            steps: self.steps,
            seconds: self.seconds,
        }))
    }

    /// Some drivers compile when they first run a shader.
    #[cfg(not(target_family = "wasm"))]
    async fn first_batch(&mut self, batch: usize) -> Result<()> {
        patiently("compiling the shaders", || {
            pollster::block_on(self.batch(batch))
        })
    }

    #[cfg(target_family = "wasm")]
    async fn first_batch(&mut self, batch: usize) -> Result<()> {
        self.batch(batch).await
    }

    async fn batch(&mut self, batch: usize) -> Result<()> {
        self.network.backward(batch)?;
        self.micro_batches += 1;
        if self.micro_batches == self.plan.accumulate {
            self.step().await?;
        }
        Ok(())
    }

    /// Within an epoch.
    async fn stop(&mut self, observer: &mut dyn Observer) -> Result<End> {
        let train = self.progress.train + self.network.train_score_async().await?;
        if !train.loss.is_finite() {
            let epoch = self.progress.epochs + 1;
            return Ok(End::Diverged { epoch });
        }
        self.progress.train = train;
        observer.reached(&self.progress, self.network)?;
        Ok(End::Stopped)
    }

    async fn step(&mut self) -> Result<()> {
        self.micro_batches = 0;
        let part = self.plan.schedule.at(1.0, self.steps);
        self.lr = part * self.plan.lr;
        self.steps += 1;
        let spoils = |every| self.steps.is_multiple_of(u64::from(every));
        if self.plan.poison.is_some_and(spoils) {
            self.network.poison()?;
        }
        self.network.update(part)?;
        if self.first_step.is_none() {
            self.network.finish_async().await?;
            self.first_step = Some(Instant::now());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use wgpu_optim::{Checkpoint, Save};

    use super::*;
    use crate::network::{Weights, Write};

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

    /// Takes its time to score test data, and diverges in a given epoch.
    struct Slow {
        epoch: u32,
        diverges_in: u32,
    }

    const SLOW: Duration = Duration::from_millis(50);

    impl Network for Slow {
        fn start_epoch(&mut self, _: &[u32]) -> Result<()> {
            self.epoch += 1;
            Ok(())
        }
        fn backward(&mut self, _: usize) -> Result<()> {
            Ok(())
        }
        fn score_batch(&mut self, _: usize) -> Result<()> {
            Ok(())
        }
        fn poison(&mut self) -> Result<()> {
            Ok(())
        }
        fn update(&mut self, _: f64) -> Result<()> {
            Ok(())
        }
        fn finish_async(&mut self) -> Waiting<'_, ()> {
            Box::pin(ready(Ok(())))
        }
        fn train_score_async(&mut self) -> Waiting<'_, Score> {
            let diverges = self.epoch == self.diverges_in;
            Box::pin(ready(Ok(Score {
                loss: if diverges { f64::NAN } else { 1.0 },
                accuracy: 0.5,
            })))
        }
        fn test_score_async(&mut self) -> Waiting<'_, Score> {
            std::thread::sleep(SLOW);
            Box::pin(ready(Ok(Score {
                loss: 1.0,
                accuracy: 0.5,
            })))
        }
        fn stats_async(&mut self) -> Waiting<'_, Stats> {
            Box::pin(ready(Ok(Stats::default())))
        }
        fn save(&mut self, _: &Save) -> Result<Write> {
            Ok(Box::new(|_| Ok(())))
        }
        fn load(&mut self, _: &Checkpoint) -> Result<()> {
            Ok(())
        }
        fn load_weights(&mut self, _: &Checkpoint) -> Result<()> {
            Ok(())
        }
        fn weights_async(&mut self) -> Waiting<'_, Vec<Weights>> {
            Box::pin(ready(Ok(Vec::new())))
        }
    }

    /// Stops after some batches.
    struct Watch {
        epochs: Vec<Epoch>,
        batches: usize,
        most: usize,
    }

    impl Observer for Watch {
        fn advanced(&mut self, _: usize) {
            self.batches += 1;
        }
        fn finished(&mut self, epoch: &Epoch) -> Result<()> {
            self.epochs.push(*epoch);
            Ok(())
        }
        fn stops(&self) -> bool {
            self.batches >= self.most
        }
    }

    fn watched(diverges_in: u32, most: usize) -> (Outcome, Watch) {
        let plan = Plan {
            epochs: 3,
            batch_size: 2,
            accumulate: 1,
            poison: None,
            samples: 5,
            lr: 0.1,
            schedule: Schedule::Constant,
            seed: 1,
        };
        let mut watch = Watch {
            epochs: Vec::new(),
            batches: 0,
            most,
        };
        let mut network = Slow {
            epoch: 0,
            diverges_in,
        };
        (train(&mut network, &plan, &mut watch).unwrap(), watch)
    }

    #[test]
    fn the_clock_of_training_stands_still_while_test_data_are_scored() {
        let (outcome, watch) = watched(0, usize::MAX);
        assert_eq!(outcome.end, End::Complete);
        assert!(outcome.time >= 3 * SLOW);
        let last = watch.epochs[2];
        assert!(last.seconds < SLOW.as_secs_f64(), "{last:?}");
        assert_eq!(
            watch.epochs.iter().map(|e| e.steps).collect::<Vec<_>>(),
            [3, 6, 9]
        );
    }

    #[test]
    fn a_loss_that_is_no_number_ends_the_training_after_its_epoch_was_reported() {
        let (outcome, watch) = watched(2, usize::MAX);
        assert_eq!(outcome.end, End::Diverged { epoch: 2 });
        assert_eq!(watch.epochs.len(), 2);
        let error = outcome.converged().unwrap_err().to_string();
        assert!(error.contains("in epoch 2: try a smaller --lr"), "{error}");
    }

    #[test]
    fn a_training_stops_within_an_epoch_and_its_last_whole_epoch_is_what_counts() {
        let (outcome, watch) = watched(0, 4);
        assert_eq!(outcome.end, End::Stopped);
        assert_eq!((watch.epochs.len(), watch.batches), (1, 4));
    }
}
