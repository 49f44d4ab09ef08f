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
    use crate::arguments::Arguments;
    use crate::network::cpu::CpuNetwork;
    use crate::network::gpu::GpuNetwork;
    use crate::network::tests::gpu;

    struct Silent;

    impl Observer for Silent {
        fn advanced(&mut self, _: usize) {}
        fn finished(&mut self, _: &Epoch) -> Result<()> {
            Ok(())
        }
    }

    #[derive(Clone, Copy, Debug)]
    enum On {
        Cpu,
        Gpu,
    }

    /// The last test score of a training on the CPU twin.
    fn trained(line: &[&str]) -> Score {
        outcome(On::Cpu, line).test
    }

    fn outcome(on: On, line: &[&str]) -> Outcome {
        let arguments: Arguments = clap::Parser::parse_from([&["train"], line].concat());
        let rules = arguments.rules().unwrap();
        let data = arguments.data().unwrap();
        let plan = arguments.plan(&rules, data.train.count).unwrap();
        let options = arguments.around.options(&rules).unwrap();
        let architecture = arguments.architecture(&data).unwrap();
        let registered = architecture.register(rules, options).unwrap();
        let (batch_size, seed) = (plan.batch_size, plan.seed);
        let mut network: Box<dyn Network> = match on {
            On::Cpu => {
                Box::new(CpuNetwork::<f32>::new(registered, &data, batch_size, seed).unwrap())
            }
            On::Gpu => {
                Box::new(GpuNetwork::new(gpu(), registered, &data, batch_size, seed).unwrap())
            }
        };
        train(network.as_mut(), &plan, &mut Silent).unwrap()
    }

    #[test]
    fn every_rule_learns_the_digits_with_the_defaults_for_it() {
        // The network computes none of the Hessians that newton_dense takes.
        for name in wgpu_optim::rules::names().filter(|name| *name != "newton_dense") {
            let line = match name {
                // Its matrix products take their time on the CPU.
                "muon" => &["--matrices", name, "--hidden", "64", "--epochs", "10"][..],
                // It takes one step an epoch.
                "rprop" => &["--optimizer", name],
                // A third of the default, which is enough.
                _ => &["--optimizer", name, "--epochs", "10"],
            };
            let score = trained(line);
            assert!(score.accuracy >= 0.93, "{name}: {score:?}");
        }
    }

    #[test]
    fn matrices_and_the_rest_learn_with_rules_of_their_own() {
        let line = |matrices, rest| {
            let flags = ["--matrices", matrices, "--optimizer", rest];
            [&flags[..], &["--hidden", "64", "--epochs", "4"]].concat()
        };
        for (matrices, rest) in [
            ("muon", "adamw"),
            // Curvatures of one group alone, and parameters that it evaluates with.
            ("sophia", "schedulefree_sgd"),
            ("schedulefree_adamw", "newton"),
        ] {
            let line = line(matrices, rest);
            let [cpu, gpu] = [On::Cpu, On::Gpu].map(|on| outcome(on, &line).test);
            assert!(
                cpu.accuracy > 0.85 && (gpu.accuracy - cpu.accuracy).abs() < 0.02,
                "{line:?}: {gpu:?}, on the CPU {cpu:?}"
            );
        }
    }

    #[test]
    fn a_schedule_takes_both_learning_rates_down_alike() {
        let lrs = |line: &[&str]| {
            let line = [line, &["--hidden", "", "--epochs", "1"]].concat();
            let groups = outcome(On::Cpu, &line).stats.groups;
            groups.iter().map(|group| group.lr).collect::<Vec<_>>()
        };
        let mixed = [
            "--matrices",
            "muon",
            "--matrices-hyper",
            "lr=0.5",
            "--lr",
            "0.25",
        ];
        let scheduled = |flags: &[&'static str]| lrs(&[&mixed, flags].concat());
        assert_eq!(scheduled(&["--schedule", "constant"]), [0.25, 0.5]);
        let [rest, matrices] = scheduled(&["--floor", "0.125"])[..] else {
            panic!("two groups");
        };
        assert!((0.125..0.13).contains(&rest), "{rest}");
        assert!((matrices - 2.0 * rest).abs() < 1e-9, "{matrices}");
    }

    /// Trains with and without a NaN in every tenth step.
    fn check_poisoned(on: On, line: &[&str], steps: u64) {
        let clean = outcome(on, line);
        let poisoned = outcome(on, &[line, &["--poison", "10"]].concat());
        let stats = &poisoned.stats;
        assert_eq!((clean.stats.performed, clean.stats.skipped), (steps, 0));
        assert_eq!(stats.skipped, steps / 10, "{on:?}, {line:?}");
        assert_eq!(stats.performed, steps - steps / 10, "{on:?}, {line:?}");
        let (clean, poisoned) = (clean.test, poisoned.test);
        assert!(
            poisoned.loss != clean.loss && (poisoned.accuracy - clean.accuracy).abs() <= 0.01,
            "{on:?}, {line:?}: {poisoned:?} instead of {clean:?}"
        );
    }

    #[test]
    fn a_nan_in_every_tenth_step_costs_no_more_than_one_percent() {
        let small = |flags: &[&'static str]| [&["--hidden", "64"], flags].concat();
        check_poisoned(On::Cpu, &small(&["--epochs", "20"]), 20 * 46);
        // 460 batches, of which no epoch has a whole number of steps.
        let flags = ["--epochs", "10", "--clip-norm", "1", "--accumulate", "4"];
        check_poisoned(On::Cpu, &small(&flags), 115);
        check_poisoned(On::Gpu, &small(&["--epochs", "4"]), 4 * 46);
    }

    #[test]
    fn the_first_step_has_a_time() {
        let small = ["--hidden", "", "--epochs", "1"];
        for on in [On::Cpu, On::Gpu] {
            let before = Instant::now();
            let first = outcome(on, &small).first_step;
            assert!(first.is_some_and(|first| first > before), "{on:?}");
        }
    }

    #[test]
    fn an_average_over_many_steps_scores_differently() {
        let raw = trained(&["--epochs", "3", "--schedule", "constant"]);
        let averaged = trained(&["--epochs", "3", "--schedule", "constant", "--ema", "0.99"]);
        assert!(averaged.accuracy > 0.8, "{averaged:?}");
        assert_ne!(averaged, raw);
    }

    #[test]
    fn linear_regression_ends_at_the_noise_of_its_data() {
        let score = trained(&[
            "--data",
            "synthetic-regression",
            "--hidden",
            "",
            "--lr",
            "0.03",
            "--epochs",
            "20",
        ]);
        assert!((0.003..0.0037).contains(&score.loss), "{score:?}");
    }

    #[test]
    fn the_spirals_need_a_hidden_layer() {
        let score = |hidden| {
            trained(&[
                "--data",
                "synthetic-classification",
                "--hidden",
                hidden,
                "--lr",
                "0.01",
            ])
        };
        assert!(score("").accuracy < 0.7);
        assert!(score("64,64").accuracy > 0.95);
    }

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
