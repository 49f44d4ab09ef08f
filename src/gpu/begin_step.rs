//! Brings a step's numbers to the device: the host side of `shaders/begin_step.wgsl`.

use std::sync::Arc;

use super::{
    answers::GuardedDevice,
    binding::{COEFFICIENTS, RECORDED, STATS, STEPS, filled_buffer, whole, zeroed_buffer},
    records::{COEFFICIENTS_BYTES, GroupStatsRecord, Guard, Recorded, STEP_STRIDE, StatsRecord},
    source::ShaderSource,
    staging::Staging,
    unbound::Unbound,
};
use crate::{Error, Options, progress::RING, shader};

/// The shader and the buffers of `begin_step.wgsl`.
#[derive(Debug)]
pub(super) struct BeginStep {
    source: Arc<ShaderSource>,
    /// Brings a row per group to `recorded`.
    pub staging: Staging,
    pub recorded: wgpu::Buffer,
    ring: wgpu::Buffer,
    /// Rows of the ring for each group.
    pub ring_length: u64,
    /// WGSL's `Stats`.
    pub stats: wgpu::Buffer,
    /// One `Step` per group, [`STEP_STRIDE`] apart.
    pub steps: wgpu::Buffer,
    /// WGSL's `Guard`, if steps look at gradients.
    pub guard: Option<wgpu::Buffer>,
}

impl BeginStep {
    pub fn new(device: &GuardedDevice<'_>, lrs: &[f64], options: &Options) -> Result<Self, Error> {
        let groups = lrs.len() as u64;
        let limits = device.limits();
        let (allowed, limit) = match limits.max_storage_buffer_binding_size {
            binding if binding <= limits.max_buffer_size => {
                (binding, "max_storage_buffer_binding_size")
            }
            _ => (limits.max_buffer_size, "max_buffer_size"),
        };
        // As long as the device can bind it, in powers of two.
        let ring_of = |length| groups * length * COEFFICIENTS_BYTES;
        let mut length = RING;
        while length > 1 && ring_of(length) > allowed {
            length /= 2;
        }
        let ring_bytes = ring_of(length);
        if ring_bytes > allowed {
            return Err(Error::Limit {
                what: format!("{groups} parameter groups"),
                needed: ring_bytes,
                limit,
                allowed,
            });
        }
        let text = shader::begin_step(options.skips());
        let what = match options.skips() {
            true => {
                "beginning a step that looks at its gradients (Options::clip, loss_scale and \
                 skip_non_finite make it do so)"
            }
            false => "beginning a step",
        };
        let source = ShaderSource::described(text, "main", "begin_step", what);
        device.guarded("the buffers that begin a step", || {
            let storage = wgpu::BufferUsages::STORAGE;
            let buffer = |label, size, usage| zeroed_buffer(device, label, usage | storage, size);
            let row = size_of::<Recorded>() as u64;
            let recorded = buffer("recorded", groups * row, wgpu::BufferUsages::COPY_DST)?;
            let ring = buffer("ring", ring_bytes, wgpu::BufferUsages::empty())?;
            let steps = buffer(
                "steps",
                groups * STEP_STRIDE,
                wgpu::BufferUsages::UNIFORM
                    | wgpu::BufferUsages::COPY_SRC
                    | wgpu::BufferUsages::COPY_DST,
            )?;
            let totals = StatsRecord {
                loss_scale: options.loss_scale.map_or(1.0, |scale| scale.init_scale) as f32,
                clip_factor: 1.0,
                is_there: 1,
                ..StatsRecord::default()
            };
            let usage = storage | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
            let of_groups: Vec<_> = lrs
                .iter()
                .map(|&lr| GroupStatsRecord {
                    lr: lr as f32,
                    ..GroupStatsRecord::default()
                })
                .collect();
            let stats = [
                bytemuck::bytes_of(&totals),
                bytemuck::cast_slice(&of_groups),
            ];
            let stats = filled_buffer(device, "stats", usage, &stats.concat())?;
            let guard = options.skips().then(|| {
                let uniform = wgpu::BufferUsages::UNIFORM;
                let guard = Guard::of(options);
                filled_buffer(device, "guard", uniform, bytemuck::bytes_of(&guard))
            });
            let guard = guard.transpose()?;
            Ok(Self {
                source,
                staging: Staging::new(recorded.size()),
                recorded,
                ring,
                ring_length: length,
                stats,
                steps,
                guard,
            })
        })?
    }

    /// What every shader that begins a step binds.
    pub fn entries(&self) -> [wgpu::BindGroupEntry<'_>; 4] {
        [
            whole(RECORDED, &self.recorded),
            whole(COEFFICIENTS, &self.ring),
            whole(STATS, &self.stats),
            whole(STEPS, &self.steps),
        ]
    }

    /// The dispatch that computes a step's numbers. It binds, with a guard, `runs` of gradients and the `switches` of dispatches too.
    pub fn dispatch(&self, runs_and_switches: Option<(&wgpu::Buffer, &wgpu::Buffer)>) -> Unbound {
        let mut entries = self.entries().to_vec();
        if let (Some((runs, switches)), Some(guard)) = (runs_and_switches, &self.guard) {
            entries.extend([whole(6, runs), whole(7, switches), whole(8, guard)]);
        }
        let what = "the bindings that begin a step";
        Unbound::new(&self.source, what, "begin_step", &entries, [1, 1])
    }

    /// Copies `rows`, one per group, to the device when the encoder's commands run: each step
    /// brings its own numbers, however many are recorded before a submission. For `kept` see
    /// [`Staging::copy`].
    pub fn upload(
        &self,
        device: &wgpu::Device,
        encoder: &mut wgpu::CommandEncoder,
        rows: &[Recorded],
        kept: impl wgpu::WasmNotSend + 'static,
    ) -> Result<(), Error> {
        let bytes = bytemuck::cast_slice(rows);
        let target = &self.recorded;
        self.staging.copy(device, encoder, bytes, target, kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Average, BufferRange, Declaration, Gpu, GpuOptions,
        gpu::{
            answers::Answers, dispatch::Dispatch, owning::OwningDevice, records::Coefficients,
            unbound::bind_all,
        },
        progress::Progress,
        read_blocking,
        rules::Adam,
    };

    /// Records the steps of Adam one after another.
    struct Recorder {
        progress: Progress,
        before: Coefficients,
    }

    impl Recorder {
        fn new() -> Self {
            Self {
                progress: Progress::new(&Adam::default()),
                before: Coefficients::default(),
            }
        }

        /// The next step, at learning rate `lr`.
        fn next(&mut self, lr: f64) -> Recorded {
            let (rule, progress) = (Adam::default(), &mut self.progress);
            progress.set_lr(&rule, lr).unwrap();
            progress.refreshed = progress.step_count() % 2 == 1;
            let average = Some(Average {
                decay: 0.5,
                debias: true,
            });
            let options = Options {
                average,
                ..Default::default()
            };
            let step = progress.advance(&rule);
            let row = Recorded::new(step, &options, progress, self.before, Default::default());
            self.before = row.own;
            row
        }
    }

    struct Bench {
        gpu: Gpu,
        _device: Arc<OwningDevice>,
        begin: BeginStep,
        dispatch: Dispatch,
    }

    impl Bench {
        fn new() -> Self {
            let gpu = Gpu::open_blocking(&GpuOptions::default()).unwrap();
            let options = Options::default();
            let device = OwningDevice::new(&gpu.device);
            let answers = Answers::default();
            let begin = BeginStep::new(&answers.on(&device), &[0.5; 2], &options).unwrap();
            let mut bound = bind_all(&device, vec![begin.dispatch(None)]).unwrap();
            Self {
                gpu,
                _device: device,
                begin,
                dispatch: bound.remove(0),
            }
        }

        /// Runs all of `rows` in one submission and reads both groups' steps.
        fn run(&self, rows: impl IntoIterator<Item = [Recorded; 2]>) -> [Vec<f32>; 2] {
            let Gpu { device, queue, .. } = &self.gpu;
            let mut encoder = device.create_command_encoder(&Default::default());
            for rows in rows {
                self.begin.upload(device, &mut encoder, &rows, ()).unwrap();
                let mut pass = encoder.begin_compute_pass(&Default::default());
                self.dispatch.record(&mut pass);
            }
            queue.submit([encoder.finish()]);
            let range = BufferRange::whole(&self.begin.steps);
            let steps = read_blocking(device, queue, &range).unwrap();
            [steps[..12].to_vec(), steps[64..76].to_vec()]
        }
    }

    /// The words of a `Step` that was recorded as step `n`.
    fn expected(lr: f32, n: u64, t: u64) -> Vec<f32> {
        let at = Adam::default().at(t).map(|value| value as f32);
        let refreshed = if n.is_multiple_of(2) { 1.0 } else { 0.0 };
        let weight = crate::rule::pull(1.0 - 0.5 / (1.0 - 0.5f64.powf(t as f64)));
        let mut words = vec![lr, 0.0, 1.0, f32::from_bits(t as u32)];
        words.extend(at);
        words.extend([refreshed, weight as f32, 1.0, 0.0]);
        words
    }

    #[test]
    fn steps_that_are_all_performed_have_their_own_coefficients_beyond_the_ring_too() {
        let (bench, mut recorder) = (Bench::new(), Recorder::new());
        let last = RING + 52;
        let rows = (1..=last).map(|n| [recorder.next(1.0 / n as f64); 2]);
        let steps = bench.run(rows);
        let expected = expected(1.0 / last as f32, last, last);
        assert_eq!(steps, [expected.clone(), expected]);
    }

    #[test]
    fn a_dropped_step_is_made_up_for_by_the_next_with_its_own_learning_rate() {
        let (bench, mut recorder) = (Bench::new(), Recorder::new());
        let rows: Vec<_> = (1..=6)
            .map(|n| [recorder.next(1.0 / f64::from(n)); 2])
            .collect();
        let [step, _] = bench.run([rows[0], rows[1], rows[3]]);
        assert_eq!(step, expected(0.25, 4, 3));
        let [step, _] = bench.run([rows[5]]);
        assert_eq!(step, expected(1.0 / 6.0, 6, 4), "the fifth was dropped too");
    }

    #[test]
    fn the_first_performed_step_is_the_first_whatever_was_dropped_before() {
        let (bench, mut recorder) = (Bench::new(), Recorder::new());
        let rows: Vec<_> = (1..=9).map(|_| [recorder.next(0.5); 2]).collect();
        let [step, _] = bench.run([rows[8]]);
        assert_eq!(step[3].to_bits(), 1);
        // Only the last two of the nine came to the device.
        assert_eq!(step[4..8], expected(0.5, 9, 9)[4..8]);
    }

    #[test]
    fn a_step_count_that_is_set_anew_has_no_skipped_steps() {
        let (bench, mut recorder) = (Bench::new(), Recorder::new());
        let first = [recorder.next(0.5); 2];
        recorder.progress.set_step_count(50).unwrap();
        let rows = [first, [recorder.next(0.5); 2], [recorder.next(0.5); 2]];
        let [step, _] = bench.run(rows);
        assert_eq!(step, expected(0.5, 52, 52));
    }

    #[test]
    fn a_resting_group_keeps_its_numbers() {
        let (bench, mut recorder) = (Bench::new(), Recorder::new());
        let first = [recorder.next(0.5); 2];
        let second = recorder.next(0.25);
        let steps = bench.run([first, [second, Recorded::default()]]);
        assert_eq!((steps[0][0], steps[1][0]), (0.25, 0.5));
    }
}
