//! The host side of a step on the GPU.

mod batches;
mod begin_step;
mod dispatch;
mod grad_stats;
mod group;
mod lines;
mod matrix;
mod orthogonalize;
mod ranges;
mod snapshot;
mod solve;
mod staging;
mod sums;
mod tensors;
mod transfer;

use std::fmt;

use begin_step::{BeginStep, Recorded};
use dispatch::{Dispatch, GroupBindings, Members, Pipelines, over_arena, over_ranges};
use grad_stats::{GradStats, GroupGrads, Maker};
use group::{ARENA_USAGE, GroupState, check_binding_count, check_buffer_size};
use sums::SharedSums;

pub use snapshot::Snapshot;

use crate::{
    BufferRange, Clip, DispatchLimits, Error, Group, Layout, Options, Rule,
    buffer::guarded,
    layout::{Arena, TENSOR_ALIGNMENT},
    progress::Progress,
    shader::{Around, Pass},
};

/// A caller's own parameter and gradient buffers, one range per tensor in the order of the
/// layout's making.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Buffers {
    /// Must have the usage `STORAGE` and not overlap.
    pub params: Vec<BufferRange>,
    /// Must have the usage `STORAGE` and not overlap parameters; they may share their buffers.
    /// `None`: passed per step, see [`Optimizer::step_with`].
    pub grads: Option<Vec<BufferRange>>,
}

/// Keeps the state of a [`Layout`] on the GPU and records its steps.
///
/// It records into the caller's encoder, submits nothing and holds no queue. A step that was
/// recorded counts, even if its encoder is dropped.
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
    device: wgpu::Device,
    layout: Layout,
    arena: Arena,
    limits: DispatchLimits,
    pipelines: Pipelines,
    begin_step: BeginStep,
    groups: Vec<GroupState>,
    params: Vec<BufferRange>,
    grads: Option<Vec<BufferRange>>,
    /// What `grads` are ranges of, if it is ours.
    grad_arena: Option<wgpu::Buffer>,
    options: Options,
    /// What gradients are multiplied by, where they are clipped by tensor.
    tensor_factors: Option<wgpu::Buffer>,
    /// A step over `params` and `grads`, if they are known.
    planned: Option<Planned>,
    /// Steps over gradients that were passed per step, the latest last.
    passed: Vec<(Vec<BufferRange>, Planned)>,
    evaluation: Evaluation,
}

/// A step over known gradients.
#[derive(Debug)]
struct Planned {
    before: Before,
    /// What is found out about tensors, by group: that of all groups comes before any update.
    findings: Vec<Vec<Dispatch>>,
    shared_sums: SharedSums,
    /// By group.
    updates: Vec<Vec<Dispatch>>,
}

/// What a step begins with.
#[derive(Debug)]
enum Before {
    /// Its numbers.
    Plain(wgpu::BindGroup),
    /// A look at the gradients.
    GradStats(Box<GradStats>),
}

/// Switching between the parameters to train with and those to evaluate with.
#[derive(Debug, Default)]
struct Evaluation {
    /// Whether the latter are in place.
    is_on: bool,
    /// The dispatches there, by group; none for a rule that does not tell the two apart.
    evaluate: Vec<Vec<Dispatch>>,
    /// Those back.
    train: Vec<Vec<Dispatch>>,
}

impl fmt::Debug for Optimizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Optimizer")
            .field("layout", &self.layout)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// Sets of per-step gradient buffers whose bind groups are kept: enough for buffers that take
/// turns. More would keep that many gradients alive where each pass allocates its own.
const PASSED_KEPT: usize = 2;

#[cfg(not(target_family = "wasm"))]
impl Optimizer {
    /// An optimizer that owns its parameters and gradients, each in one buffer, zero at the start.
    ///
    /// # Errors
    /// [`Error::EmptyLayout`]; [`Error::Limit`] if the device's limits are too low;
    /// [`Error::Shader`] for a user's rule that does not compile; [`Error::OutOfMemory`],
    /// [`Error::DeviceLost`].
    pub fn new(device: &wgpu::Device, layout: &Layout, options: Options) -> Result<Self, Error> {
        pollster::block_on(Self::new_async(device, layout, options))
    }

    /// An optimizer over the caller's buffers. Only the state is its own.
    ///
    /// Parameters and gradients may lie at any 4-byte offset; at 16-byte offsets they move four at
    /// a time, which is faster.
    ///
    /// # Errors
    /// As [`new`](Self::new), and [`Error::BufferRange`] or [`Error::Length`] for ranges that do
    /// not fit their tensors, overlap or lack a usage.
    pub fn over(
        device: &wgpu::Device,
        layout: &Layout,
        buffers: Buffers,
        options: Options,
    ) -> Result<Self, Error> {
        pollster::block_on(Self::over_async(device, layout, buffers, options))
    }

    /// Continues over other buffers with the same state, as after the caller reallocated.
    ///
    /// # Errors
    /// As [`over`](Self::over); the optimizer is then as it was.
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
        let mut optimizer = Self::without_buffers(device, layout, options).await?;
        optimizer.check_bindings(false)?;
        let bytes = 4 * optimizer.arena.element_count() as u64;
        check_buffer_size(device, "the arena of parameters", bytes)?;
        let arena = |label| wgpu::BufferDescriptor {
            label: Some(label),
            size: bytes,
            usage: ARENA_USAGE,
            mapped_at_creation: false,
        };
        let [params, grads] = guarded(device, "the arenas of parameters and gradients", || {
            [arena("params"), arena("grads")].map(|arena| device.create_buffer(&arena))
        })
        .await?;
        let mut pipelines = std::mem::take(&mut optimizer.pipelines);
        let arenas = [&params, &grads];
        let grads_of_groups = optimizer.arena_grads(&grads);
        let mut plan = async |pass| optimizer.plan_arenas(&mut pipelines, arenas, pass).await;
        let prepare = plan(Pass::Prepare).await?;
        let updates = plan(Pass::Update).await?;
        let evaluate = plan(Pass::Evaluate).await?;
        let train = plan(Pass::Train).await?;
        let members = optimizer.arena_members([&params, &grads]);
        let planned = optimizer.plan(
            &mut pipelines,
            [prepare, updates],
            members,
            &grads_of_groups,
        );
        optimizer.planned = Some(planned.await?);
        optimizer.evaluation = Evaluation {
            is_on: false,
            evaluate,
            train,
        };
        optimizer.pipelines = pipelines;
        optimizer.params = optimizer.arena_ranges(&params);
        optimizer.grads = Some(optimizer.arena_ranges(&grads));
        optimizer.grad_arena = Some(grads);
        Ok(optimizer)
    }

    /// [`over`](Optimizer::over), for the web.
    pub async fn over_async(
        device: &wgpu::Device,
        layout: &Layout,
        buffers: Buffers,
        options: Options,
    ) -> Result<Self, Error> {
        let mut optimizer = Self::without_buffers(device, layout, options).await?;
        optimizer.rebind_async(buffers).await?;
        Ok(optimizer)
    }

    /// [`rebind`](Optimizer::rebind), for the web.
    pub async fn rebind_async(&mut self, buffers: Buffers) -> Result<(), Error> {
        let Buffers { params, grads } = buffers;
        self.check_bindings(true)?;
        ranges::check_params(&self.layout, &params)?;
        let mut pipelines = std::mem::take(&mut self.pipelines);
        let made = self.plan_rebound(&mut pipelines, &params, grads.as_deref());
        let made = made.await;
        self.pipelines = pipelines;
        let (planned, evaluate, train) = made?;
        self.evaluation.evaluate = evaluate;
        self.evaluation.train = train;
        self.params = params;
        self.grads = grads;
        self.grad_arena = None;
        self.planned = planned;
        self.passed.clear();
        Ok(())
    }

    /// Records one update of all groups that are not frozen, from the gradients that the encoder's
    /// commands leave. Call it once per step; several steps may go into one encoder.
    ///
    /// # Errors
    /// [`Error::NoGradients`] if they were to be passed per step; [`Error::Evaluating`] after
    /// [`evaluate`](Self::evaluate); [`Error::OutOfMemory`]; [`Error::DeviceLost`], at the latest
    /// when something was submitted or polled since. Nothing is recorded then.
    pub fn step(&mut self, encoder: &mut wgpu::CommandEncoder) -> Result<(), Error> {
        if self.planned.is_none() {
            return Err(Error::NoGradients);
        }
        self.begin_step(encoder)?;
        if let Some(planned) = &self.planned {
            self.record(encoder, planned);
        }
        Ok(())
    }

    /// [`step`](Self::step) from gradients in other buffers, as frameworks allocate them anew on
    /// every backward pass: one range per tensor in the order of the layout's making. The bind
    /// groups of the last two sets of ranges are kept, and with them the buffers.
    ///
    /// # Errors
    /// As [`step`](Self::step), and [`Error::BufferRange`] or [`Error::Length`] for ranges that do
    /// not fit. In a browser [`Error::NotPrepared`] unless [`prepare`](Self::prepare) was awaited
    /// for the same ranges just before.
    pub fn step_with(
        &mut self,
        encoder: &mut wgpu::CommandEncoder,
        grads: &[BufferRange],
    ) -> Result<(), Error> {
        #[cfg(not(target_family = "wasm"))]
        pollster::block_on(self.prepare(grads))?;
        if self.passed.last().is_none_or(|(latest, _)| latest != grads) {
            return Err(Error::NotPrepared);
        }
        self.begin_step(encoder)?;
        if let Some((_, planned)) = self.passed.last() {
            self.record(encoder, planned);
        }
        Ok(())
    }

    /// Makes ready what [`step_with`](Self::step_with) needs for `grads`, if it is not yet.
    /// Natively `step_with` does so itself; in a browser, which compiles in its own time, await
    /// this first.
    ///
    /// # Errors
    /// [`Error::BufferRange`] or [`Error::Length`] for ranges that do not fit.
    pub async fn prepare(&mut self, grads: &[BufferRange]) -> Result<(), Error> {
        let known = self.passed.iter().position(|(known, _)| known == grads);
        let entry = match known {
            Some(position) => self.passed.remove(position),
            None => {
                self.check_bindings(true)?;
                let mut pipelines = std::mem::take(&mut self.pipelines);
                let made = self.plan_step(&mut pipelines, &self.params, grads).await;
                self.pipelines = pipelines;
                (grads.to_vec(), made?)
            }
        };
        if self.passed.len() == PASSED_KEPT {
            self.passed.remove(0);
        }
        self.passed.push(entry);
        Ok(())
    }

    /// Records zeros into all gradients, for a backward pass that adds to them.
    ///
    /// # Errors
    /// [`Error::NoGradients`]; [`Error::BufferRange`] if a caller's buffer lacks `COPY_DST`.
    pub fn zero_grad(&self, encoder: &mut wgpu::CommandEncoder) -> Result<(), Error> {
        if let Some(arena) = &self.grad_arena {
            encoder.clear_buffer(arena, 0, None);
            return Ok(());
        }
        let grads = self.grads.as_ref().ok_or(Error::NoGradients)?;
        for (grad, tensor) in grads.iter().zip(&self.layout.tensors) {
            grad.check(
                &format!("gradient of {:?}", tensor.name),
                wgpu::BufferUsages::COPY_DST,
            )?;
        }
        for grad in grads {
            encoder.clear_buffer(&grad.buffer, grad.offset, Some(grad.size));
        }
        Ok(())
    }

    /// Records the change from the parameters to train with to those to evaluate with, where there
    /// are others: the [average](Options::average), or what a rule has
    /// ([`Declaration::evaluates_elsewhere`](crate::Declaration::evaluates_elsewhere)). Before
    /// evaluating, and at the end of training.
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
    /// [`Error::OutOfMemory`], [`Error::DeviceLost`]; the parameters are left as they are then.
    pub fn evaluate(&mut self, encoder: &mut wgpu::CommandEncoder) -> Result<(), Error> {
        if !self.evaluation.is_on {
            self.switch(encoder, &self.evaluation.evaluate)?;
            self.evaluation.is_on = true;
        }
        Ok(())
    }

    /// Records the change back to the parameters to train with.
    ///
    /// # Errors
    /// As [`evaluate`](Self::evaluate).
    pub fn train(&mut self, encoder: &mut wgpu::CommandEncoder) -> Result<(), Error> {
        if self.evaluation.is_on {
            self.switch(encoder, &self.evaluation.train)?;
            self.evaluation.is_on = false;
        }
        Ok(())
    }

    /// Where the device keeps what the next loss is to be multiplied by, an f32: bind it to your
    /// shader that begins the backward pass. 1 without a loss scale. To go on from another one, as
    /// after loading a checkpoint, [`write`](crate::write) it there.
    pub fn loss_scale(&self) -> BufferRange {
        BufferRange {
            buffer: self.begin_step.stats.clone(),
            offset: 0,
            size: 4,
        }
    }

    /// Records a copy of how training goes, to be read when it arrives, while training goes on.
    ///
    /// ```
    /// # use wgpu_optim::{Clip, Gpu, GpuOptions, Layout, Optimizer, Options, rules::AdamW};
    /// # let Gpu { device, queue, .. } = Gpu::open_blocking(&GpuOptions::default())?;
    /// # let mut layout = Layout::new();
    /// # let group = layout.group(AdamW::default())?;
    /// # layout.tensor(group, "weight", &[2, 2])?;
    /// let options = Options { clip: Clip::GlobalNorm(1.0), ..Default::default() };
    /// let mut optimizer = Optimizer::new(&device, &layout, options)?;
    /// # let mut encoder = device.create_command_encoder(&Default::default());
    /// optimizer.step(&mut encoder)?;
    /// let snapshot = optimizer.snapshot(&mut encoder)?; // every hundredth step or so
    /// queue.submit([encoder.finish()]);
    /// // … some steps later …
    /// # device.poll(wgpu_optim::wgpu::PollType::wait_indefinitely()).unwrap();
    /// if let Some(stats) = snapshot.get()? {
    ///     println!("norm {:?}, {} steps skipped", stats.grad_norm, stats.skipped);
    /// }
    /// # assert_eq!(snapshot.get()?.unwrap().performed, 1);
    /// # Ok::<(), wgpu_optim::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], [`Error::DeviceLost`].
    pub fn snapshot(&self, encoder: &mut wgpu::CommandEncoder) -> Result<Snapshot, Error> {
        let progress = self.groups.iter().map(|group| &group.progress);
        let set = progress.enumerate().filter(|(_, progress)| progress.is_set);
        Snapshot::record(
            &self.device,
            encoder,
            &self.begin_step.stats,
            self.options.skips(),
            set.map(|(group, progress)| (group, progress.step_count()))
                .collect(),
        )
    }

    fn switch(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        dispatches: &[Vec<Dispatch>],
    ) -> Result<(), Error> {
        for (index, group) in self.groups.iter().enumerate() {
            let progress = &group.progress;
            if progress.is_set && !dispatches[index].is_empty() {
                let count = progress.step_count();
                let uploaded = self
                    .begin_step
                    .upload_count(&self.device, encoder, index, count);
                uploaded?;
            }
        }
        let mut pass = compute_pass(encoder, "optimizer evaluation");
        for dispatch in dispatches.iter().flatten() {
            dispatch.record(&mut pass);
        }
        Ok(())
    }

    /// The learning rate of `group`'s next step.
    pub fn lr(&self, group: Group) -> Result<f64, Error> {
        Ok(self.progress(group)?.lr())
    }

    /// Sets the learning rate of `group` from the next recorded step on.
    ///
    /// # Errors
    /// [`Error::Hyperparameter`] unless `lr` is finite and not negative.
    pub fn set_lr(&mut self, group: Group, lr: f64) -> Result<(), Error> {
        let (progress, rule) = self.progress_mut(group)?;
        progress.set_lr(rule, lr)
    }

    /// Leaves `group` out of the steps to come, or takes it in again. A frozen group's parameters,
    /// state and step count stay as they are.
    pub fn set_frozen(&mut self, group: Group, frozen: bool) -> Result<(), Error> {
        self.progress_mut(group)?.0.frozen = frozen;
        Ok(())
    }

    /// Says that the inputs of `group`'s rule, such as a curvature, were filled anew for its next
    /// recorded step: by your shader in the range that [`state`](Self::state) gives, or by
    /// [`write_state`](Self::write_state).
    ///
    /// ```
    /// # use wgpu_optim::{Gpu, GpuOptions, Layout, Optimizer, Options, rules::Sophia};
    /// # let Gpu { device, queue, .. } = Gpu::open_blocking(&GpuOptions::default())?;
    /// # let mut layout = Layout::new();
    /// let group = layout.group(Sophia::default())?;
    /// let weight = layout.tensor(group, "weight", &[2, 2])?;
    /// # let mut optimizer = Optimizer::new(&device, &layout, Options::default())?;
    /// # let mut encoder = device.create_command_encoder(&Default::default());
    /// // Every tenth step or so:
    /// let estimate = optimizer.state(weight, "hessian_estimate")?; // for your own bind group
    /// // … your shader fills it …
    /// optimizer.refresh(group)?;
    /// optimizer.step(&mut encoder)?;
    /// # Ok::<(), wgpu_optim::Error>(())
    /// ```
    pub fn refresh(&mut self, group: Group) -> Result<(), Error> {
        self.progress_mut(group)?.0.refreshed = true;
        Ok(())
    }

    /// Steps recorded for `group`, skipped ones included: what was skipped, only the device knows
    /// ([`snapshot`](Self::snapshot)).
    pub fn step_count(&self, group: Group) -> Result<u64, Error> {
        Ok(self.progress(group)?.step_count())
    }

    /// Continues at another step count, as after loading a checkpoint: where steps may be skipped,
    /// that of the performed ones ([`GroupStats::step_count`](crate::GroupStats::step_count)).
    ///
    /// # Errors
    /// [`Error::StepCount`] beyond 2⁵².
    pub fn set_step_count(&mut self, group: Group, count: u64) -> Result<(), Error> {
        self.progress_mut(group)?.0.set_step_count(count)
    }

    /// A number that `group`'s rule keeps one of, such as `"weight_sum"`, after the steps recorded.
    ///
    /// # Errors
    /// [`Error::UnknownState`] names those there are.
    pub fn group_state(&self, group: Group, slot: &str) -> Result<f64, Error> {
        self.progress(group)?.state(self.layout.rule(group)?, slot)
    }

    /// Sets a number that `group`'s rule keeps one of, as after loading a checkpoint. These follow
    /// the recorded steps: after skipped ones, a resumed run weighs the steps to come a little
    /// differently from one that was not interrupted.
    ///
    /// # Errors
    /// [`Error::UnknownState`]; [`Error::Hyperparameter`] unless `value` is finite.
    pub fn set_group_state(&mut self, group: Group, slot: &str, value: f64) -> Result<(), Error> {
        let (progress, rule) = self.progress_mut(group)?;
        progress.set_state(rule, slot, value)
    }

    fn progress(&self, group: Group) -> Result<&Progress, Error> {
        self.layout.check_group(group)?;
        Ok(&self.groups[group.0].progress)
    }

    fn progress_mut(&mut self, group: Group) -> Result<(&mut Progress, &dyn Rule), Error> {
        let rule = self.layout.rule(group)?;
        Ok((&mut self.groups[group.0].progress, rule))
    }

    /// All but parameters, gradients and the dispatches over them.
    async fn without_buffers(
        device: &wgpu::Device,
        layout: &Layout,
        options: Options,
    ) -> Result<Self, Error> {
        if layout.tensors.is_empty() {
            return Err(Error::EmptyLayout);
        }
        options.check(layout)?;
        let by_tensor = matches!(options.clip, Clip::TensorNorm(_));
        let of_device = DispatchLimits::of(&device.limits());
        let limits = options.limits.unwrap_or(of_device);
        limits.check(&of_device)?;
        let arena = layout.arena();
        let lrs: Vec<_> = layout.groups.iter().map(|rule| rule.lr()).collect();
        let mut pipelines = Pipelines::new(options.pipeline_cache.clone());
        let begin_step = BeginStep::new(device, &mut pipelines, &lrs, &options).await?;
        let plan = group::Plan {
            device,
            layout,
            arena: &arena,
            options: &options,
            limits: &limits,
            begin_step: &begin_step,
        };
        let mut groups = Vec::new();
        for group in layout.groups() {
            let state = GroupState::new(&plan, &mut pipelines, group);
            groups.push(state.await?);
        }
        let mut tensor_factors = None;
        if by_tensor {
            let bytes = 4 * (arena.element_count() / TENSOR_ALIGNMENT) as u64;
            check_buffer_size(device, "the factors of tensors that are clipped", bytes)?;
            let made = guarded(device, "the factors of tensors that are clipped", || {
                device.create_buffer(&wgpu::BufferDescriptor {
                    label: Some("tensor factors"),
                    size: bytes,
                    usage: wgpu::BufferUsages::STORAGE,
                    mapped_at_creation: false,
                })
            });
            tensor_factors = Some(made.await?);
        }
        Ok(Self {
            device: device.clone(),
            layout: layout.clone(),
            arena,
            limits,
            pipelines,
            begin_step,
            groups,
            params: Vec::new(),
            grads: None,
            grad_arena: None,
            options,
            tensor_factors,
            planned: None,
            passed: Vec::new(),
            evaluation: Evaluation::default(),
        })
    }

    fn arena_ranges(&self, buffer: &wgpu::Buffer) -> Vec<BufferRange> {
        let tensors = self.layout.tensors.iter().zip(&self.arena.tensors);
        tensors
            .map(|(tensor, &start)| BufferRange {
                buffer: buffer.clone(),
                offset: 4 * start as u64,
                size: 4 * tensor.element_count as u64,
            })
            .collect()
    }

    /// The dispatches of `pass` over arenas of parameters and gradients, by group.
    async fn plan_arenas(
        &self,
        pipelines: &mut Pipelines,
        arenas: [&wgpu::Buffer; 2],
        pass: Pass,
    ) -> Result<Vec<Vec<Dispatch>>, Error> {
        let mut dispatches = Vec::new();
        for group in self.layout.groups() {
            if !self.has(group, pass) {
                dispatches.push(Vec::new());
                continue;
            }
            let elements = &self.arena.groups[group.0];
            let of_group = over_arena(
                &self.device,
                pipelines,
                &self.limits,
                self.bindings(group, pass),
                arenas,
                elements.start as u64..elements.end as u64,
            );
            dispatches.push(of_group.await?);
        }
        Ok(dispatches)
    }

    /// The dispatches of `pass` over a caller's ranges, by group.
    async fn plan_ranges(
        &self,
        pipelines: &mut Pipelines,
        members: &[Members],
        pass: Pass,
    ) -> Result<Vec<Vec<Dispatch>>, Error> {
        let mut dispatches = Vec::new();
        for (group, members) in self.layout.groups().zip(members) {
            if !self.has(group, pass) {
                dispatches.push(Vec::new());
                continue;
            }
            let of_group = over_ranges(
                &self.device,
                pipelines,
                &self.limits,
                self.bindings(group, pass),
                members,
            );
            dispatches.push(of_group.await?);
        }
        Ok(dispatches)
    }

    /// A step over a caller's ranges if the gradients are known, and the passes to evaluation and
    /// back.
    async fn plan_rebound(
        &self,
        pipelines: &mut Pipelines,
        params: &[BufferRange],
        grads: Option<&[BufferRange]>,
    ) -> Result<(Option<Planned>, Vec<Vec<Dispatch>>, Vec<Vec<Dispatch>>), Error> {
        let planned = match grads {
            Some(grads) => Some(self.plan_step(pipelines, params, grads).await?),
            None => None,
        };
        // These look at no gradient, so the parameters stand in for them.
        let members = self.members(params, params);
        let mut plan = async |pass| self.plan_ranges(pipelines, &members, pass).await;
        let evaluate = plan(Pass::Evaluate).await?;
        Ok((planned, evaluate, plan(Pass::Train).await?))
    }

    /// A step over a caller's ranges.
    async fn plan_step(
        &self,
        pipelines: &mut Pipelines,
        params: &[BufferRange],
        grads: &[BufferRange],
    ) -> Result<Planned, Error> {
        ranges::check_grads(&self.layout, params, grads, self.options.zero_grad)?;
        let members = self.members(params, grads);
        let mut plan = async |pass| self.plan_ranges(pipelines, &members, pass).await;
        let steps = [plan(Pass::Prepare).await?, plan(Pass::Update).await?];
        let of_group = |(group, members): (&std::ops::Range<usize>, &Members)| {
            let ranges = members.iter();
            let ranges =
                ranges.map(|(_, grad, state)| (grad.clone(), group.start + *state as usize));
            GroupGrads {
                ranges: ranges.collect(),
            }
        };
        let groups = self.arena.groups.iter().zip(&members).map(of_group);
        let groups: Vec<_> = groups.collect();
        self.plan(pipelines, steps, members, &groups).await
    }

    /// Parameters and gradients of each group, tensor by tensor.
    fn members(&self, params: &[BufferRange], grads: &[BufferRange]) -> Vec<Members> {
        let mut members = vec![Vec::new(); self.groups.len()];
        let ranges = params.iter().zip(grads).zip(&self.arena.tensors);
        for (tensor, ((param, grad), position)) in self.layout.tensors.iter().zip(ranges) {
            let group = tensor.group.0;
            let state = position - self.arena.groups[group].start;
            members[group].push((param.clone(), grad.clone(), state as u64));
        }
        members
    }

    /// The same in this crate's own arenas, with padding, which is zero: all of it by quads.
    fn arena_members(&self, arenas: [&wgpu::Buffer; 2]) -> Vec<Members> {
        let [params, grads] = arenas.map(|arena| {
            let mut ranges = self.arena_ranges(arena);
            for range in &mut ranges {
                range.size = range.size.next_multiple_of(4 * TENSOR_ALIGNMENT as u64);
            }
            ranges
        });
        self.members(&params, &grads)
    }

    /// Whether what the passes of a step bind fits the device, in arenas or in a caller's ranges.
    fn check_bindings(&self, in_ranges: bool) -> Result<(), Error> {
        for group in self.layout.groups() {
            let passes = [Pass::Update, Pass::Measure, Pass::Prepare];
            let passes = passes.into_iter().filter(|pass| self.has(group, *pass));
            let counts = passes.map(|pass| self.bindings(group, pass).count(in_ranges));
            let needed = counts.max().unwrap_or(0);
            let rule = self.layout.groups[group.0].name();
            let slots = self.groups[group.0].state.len();
            check_binding_count(&self.device, rule, slots, needed)?;
        }
        Ok(())
    }

    /// The gradients of each group in this crate's own arena.
    fn arena_grads(&self, arena: &wgpu::Buffer) -> Vec<GroupGrads> {
        let range = |elements: std::ops::Range<usize>| {
            let range = BufferRange {
                buffer: arena.clone(),
                offset: 4 * elements.start as u64,
                size: 4 * elements.len() as u64,
            };
            (range, elements.start)
        };
        let groups = self.layout.groups().map(|group| {
            let of_group = self.arena.groups[group.0].clone();
            let by_tensor = self.tensor_factors.is_some();
            let ranges = match by_tensor {
                // With their padding, which is zero.
                true => self
                    .layout
                    .tensors_in(&self.arena, group)
                    .map(|tensor| {
                        let start = of_group.start + tensor.start;
                        range(start..start + tensor.len().next_multiple_of(TENSOR_ALIGNMENT))
                    })
                    .collect(),
                false if of_group.is_empty() => Vec::new(),
                false => vec![range(of_group)],
            };
            GroupGrads { ranges }
        });
        groups.collect()
    }

    /// A step of these updates over these gradients.
    async fn plan(
        &self,
        pipelines: &mut Pipelines,
        [mut prepare, mut updates]: [Vec<Vec<Dispatch>>; 2],
        members: Vec<Members>,
        grads: &[GroupGrads],
    ) -> Result<Planned, Error> {
        let groups = self.layout.groups().zip(members);
        let groups: Vec<_> = groups
            .map(|(group, members)| (self.bindings(group, Pass::Measure), members))
            .collect();
        let (device, limits) = (&self.device, &self.limits);
        let sums = sums::plan(device, pipelines, limits, &groups).await?;
        let mut findings = Vec::new();
        for ((group, members), measure) in groups.iter().zip(sums.measure) {
            let mut of_group = lines::plan(device, pipelines, limits, *group, members).await?;
            of_group.extend(measure);
            findings.push(of_group);
        }
        for (index, conclude) in sums.conclude.into_iter().enumerate() {
            let matrix = self.groups[index].matrix.iter();
            let before = conclude
                .into_iter()
                .chain(prepare[index].drain(..))
                .chain(matrix.flat_map(|matrix| matrix.dispatches.clone()));
            updates[index].splice(0..0, before);
        }
        let before = if self.options.skips() {
            let maker = Maker {
                device,
                pipelines,
                limits,
                options: &self.options,
                begin_step: &self.begin_step,
                tensor_factors: self.tensor_factors.as_ref(),
            };
            let conditional = findings.iter_mut().chain(&mut updates).flatten();
            let stats = maker.make(grads, conditional.collect());
            Before::GradStats(Box::new(stats.await?))
        } else {
            Before::Plain(self.begin_step.bind(device, None).await?)
        };
        Ok(Planned {
            before,
            findings,
            shared_sums: sums.shared,
            updates,
        })
    }

    fn bindings(&self, group: Group, pass: Pass) -> GroupBindings<'_> {
        let first_unit = self.arena.groups[group.0].start / TENSOR_ALIGNMENT;
        let factors = self.tensor_factors.as_ref();
        self.groups[group.0].bindings(
            &self.layout,
            group,
            &self.begin_step,
            Around::of(&self.options, &*self.layout.groups[group.0]),
            factors.map(|factors| (factors, first_unit as u64)),
            pass,
        )
    }

    /// Whether `group` has that pass.
    fn has(&self, group: Group, pass: Pass) -> bool {
        let rule = &self.layout.groups[group.0];
        match pass {
            Pass::Update => true,
            Pass::Prepare => rule.stages().matrix.is_some(),
            Pass::Measure => rule.stages().sum.is_some(),
            _ => self.options.average.is_some() || rule.evaluates_elsewhere(),
        }
    }

    /// Counts a step of every group that takes part and brings its numbers to the device.
    fn begin_step(&mut self, encoder: &mut wgpu::CommandEncoder) -> Result<(), Error> {
        if self.evaluation.is_on {
            return Err(Error::Evaluating);
        }
        let mut rows = Vec::new();
        let mut advanced = Vec::new();
        for (rule, group) in self.layout.groups.iter().zip(&self.groups) {
            let mut progress = group.progress.clone();
            rows.push(if progress.frozen {
                Recorded::default()
            } else {
                let epoch = progress.epoch;
                Recorded::new(progress.advance(&**rule), &self.options, epoch)
            });
            advanced.push(progress);
        }
        self.begin_step.upload(&self.device, encoder, &rows)?;
        for (group, advanced) in self.groups.iter_mut().zip(advanced) {
            group.progress = advanced;
        }
        Ok(())
    }
}

impl Optimizer {
    /// Records the dispatches of a step whose numbers are on their way.
    fn record(&self, encoder: &mut wgpu::CommandEncoder, planned: &Planned) {
        let takes_part = |group: usize| !self.groups[group].progress.frozen;
        planned
            .shared_sums
            .clear(encoder, |group| !takes_part(group));
        let mut pass = compute_pass(encoder, "optimizer step");
        match &planned.before {
            Before::Plain(bind_group) => self.begin_step.dispatch(&mut pass, bind_group),
            Before::GradStats(stats) => {
                stats.record(&mut pass, takes_part);
                self.begin_step.dispatch(&mut pass, &stats.begin_step);
            }
        }
        let groups = || (0..self.groups.len()).filter(|group| takes_part(*group));
        for found in groups().flat_map(|group| &planned.findings[group]) {
            found.record(&mut pass);
        }
        for group in groups() {
            for update in &planned.updates[group] {
                update.record(&mut pass);
            }
            if let Before::GradStats(stats) = &planned.before {
                stats.record_zero(&mut pass, group);
            }
        }
    }
}

fn compute_pass<'e>(encoder: &'e mut wgpu::CommandEncoder, label: &str) -> wgpu::ComputePass<'e> {
    encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
        label: Some(label),
        timestamp_writes: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Gpu, GpuOptions, MatrixWork, Stages, rules};

    /// What a step records for one group of that many small tensors.
    fn dispatches(gpu: &Gpu, rule: Box<dyn Rule>, tensors: usize, shape: &[usize]) -> usize {
        let mut layout = Layout::new();
        let group = layout.group(rule).unwrap();
        for index in 0..tensors {
            layout.tensor(group, &index.to_string(), shape).unwrap();
        }
        let optimizer = Optimizer::new(&gpu.device, &layout, Options::default()).unwrap();
        let planned = optimizer.planned.unwrap();
        let dispatches = planned.findings.iter().chain(&planned.updates);
        dispatches.flatten().count()
    }

    /// As many as the stages of `rule` have by the README's table.
    fn expected(rule: &dyn Rule) -> usize {
        let Stages { lines, sum, matrix } = rule.stages();
        let of_matrix = matrix.map_or(0, |stage| match stage.work {
            MatrixWork::Orthogonalize { steps, .. } => 2 + 3 * steps as usize,
            MatrixWork::Solve { .. } => 3,
        });
        1 + 3 * usize::from(lines.is_some()) + 2 * usize::from(sum.is_some()) + of_matrix
    }

    #[test]
    fn ten_thousand_tensors_cost_no_more_dispatches_than_ten() {
        let gpu = Gpu::open_blocking(&GpuOptions::default()).unwrap();
        for name in rules::names() {
            for tensors in [10, 10_000] {
                let rule = rules::by_name(name).unwrap();
                let expected = expected(&*rule);
                assert_eq!(dispatches(&gpu, rule, tensors, &[3, 4]), expected, "{name}");
            }
        }
        let mut cautious = rules::by_name("adamw").unwrap();
        cautious.set("cautious", "true").unwrap();
        assert_eq!(dispatches(&gpu, cautious, 10, &[3, 4]), 3);
        let adafactor = rules::by_name("adafactor").unwrap();
        assert_eq!(dispatches(&gpu, adafactor, 10, &[12]), 4);
    }
}
