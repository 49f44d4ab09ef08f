//! Checkpoints: what is saved and loaded goes on as if nothing had happened.

mod support;

use std::{path::Path, process::Command};

use support::{
    saved::{Folder, bytes, bytes_of, loaded, stepped, take},
    *,
};
use wgpu_optim::{
    Average, BufferRange, Buffers, Checkpoint, Clip, Error, Extent, Format, Formats, Gpu, Layout,
    LossScale, Optimizer, Options, Precision, Save, Slot, cpu,
    rules::{self, AdamW, Lion, ScheduleFreeSgd},
    wgpu,
};

/// Steps before the checkpoint, and after it.
const HALF: usize = 100;

/// A rule with options, over 2 · [`HALF`] steps at rates that fall.
struct Case {
    variant: Variant,
    options: Options,
    state: Format,
    label: String,
}

impl Case {
    /// One case for each set of slots that a rule can have, and for each rule one with all options, in
    /// each format that its state may have.
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
                    let may_be_rounded = |slot: &Slot| {
                        let is_moment = slot.extent == Extent::Element && !slot.input;
                        slot.used && is_moment && slot.precision != Precision::Exact
                    };
                    let formats = match variant.make().slots().iter().any(may_be_rounded) {
                        true => Formats::STATE,
                        false => &[Format::F32],
                    };
                    cases.extend(formats.iter().map(|&state| Self {
                        variant: variant.clone(),
                        state,
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
                        label: format!("{label}, all options, {state}"),
                    }));
                }
                seen.push(used);
                cases.push(Self {
                    variant,
                    options: Options::default(),
                    state: Format::F32,
                    label,
                });
            }
        }
        cases
    }

    fn problem(&self) -> Problem {
        let formats = Formats {
            state: self.state,
            sensitive: match self.state {
                Format::Bf16 => Format::Bf16,
                _ => Format::F32,
            },
            seed: 5,
            ..Formats::default()
        };
        let sizes = &[70, 12, 1];
        let rule = self.variant.make();
        let mut problem = Problem::with_formats(rule, formats, sizes, 2 * HALF).unwrap();
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

/// Every rule with all options: from the device to the twin and back, and from arenas to ranges.
#[test]
fn a_file_does_not_know_where_it_came_from() {
    for case in Case::all().into_iter().filter(|case| case.options.skips()) {
        let problem = case.problem();
        let mut optimizer = case.optimizer(&problem);
        take(&mut optimizer, &problem, 0..10);
        let from_arenas = bytes(&optimizer);
        let checkpoint = Checkpoint::from_bytes(from_arenas.clone()).unwrap();

        let mut twin =
            cpu::Optimizer::<f32>::with_options(&problem.layout, case.options.clone()).unwrap();
        twin.load(&checkpoint).unwrap();
        let from_twin = twin.save_bytes(&Save::default()).unwrap();
        assert!(from_twin == from_arenas, "{}: twin", case.label);

        let mut wide =
            cpu::Optimizer::<f64>::with_options(&problem.layout, case.options.clone()).unwrap();
        wide.load(&checkpoint).unwrap();
        for tensor in problem.layout.tensors() {
            for slot in slots_of(&problem.layout, tensor) {
                let narrow = twin.state(tensor, slot).unwrap();
                let widened: Vec<_> = narrow.iter().map(|&value| f64::from(value)).collect();
                assert_eq!(wide.state(tensor, slot).unwrap(), widened, "{}", case.label);
            }
        }
        let wide = Checkpoint::from_bytes(wide.save_bytes(&Save::default()).unwrap()).unwrap();
        let refused = optimizer.load(&gpu().queue, &wide).unwrap_err().to_string();
        assert!(
            refused.contains("F32") && refused.contains("F64"),
            "{refused}"
        );

        let ranges = |gap: u64| {
            let mut end = 0;
            let places = problem.params.iter().map(|values| {
                let (offset, size) = (end + gap, 4 * values.len() as u64);
                end = offset + size;
                (offset, size)
            });
            let places: Vec<_> = places.collect();
            let buffer = buffer(end + gap);
            let range = |(offset, size)| BufferRange {
                buffer: buffer.clone(),
                offset,
                size,
            };
            places.into_iter().map(range).collect::<Vec<_>>()
        };
        let buffers = Buffers {
            params: ranges(4),
            grads: Some(ranges(1000)),
            ..Default::default()
        };
        let over = problem.over(buffers, case.options.clone());
        let over = loaded(over, &bytes_of(&twin));
        assert!(bytes(&over) == from_arenas, "{}: ranges", case.label);
    }
}

#[test]
fn later_steps_of_the_same_encoder_do_not_show_in_the_copy() {
    let (problem, mut optimizer) = stepped(AdamW::default(), Options::default());
    let Gpu { device, queue, .. } = gpu();
    problem.write_step(&mut optimizer, 4);
    let mut encoder = device.create_command_encoder(&Default::default());
    optimizer.step(&mut encoder).unwrap();
    let saving = optimizer.save(&mut encoder, &Save::default()).unwrap();
    optimizer.step(&mut encoder).unwrap();
    optimizer.set_lr(only_group(&problem.layout), 7.0).unwrap();
    queue.submit([encoder.finish()]);
    submit(|encoder| optimizer.step(encoder).unwrap());
    let saved = saving.bytes_blocking(queue).unwrap();

    let (problem, mut alone) = stepped(AdamW::default(), Options::default());
    take(&mut alone, &problem, 4..5);
    assert!(saved == bytes(&alone));
    // The same through the asynchronous form.
    let mut encoder = device.create_command_encoder(&Default::default());
    let saving = alone.save(&mut encoder, &Save::default()).unwrap();
    queue.submit([encoder.finish()]);
    let waited = std::sync::atomic::AtomicBool::new(false);
    let awaited = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !waited.load(std::sync::atomic::Ordering::Relaxed) {
                device.poll(wgpu::PollType::Poll).unwrap();
                std::thread::yield_now();
            }
        });
        let bytes = pollster::block_on(saving.bytes(queue));
        waited.store(true, std::sync::atomic::Ordering::Relaxed);
        bytes.unwrap()
    });
    assert!(awaited == saved);
}

#[test]
fn a_copy_that_was_not_submitted_is_no_checkpoint() {
    let (_, optimizer) = stepped(AdamW::default(), Options::default());
    let Gpu { device, queue, .. } = gpu();
    let mut encoder = device.create_command_encoder(&Default::default());
    let saving = optimizer.save(&mut encoder, &Save::default()).unwrap();
    drop(encoder);
    let folder = Folder::new("dropped");
    let path = folder.file("run.safetensors");
    let refused = saving.write_blocking(queue, &path).unwrap_err().to_string();
    assert!(refused.contains("dropped, not submitted"), "{refused}");
    assert_eq!(std::fs::read_dir(&folder.0).unwrap().count(), 0);
}

#[test]
fn parameters_to_evaluate_with_are_saved_as_such() {
    for average in [false, true] {
        let options = Options {
            average: average.then_some(Average {
                decay: 0.9,
                debias: false,
            }),
            ..Options::default()
        };
        let start = || match average {
            true => stepped(Lion::default(), options.clone()),
            false => stepped(ScheduleFreeSgd::default(), options.clone()),
        };
        let (problem, mut optimizer) = start();
        submit(|encoder| optimizer.evaluate(encoder).unwrap());
        let saved = bytes(&optimizer);
        let mut resumed = loaded(problem.in_arena(options.clone()), &saved);
        let refused = resumed.step(&mut gpu().device.create_command_encoder(&Default::default()));
        assert_eq!(refused, Err(Error::Evaluating));
        for optimizer in [&mut resumed, &mut optimizer] {
            submit(|encoder| optimizer.train(encoder).unwrap());
            take(optimizer, &problem, 4..8);
        }
        assert!(bytes(&resumed) == bytes(&optimizer));
    }
}

#[test]
fn the_rate_is_the_checkpoint_s_and_so_are_the_caller_s_own_texts() {
    let (problem, mut optimizer) = stepped(AdamW::default(), Options::default());
    let group = only_group(&problem.layout);
    optimizer.set_lr(group, 0.125).unwrap();
    optimizer.set_frozen(group, true).unwrap();
    let user = [("epoch", "7"), ("odd \"name\"\n", "\u{1F600}\0")];
    let user = user.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let save = Save {
        params: false,
        user: user.clone().into(),
    };
    let saved = optimizer.save_bytes_blocking(&gpu().queue, &save).unwrap();
    let checkpoint = Checkpoint::from_bytes(saved).unwrap();
    assert_eq!(checkpoint.user(), &user.into());
    let mut names: Vec<_> = checkpoint.names().collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "state.fc.bias.exp_avg",
            "state.fc.bias.exp_avg_sq",
            "state.fc.bias.step",
            "state.fc.weight.exp_avg",
            "state.fc.weight.exp_avg_sq",
            "state.fc.weight.step",
        ]
    );
    let mut layout = Layout::new();
    let group = layout
        .group(AdamW {
            lr: 3.0,
            ..AdamW::default()
        })
        .unwrap();
    layout.tensor(group, "fc.weight", &[6, 5]).unwrap();
    layout.tensor(group, "fc.bias", &[6]).unwrap();
    let mut resumed = Optimizer::new(&gpu().device, &layout, Options::default()).unwrap();
    resumed.load(&gpu().queue, &checkpoint).unwrap();
    assert_eq!(resumed.lr(group), Ok(0.125));
    assert_eq!(resumed.step_count(group), Ok(4));
    submit(|encoder| resumed.step(encoder).unwrap());
    assert_eq!(resumed.step_count(group), Ok(4), "the group is frozen");
    let none = resumed.load_params(&gpu().queue, &checkpoint).unwrap_err();
    assert!(none.to_string().contains("model.fc.weight"), "{none}");
}
