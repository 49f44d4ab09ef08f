//! Checkpoints: what is saved and loaded goes on as if nothing had happened.

mod support;

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use support::*;
use wgpu_optim::{Average, Checkpoint, Clip, Extent, LossScale, Optimizer, Options, Save, rules};

/// Steps before the checkpoint, and after it.
const HALF: usize = 100;

/// A folder of this test's own, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("wgpu-optim-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

/// A rule with options, over 2 · [`HALF`] steps at rates that fall.
struct Case {
    variant: Variant,
    options: Options,
    label: String,
}

impl Case {
    /// One case for each set of slots that a rule can have, and for each rule one with all options.
    fn all() -> Vec<Self> {
        let mut cases = Vec::new();
        for name in rules::names() {
            let mut seen: Vec<Vec<&str>> = Vec::new();
            for variant in Variant::all_of(name) {
                let slots = variant.make().slots().into_iter();
                let used: Vec<_> = slots
                    .filter(|slot| slot.used)
                    .map(|slot| slot.name)
                    .collect();
                if seen.contains(&used) {
                    continue;
                }
                let label = format!("{name} {}", variant.label());
                if seen.is_empty() {
                    let averages = !variant.make().evaluates_elsewhere();
                    cases.push(Self {
                        variant: variant.clone(),
                        options: Options {
                            clip: Clip::GlobalNorm(5.0),
                            loss_scale: Some(LossScale {
                                init_scale: 4.0,
                                growth_interval: 30,
                                ..LossScale::default()
                            }),
                            average: averages.then_some(Average {
                                decay: 0.9,
                                debias: true,
                            }),
                            ..Options::default()
                        },
                        label: format!("{label}, all options"),
                    });
                }
                seen.push(used);
                cases.push(Self {
                    variant,
                    options: Options::default(),
                    label,
                });
            }
        }
        cases
    }

    fn problem(&self) -> Problem {
        let mut problem = Problem::of_sizes(self.variant.make(), &[70, 12, 1], 2 * HALF);
        let lr = self.variant.make().lr();
        // Coefficients that depend on the rate take that of an earlier step once steps were skipped.
        let slots = self.variant.make().slots().into_iter();
        let of_group = slots.filter(|slot| slot.extent == Extent::Group).count();
        let falls = of_group == 0 || !self.options.skips();
        problem.rates = (0..2 * HALF)
            .filter(|_| falls)
            .map(|step| lr / (1.0 + step as f64 / 50.0))
            .collect();
        if self.options.skips() {
            for step in [3, 50, HALF - 1, HALF + 30] {
                problem.grads[step][1][2] = f32::INFINITY;
            }
        }
        problem
    }

    fn optimizer(&self, problem: &Problem) -> Optimizer {
        let mut optimizer = problem.in_arena(self.options.clone());
        problem.write_params(&mut optimizer);
        optimizer
    }
}

fn take(optimizer: &mut Optimizer, problem: &Problem, steps: std::ops::Range<usize>) {
    for step in steps {
        problem.write_step(optimizer, step);
        submit(|encoder| optimizer.step(encoder).unwrap());
    }
}

fn bytes(optimizer: &Optimizer) -> Vec<u8> {
    optimizer
        .save_bytes_blocking(&gpu().queue, &Save::default())
        .unwrap()
}

/// Set in the second process: where the first one has left its files.
const FOLDER: &str = "WGPU_OPTIM_CHECKPOINTS";

/// Every rule with every set of slots: half of the steps, a checkpoint, a new process and the other
/// half are the same to the last bit as all steps in one go. A start with the parameters alone is not.
#[test]
fn a_new_process_goes_on_to_the_bit() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        return second_half(Path::new(&folder));
    }
    let folder = Folder::new("new-process");
    let mut expected = Vec::new();
    for (index, case) in Case::all().iter().enumerate() {
        let problem = case.problem();
        let mut optimizer = case.optimizer(&problem);
        take(&mut optimizer, &problem, 0..HALF);
        let path = folder.file(&format!("{index}"));
        optimizer
            .save_blocking(&gpu().queue, &path, &Save::default())
            .unwrap();
        take(&mut optimizer, &problem, HALF..2 * HALF);
        expected.push(bytes(&optimizer));
    }
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_new_process_goes_on_to_the_bit"])
        .env(FOLDER, &folder.0)
        .output()
        .unwrap();
    assert!(child.status.success(), "{child:?}");
    let mut cold_starts = 0;
    for (index, case) in Case::all().iter().enumerate() {
        let read = |what: &str| std::fs::read(folder.file(&format!("{index}{what}"))).unwrap();
        assert!(read(".warm") == expected[index], "{}", case.label);
        let keeps =
            !state_slots(&*case.variant.make()).is_empty() || case.options.average.is_some();
        if keeps {
            cold_starts += 1;
            assert!(
                read(".cold") != expected[index],
                "{}: a cold start",
                case.label
            );
        }
    }
    assert!(cold_starts > 40, "{cold_starts}");
}

fn second_half(folder: &Path) {
    for (index, case) in Case::all().iter().enumerate() {
        let checkpoint = Checkpoint::open(folder.join(format!("{index}"))).unwrap();
        let problem = case.problem();
        let queue = &gpu().queue;
        let mut warm = case.optimizer(&problem);
        warm.load(queue, &checkpoint).unwrap();
        let mut cold = case.optimizer(&problem);
        cold.load_params(queue, &checkpoint).unwrap();
        for (optimizer, what) in [(&mut warm, "warm"), (&mut cold, "cold")] {
            take(optimizer, &problem, HALF..2 * HALF);
            std::fs::write(folder.join(format!("{index}.{what}")), bytes(optimizer)).unwrap();
        }
    }
}
