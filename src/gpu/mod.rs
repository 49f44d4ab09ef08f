//! The optimizer on a GPU: the host side of its shaders.

mod answers;
mod arrival;
mod begin_step;
mod binding;
mod buffers;
mod bytes;
mod checkpoint;
mod control;
mod copies;
mod device;
mod dispatch;
mod grad_stats;
mod group;
mod limits;
mod lines;
mod matrix;
#[cfg(not(target_family = "wasm"))]
mod needs;
mod owning;
mod packing;
mod phases;
mod pipelines;
mod planning;
mod ranges;
mod records;
mod recount;
mod setup;
mod snapshot;
mod source;
mod staging;
mod step;
mod submission;
mod sums;
mod tensors;
#[cfg(test)]
mod tests;
mod transfer;
mod unbound;
mod waiting;

use std::{fmt, sync::Arc};

use answers::Answers;
use begin_step::BeginStep;
use dispatch::Dispatch;
use limits::{ARENA_USAGE, check_buffer_size};
use owning::OwningDevice;
use pipelines::Pipelines;
use planning::{Plan, Planner};
use records::{Coefficients, Recorded};
use recount::upload_counts;
use setup::Setup;
use step::{ParamPasses, PlannedStep, compute_pass};
use unbound::Unbound;
use waiting::Waiting;

pub use buffers::Buffers;
pub use checkpoint::Saving;
pub use device::{Gpu, GpuOptions, required_limits};
pub use snapshot::Snapshot;

use crate::{
    BufferRange, Error, Layout, Options,
    buffer::{is_lost, is_reported_lost},
    format::{Encoding, Storage},
    progress::{Past, Progress, REMEMBERED},
};

/// Keeps the state of a [`Layout`] on the GPU and records its steps.
///
/// It records into the caller's encoder. It submits nothing and holds no queue. A step whose encoder
/// is dropped is not performed: the next one takes its number, and what goes with that.
///
/// Dropping an optimizer destroys the buffers that it made, except those of which it gave you ranges
/// ([`param`](Self::param), [`grad`](Self::grad), [`state`](Self::state), [`param_copy`](Self::param_copy),
/// [`loss_scale`](Self::loss_scale)).
/// What is recorded may still be submitted: the buffers last until then.
///
/// ```
/// use wgpu_optim::{Gpu, GpuOptions, Layout, Optimizer, Options, rules::AdamW};
///
/// let Gpu { device, queue, .. } = Gpu::open_blocking(&GpuOptions::default())?; // or your own
///
/// let mut layout = Layout::new();
/// let group = layout.group(AdamW::default())?;
/// let weight = layout.tensor(group, "weight", &[2, 2])?;
/// let mut optimizer = Optimizer::new(&device, &layout, Options::default())?;
/// optimizer.write_param(&queue, weight, &[1.0, 2.0, 3.0, 4.0])?;
///
/// let mut encoder = device.create_command_encoder(&Default::default());
/// optimizer.write_grad(&queue, weight, &[1.0, -1.0, 0.5, 0.0])?; // or your backward pass
/// optimizer.step(&mut encoder)?;
/// queue.submit([encoder.finish()]);
///
/// let updated = optimizer.read_param_blocking(&queue, weight)?;
/// assert!(updated[0] < 1.0 && updated[1] > 2.0 - 1e-3);
/// # Ok::<(), wgpu_optim::Error>(())
/// ```
pub struct Optimizer {
    setup: Setup,
    pipelines: Pipelines,
    /// Counts the recorded steps of each group.
    progress: Vec<Progress>,
    /// What groups kept once per group before their last steps.
    past: Vec<Past>,
    /// What the last recorded step of each group brought.
    recorded: Vec<Coefficients>,
    /// What skipped steps leave for those after them, if steps may be skipped.
    waiting: Option<Waiting>,
    /// Owns the arenas, if this optimizer has some, and what `planned` and `passes` read.
    bound: Arc<OwningDevice>,
    params: Vec<BufferRange>,
    grads: Option<Vec<BufferRange>>,
    /// Where a caller wants the copies of parameters, by tensor.
    copies: Vec<Option<BufferRange>>,
    /// The arena that holds `grads`, if this optimizer owns them.
    grad_arena: Option<wgpu::Buffer>,
    /// The step over `params` and `grads`, if the gradients are known.
    planned: Option<PlannedStep>,
    /// Steps over gradients that were passed at a step. The latest is last.
    passed: Vec<(Vec<BufferRange>, PlannedStep)>,
    passes: ParamPasses,
    /// Whether the parameters are those to evaluate with.
    evaluating: bool,
}

impl fmt::Debug for Optimizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Optimizer")
            .field("layout", &self.setup.layout)
            .field("limits", &self.setup.limits)
            .finish_non_exhaustive()
    }
}

/// For how many sets of passed gradients the bind groups are kept. Two suffice for buffers that
/// take turns. A caller that allocates new gradients at each pass would have this many sets kept
/// alive.
const PASSED_KEPT: usize = 2;

#[cfg(not(target_family = "wasm"))]
impl Optimizer {
    /// An optimizer that owns its parameters and gradients. Each lies in one buffer, zero at the
    /// start.
    ///
    /// # Errors
    /// [`Error::EmptyLayout`]; [`Error::Limit`] if the device's limits are too low;
    /// [`Error::Shader`] if a user's rule does not compile; [`Error::OutOfMemory`];
    /// [`Error::DeviceLost`].
    pub fn new(device: &wgpu::Device, layout: &Layout, options: Options) -> Result<Self, Error> {
        pollster::block_on(Self::new_async(device, layout, options))
    }

    /// An optimizer over the caller's buffers. It owns only its state.
    ///
    /// Parameters and gradients may lie at any 4-byte offset. At 16-byte offsets they move four at
    /// a time, which is faster. [Copies](Buffers::copies) of parameters may lie in your buffers too.
    ///
    /// # Errors
    /// As [`new`](Self::new). Also [`Error::BufferRange`] or [`Error::Length`] if a range does not
    /// fit its tensor, overlaps another or lacks a usage; [`Error::OtherDevice`] if its buffer is of
    /// another device.
    pub fn over(
        device: &wgpu::Device,
        layout: &Layout,
        buffers: Buffers,
        options: Options,
    ) -> Result<Self, Error> {
        pollster::block_on(Self::over_async(device, layout, buffers, options))
    }

    /// Continues over other buffers with the same state, for instance after you reallocated them. What lies
    /// in copies of parameters is old until [`copy_params`](Self::copy_params) or the next step.
    ///
    /// # Errors
    /// As [`over`](Self::over). The optimizer stays as it was.
    pub fn rebind(&mut self, buffers: Buffers) -> Result<(), Error> {
        pollster::block_on(self.rebind_async(buffers))
    }
}

impl Optimizer {
    /// [`new`](Optimizer::new), for the web.
    pub async fn new_async(
        device: &wgpu::Device,
        layout: &Layout,
        options: Options,
    ) -> Result<Self, Error> {
        // First, because tables of elements that fit no buffer might fit no memory either.
        let whole = layout.arena();
        let bytes = |encoding: fn(&Storage) -> Encoding| {
            let starts = layout.arena_starts(&whole, encoding);
            starts.last().copied().unwrap_or(0)
        };
        let [of_params, of_grads] = [
            bytes(|storage| storage.params),
            bytes(|storage| storage.grads),
        ];
        check_buffer_size(device, "the arena of parameters", of_params)?;
        check_buffer_size(device, "the arena of gradients", of_grads)?;
        let answers = Answers::default();
        let planned = Self::over_arenas(device, &answers, layout, options, [of_params, of_grads]);
        let (mut optimizer, plan) = answers.heard(planned).await?;
        let plan = plan.bind(&optimizer.bound, &mut optimizer.pipelines);
        let Plan { step, passes } = plan.await?;
        optimizer.planned = step;
        optimizer.passes = passes;
        Ok(optimizer)
    }

    /// An optimizer over arenas of these sizes, and its plan.
    fn over_arenas(
        device: &wgpu::Device,
        answers: &Answers,
        layout: &Layout,
        options: Options,
        [of_params, of_grads]: [u64; 2],
    ) -> Result<(Self, Plan<Unbound>), Error> {
        let owning = OwningDevice::new(device);
        let bound = OwningDevice::beside(&owning);
        let arena = |label, size| {
            bound.create_buffer(&wgpu::BufferDescriptor {
                label: Some(label),
                size,
                usage: ARENA_USAGE,
                mapped_at_creation: false,
            })
        };
        let guarded = answers.on(&bound);
        let what = "the arenas of parameters and gradients";
        let [params, grads] = guarded.guarded(what, || {
            [arena("params", of_params), arena("grads", of_grads)]
        })?;
        let mut optimizer = Self::without_buffers(&owning, answers, layout, options)?;
        let copies = optimizer.setup.own_copies(&answers.on(&owning))?;
        optimizer.setup.keep_copies(copies);
        let setup = &optimizer.setup;
        setup.check_bindings(false)?;
        let mut planner = Planner::new(setup, &mut optimizer.pipelines, &bound, answers);
        let plan = planner.over_arenas(&params, &grads)?;
        optimizer.params = setup.arena_ranges(&params, |storage| storage.params);
        optimizer.grads = Some(setup.arena_ranges(&grads, |storage| storage.grads));
        optimizer.grad_arena = Some(grads);
        optimizer.bound = bound;
        Ok((optimizer, plan))
    }

    /// [`over`](Optimizer::over), for the web.
    pub async fn over_async(
        device: &wgpu::Device,
        layout: &Layout,
        buffers: Buffers,
        options: Options,
    ) -> Result<Self, Error> {
        // First, because tables of elements that fit no buffer might fit no memory either.
        ranges::check_params(layout, &buffers.params)?;
        let owning = OwningDevice::new(device);
        let answers = Answers::default();
        let made = Self::without_buffers(&owning, &answers, layout, options);
        let mut optimizer = answers.heard(made).await?;
        optimizer.rebind_async(buffers).await?;
        Ok(optimizer)
    }

    /// [`rebind`](Optimizer::rebind), for the web.
    pub async fn rebind_async(&mut self, buffers: Buffers) -> Result<(), Error> {
        let Buffers {
            params,
            grads,
            copies,
        } = buffers;
        let are_copies_own = copies.is_none();
        let Setup { device, layout, .. } = &self.setup;
        self.setup.check_bindings(true)?;
        ranges::check_params(layout, &params)?;
        ranges::check_owners(device, layout.tensors.iter().zip(&params), "parameter")?;
        let copies = ranges::checked_copies(device, layout, &params, copies)?;
        if are_copies_own {
            let answers = Answers::default();
            let made = self.setup.own_copies(&answers.on(device));
            let made = answers.heard(made).await?;
            self.setup.keep_copies(made);
        }
        let bound = OwningDevice::beside(&self.setup.device);
        let answers = Answers::default();
        let mut planner = Planner::new(&self.setup, &mut self.pipelines, &bound, &answers);
        let plan = planner.over(&params, grads.as_deref(), &copies);
        let plan = answers.heard(plan).await?;
        let Plan { step, passes } = plan.bind(&bound, &mut self.pipelines).await?;
        self.passes = passes;
        self.bound = bound;
        self.planned = step;
        self.params = params;
        self.grads = grads;
        self.copies = copies;
        self.grad_arena = None;
        self.passed.clear();
        Ok(())
    }

    /// Records one update of all groups that are not frozen. It uses the gradients that the
    /// encoder's earlier commands leave. Call it once per step; several steps may go into one
    /// encoder.
    ///
    /// The numbers of a step come to the device in a small buffer, of 256 bytes at the most for each group,
    /// which comes back once the device has run the step. In a browser it comes back only to a program that
    /// awaits. A loop that records and submits without awaiting makes such a buffer for each step, but no
    /// more than 64 stay: others are destroyed when their steps are submitted.
    ///
    /// # Errors
    /// [`Error::NoGradients`] if this optimizer expects gradients at each step;
    /// [`Error::Evaluating`] after [`evaluate`](Self::evaluate); [`Error::OutOfMemory`];
    /// [`Error::DeviceLost`], which may show only after the next submission or poll. Nothing is
    /// recorded then.
    pub fn step(&mut self, encoder: &mut wgpu::CommandEncoder) -> Result<(), Error> {
        let planned = self.planned.as_ref().ok_or(Error::NoGradients)?;
        let kept = planned.device.clone();
        self.begin_step(encoder, kept)?;
        if let Some(planned) = &self.planned {
            self.record(encoder, planned);
        }
        Ok(())
    }

    /// [`step`](Self::step) with gradients in other buffers, for frameworks that allocate them anew
    /// at every backward pass. `grads` has one range per tensor, in the order in which the layout's
    /// tensors were added. The bind groups of the last two sets of ranges are kept. They keep the
    /// buffers alive.
    ///
    /// # Errors
    /// As [`step`](Self::step). Also [`Error::BufferRange`] or [`Error::Length`] for ranges that do
    /// not fit, and [`Error::OtherDevice`] for those of another device. In a browser,
    /// [`Error::NotPrepared`] unless [`prepare`](Self::prepare) was just awaited for the same ranges.
    pub fn step_with(
        &mut self,
        encoder: &mut wgpu::CommandEncoder,
        grads: &[BufferRange],
    ) -> Result<(), Error> {
        #[cfg(not(target_family = "wasm"))]
        pollster::block_on(self.prepare(grads))?;
        let latest = self.passed.last().filter(|(latest, _)| latest == grads);
        let (_, planned) = latest.ok_or(Error::NotPrepared)?;
        let kept = planned.device.clone();
        self.begin_step(encoder, kept)?;
        if let Some((_, planned)) = self.passed.last() {
            self.record(encoder, planned);
        }
        Ok(())
    }

    /// Prepares [`step_with`](Self::step_with) for `grads`, if that has not been done yet.
    /// Natively, `step_with` does this itself. A browser compiles shaders asynchronously, so await
    /// this first there.
    ///
    /// # Errors
    /// [`Error::BufferRange`] or [`Error::Length`] for ranges that do not fit;
    /// [`Error::OtherDevice`] for those of another device.
    pub async fn prepare(&mut self, grads: &[BufferRange]) -> Result<(), Error> {
        let known = self.passed.iter().position(|(known, _)| known == grads);
        let entry = match known {
            Some(position) => self.passed.remove(position),
            None => {
                self.setup.check_bindings(true)?;
                let device = OwningDevice::beside(&self.bound);
                let answers = Answers::default();
                let mut planner = Planner::new(&self.setup, &mut self.pipelines, &device, &answers);
                let step = planner.over_ranges(&self.params, grads, &self.copies);
                let plan = Plan {
                    step: Some(answers.heard(step).await?),
                    passes: ParamPasses::default(),
                };
                let plan = plan.bind(&device, &mut self.pipelines).await?;
                (grads.to_vec(), plan.step.ok_or(Error::NotPrepared)?)
            }
        };
        if self.passed.len() == PASSED_KEPT {
            self.passed.remove(0);
        }
        self.passed.push(entry);
        Ok(())
    }

    /// Records zeros into all gradients, for backward passes that add to them.
    ///
    /// # Errors
    /// [`Error::NoGradients`]; [`Error::BufferRange`] if a caller's buffer lacks `COPY_DST`;
    /// [`Error::DeviceLost`].
    pub fn zero_grad(&self, encoder: &mut wgpu::CommandEncoder) -> Result<(), Error> {
        if let Some(arena) = &self.grad_arena {
            self.check_device("zeroing the gradients")?;
            self.kept_by(encoder)?;
            encoder.clear_buffer(arena, 0, None);
            return Ok(());
        }
        let grads = self.grads.as_ref().ok_or(Error::NoGradients)?;
        for (grad, tensor) in grads.iter().zip(&self.setup.layout.tensors) {
            grad.check(
                &format!("gradient of {:?}", tensor.name),
                wgpu::BufferUsages::COPY_DST,
            )?;
        }
        self.check_device("zeroing the gradients")?;
        for grad in grads {
            encoder.clear_buffer(&grad.buffer, grad.offset, Some(grad.size));
        }
        Ok(())
    }

    /// Records the change from the parameters to train with to those to evaluate with. The two
    /// differ if there is an [average](Options::average), or if a rule [evaluates
    /// elsewhere](crate::Declaration::evaluates_elsewhere). Call it before evaluating, and at the
    /// end of training. Parameters in fewer bits than f32 become the average rounded to the nearest, and
    /// [`train`](Self::train) restores both to the bit. Of what you write to parameters meanwhile, the average
    /// takes over the bits that they have.
    ///
    /// ```
    /// # use wgpu_optim::{Gpu, GpuOptions, Layout, Optimizer, Options, rules::ScheduleFreeSgd};
    /// # let Gpu { device, queue, .. } = Gpu::open_blocking(&GpuOptions::default())?;
    /// # let mut layout = Layout::new();
    /// # let group = layout.group(ScheduleFreeSgd::default())?;
    /// # layout.tensor(group, "weight", &[2, 2])?;
    /// # let mut optimizer = Optimizer::new(&device, &layout, Options::default())?;
    /// # let mut encoder = device.create_command_encoder(&Default::default());
    /// optimizer.step(&mut encoder)?;
    /// optimizer.evaluate(&mut encoder)?;
    /// // … your forward pass over the test data …
    /// optimizer.train(&mut encoder)?;
    /// optimizer.step(&mut encoder)?;
    /// # Ok::<(), wgpu_optim::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], [`Error::DeviceLost`]. The parameters are left as they are then.
    pub fn evaluate(&mut self, encoder: &mut wgpu::CommandEncoder) -> Result<(), Error> {
        if !self.evaluating {
            self.check_device("switching to evaluation")?;
            self.record_switch(encoder, &self.passes.evaluate)?;
            self.evaluating = true;
        }
        Ok(())
    }

    /// Records the change back to the parameters to train with.
    ///
    /// # Errors
    /// As [`evaluate`](Self::evaluate).
    pub fn train(&mut self, encoder: &mut wgpu::CommandEncoder) -> Result<(), Error> {
        if self.evaluating {
            self.check_device("switching to training")?;
            self.record_switch(encoder, &self.passes.train)?;
            self.evaluating = false;
        }
        Ok(())
    }

    /// Refuses what only parameters to train with allow: [`train`](Self::train) would mix others up.
    fn check_training(&self) -> Result<(), Error> {
        match self.evaluating {
            true => Err(Error::Evaluating),
            false => Ok(()),
        }
    }

    /// Refuses a lost device before anything is recorded, so that the caller's encoder stays valid.
    fn check_device(&self, during: &str) -> Result<(), Error> {
        if is_lost(&self.setup.device) {
            return Err(Error::DeviceLost {
                during: during.to_owned(),
            });
        }
        Ok(())
    }

    fn record_switch(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        dispatches: &[Vec<Dispatch>],
    ) -> Result<(), Error> {
        let Setup {
            device, begin_step, ..
        } = &self.setup;
        let Some(recount) = &self.passes.recount else {
            return Ok(());
        };
        let kept = self.bound.clone();
        upload_counts(device, encoder, begin_step, &self.progress, kept)?;
        let mut pass = compute_pass(encoder, "optimizer evaluation");
        recount.record(&mut pass);
        for dispatch in dispatches.iter().flatten() {
            dispatch.record(&mut pass);
        }
        Ok(())
    }

    /// An optimizer that does not know its parameters yet.
    fn without_buffers(
        device: &Arc<OwningDevice>,
        answers: &Answers,
        layout: &Layout,
        options: Options,
    ) -> Result<Self, Error> {
        let pipelines = Pipelines::new(options.pipeline_cache.clone());
        let setup = Setup::new(device, &answers.on(device), layout, options)?;
        let waiting = setup.options.skips().then(|| {
            let BeginStep {
                stats, ring_length, ..
            } = &setup.begin_step;
            Waiting::new(device, layout.groups.len(), *ring_length, stats)
        });
        let waiting = waiting.transpose()?;
        let rules = layout.groups.iter();
        Ok(Self {
            setup,
            pipelines,
            progress: rules.map(|rule| Progress::new(&**rule)).collect(),
            past: vec![Past::default(); layout.groups.len()],
            recorded: vec![Coefficients::default(); layout.groups.len()],
            waiting,
            bound: device.clone(),
            params: Vec::new(),
            grads: None,
            copies: vec![None; layout.tensors.len()],
            grad_arena: None,
            planned: None,
            passed: Vec::new(),
            passes: ParamPasses::default(),
            evaluating: false,
        })
    }

    /// Counts a step of every group that takes part, and brings its numbers to the device. `kept` owns
    /// what the step uses.
    fn begin_step(
        &mut self,
        encoder: &mut wgpu::CommandEncoder,
        kept: Arc<OwningDevice>,
    ) -> Result<(), Error> {
        self.check_training()?;
        // Natively its numbers could not be brought.
        if is_reported_lost(&self.setup.device) {
            return Err(Error::DeviceLost {
                during: "recording a step".to_owned(),
            });
        }
        let Setup {
            device,
            layout,
            options,
            begin_step,
            ..
        } = &self.setup;
        let mut rows = Vec::new();
        let mut advanced = Vec::new();
        let before = &self.recorded;
        let waiting = &mut self.waiting;
        for (group, rule) in layout.groups.iter().enumerate() {
            let mut progress = self.progress[group].clone();
            rows.push(if progress.frozen {
                Recorded::default()
            } else {
                let step = progress.advance(&**rule);
                let due = waiting
                    .as_mut()
                    .map(|waiting| waiting.due(group, progress.origin()));
                let due = due.unwrap_or_default();
                Recorded::new(step, options, &progress, before[group], due)
            });
            advanced.push(progress);
        }
        begin_step.upload(device, encoder, &rows, kept)?;
        if let Some(waiting) = waiting {
            waiting.exchange(encoder, &begin_step.stats);
        }
        for (group, row) in rows.into_iter().enumerate() {
            if !self.progress[group].frozen {
                self.past[group].push(&self.progress[group]);
                let in_doubt = waiting.as_mut().map(|waiting| {
                    waiting.push(group, row.own);
                    waiting.count(group)
                });
                self.past[group].keep(REMEMBERED + in_doubt.unwrap_or(0));
                self.recorded[group] = row.own;
            }
        }
        self.progress = advanced;
        Ok(())
    }

    fn record(&self, encoder: &mut wgpu::CommandEncoder, planned: &PlannedStep) {
        let takes_part = |group: usize| !self.progress[group].frozen;
        planned.record(encoder, takes_part);
    }
}
