//! The gradients that state is made of, step after step.

use std::f64::consts::TAU;

use anyhow::Result;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use trainer::data::{Embedded, Source};
use trainer::network::cpu::CpuNetwork;
use trainer::network::{Activation, Architecture, Loss, Network, batch_count};
use trainer::training::Shuffle;
use wgpu_optim::{Options, Rule, rules::AdamW};

const SEED: u64 = 1;

/// Where gradients come from.
pub trait Gradients {
    fn name(&self) -> &'static str;
    /// The shape of each tensor.
    fn shapes(&self) -> Vec<Vec<usize>>;
    /// Those of the next step, by tensor.
    fn next(&mut self) -> Result<Vec<Vec<f32>>>;
}

/// All there are.
pub fn all() -> Result<Vec<Box<dyn Gradients>>> {
    Ok(vec![Box::new(Digits::new()?), Box::new(Rows::new())])
}

/// Those of a training: a network 64-256-128-10 learns the digits by AdamW, which keeps its state in
/// f32. As the loss goes to zero, so do they.
struct Digits {
    network: CpuNetwork<f32>,
    shuffle: Shuffle,
    batches: usize,
    batch: usize,
}

const CLASSES: usize = 10;
const BATCH_SIZE: usize = 32;

impl Digits {
    fn new() -> Result<Self> {
        let data = Source::Embedded(Embedded::Digits).load(CLASSES)?;
        let sizes = [data.features, 256, 128, data.outputs];
        let architecture = Architecture::perceptron(&sizes, Activation::Relu, Loss::CrossEntropy)?;
        let rule: Box<dyn Rule> = Box::new(AdamW {
            lr: 2e-3,
            ..Default::default()
        });
        let registered = architecture.register(rule, Options::default())?;
        Ok(Self {
            network: CpuNetwork::new(registered, &data, BATCH_SIZE, SEED)?,
            shuffle: Shuffle::new(data.train.count, SEED),
            batches: batch_count(data.train.count, BATCH_SIZE),
            batch: 0,
        })
    }
}

impl Gradients for Digits {
    fn name(&self) -> &'static str {
        "digits"
    }

    fn shapes(&self) -> Vec<Vec<usize>> {
        let layout = self.network.optimizer().layout();
        let shapes = layout
            .tensors()
            .filter_map(|tensor| layout.shape(tensor).ok());
        shapes.map(<[usize]>::to_vec).collect()
    }

    fn next(&mut self) -> Result<Vec<Vec<f32>>> {
        if self.batch == 0 {
            self.network.start_epoch(self.shuffle.next_epoch())?;
        }
        self.network.backward(self.batch)?;
        self.batch = (self.batch + 1) % self.batches;
        let optimizer = self.network.optimizer();
        let grads = optimizer
            .layout()
            .tensors()
            .map(|tensor| optimizer.grad(tensor));
        let grads = grads
            .map(|grad| Ok(grad?.to_vec()))
            .collect::<Result<_>>()?;
        self.network.update(1.0)?;
        Ok(grads)
    }
}

/// Those of an embedding as a text would leave them: a step has some of its rows, by Zipf's law. Rows
/// differ in scale by a log-normal factor, and their entries are of Student's t with three degrees of
/// freedom.
struct Rows {
    random: ChaCha8Rng,
    /// By a row's rank, from the most frequent on: its place and its scale.
    rows: Vec<(usize, f64)>,
    /// By rank, the part of all draws that go to this row or one before it.
    cumulative: Vec<f64>,
}

const ROWS: usize = 1024;
const COLUMNS: usize = 32;
const ROWS_OF_A_STEP: usize = 41;
/// Standard deviation of the logarithm of a row's scale.
const SPREAD: f64 = 1.5;
const SCALE: f64 = 1e-3;

impl Rows {
    fn new() -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(SEED);
        let mut places: Vec<usize> = (0..ROWS).collect();
        places.shuffle(&mut random);
        let scale = |place| (place, SCALE * (SPREAD * normal(&mut random)).exp());
        let rows = places.into_iter().map(scale).collect();
        let mut sum = 0.0;
        let sums = (1..=ROWS).map(|rank| {
            sum += 1.0 / rank as f64;
            sum
        });
        let sums: Vec<f64> = sums.collect();
        Self {
            random,
            rows,
            cumulative: sums.iter().map(|part| part / sum).collect(),
        }
    }
}

impl Gradients for Rows {
    fn name(&self) -> &'static str {
        "rows"
    }

    fn shapes(&self) -> Vec<Vec<usize>> {
        vec![vec![ROWS, COLUMNS]]
    }

    fn next(&mut self) -> Result<Vec<Vec<f32>>> {
        let mut grad = vec![0.0; ROWS * COLUMNS];
        for _ in 0..ROWS_OF_A_STEP {
            let drawn: f64 = self.random.random();
            let rank = self.cumulative.partition_point(|part| *part < drawn);
            let (place, scale) = self.rows[rank.min(ROWS - 1)];
            for entry in &mut grad[COLUMNS * place..][..COLUMNS] {
                *entry += (scale * student(&mut self.random)) as f32;
            }
        }
        Ok(vec![grad])
    }
}

/// A standard normal number, by Box and Muller.
fn normal(random: &mut ChaCha8Rng) -> f64 {
    let (radius, angle): (f64, f64) = (random.random(), random.random());
    (-2.0 * (1.0 - radius).ln()).sqrt() * (TAU * angle).cos()
}

/// Of Student's t with three degrees of freedom.
fn student(random: &mut ChaCha8Rng) -> f64 {
    let of_three: f64 = (0..3).map(|_| normal(random).powi(2)).sum();
    normal(random) / (of_three / 3.0).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gradients_have_their_shapes_and_are_the_same_again() {
        for (one, other) in all().unwrap().iter_mut().zip(&mut all().unwrap()) {
            let counts: Vec<usize> = one.shapes().iter().map(|of| of.iter().product()).collect();
            let mut before = Vec::new();
            for _ in 0..3 {
                let grads = one.next().unwrap();
                assert!(grads.iter().map(Vec::len).eq(counts.iter().copied()));
                assert_eq!(grads, other.next().unwrap());
                assert!(grads != before && grads.iter().flatten().any(|g| *g != 0.0));
                before = grads;
            }
        }
    }

    #[test]
    fn the_network_learns_so_that_its_gradients_shrink() {
        let mut digits = Digits::new().unwrap();
        let mut mean_size = || {
            let sizes = (0..45).map(|_| {
                let grads = digits.next().unwrap();
                grads
                    .iter()
                    .flatten()
                    .map(|g| f64::from(g.abs()))
                    .sum::<f64>()
            });
            sizes.sum::<f64>()
        };
        let first = mean_size();
        let last = (0..10).map(|_| mean_size()).last().unwrap();
        assert!(last < 0.3 * first, "{first} {last}");
    }

    #[test]
    fn rows_come_by_zipfs_law_with_heavy_tails() {
        let mut rows = Rows::new();
        let most_frequent = rows.rows[0].0;
        let (mut seen, mut of_most_frequent) = (0, 0);
        for _ in 0..200 {
            let grads = rows.next().unwrap();
            let is_there = |row: &&[f32]| row.iter().any(|g| *g != 0.0);
            let chunks = grads[0].chunks(COLUMNS);
            seen += chunks.clone().filter(is_there).count();
            of_most_frequent += chunks.skip(most_frequent).take(1).filter(is_there).count();
        }
        // Some are drawn twice. The first rank has 1 / 7.5 of the draws, so it is nearly always there.
        assert!((20 * 200..41 * 200).contains(&seen), "{seen}");
        assert!(of_most_frequent > 190, "{of_most_frequent}");
        // The variance of t is 3, and one in 20 lies beyond 3.18.
        let numbers: Vec<f64> = (0..20_000).map(|_| student(&mut rows.random)).collect();
        let beyond = numbers.iter().filter(|t| t.abs() > 3.182).count();
        assert!((850..1150).contains(&beyond), "{beyond}");
    }
}
