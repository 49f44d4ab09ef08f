//! Plans the dispatches of a step, over arenas or over a caller's ranges. Nothing here waits: shaders are
//! compiled, and bind groups made, once everything is planned.

use std::sync::Arc;

use super::{
    answers::{Answers, GuardedDevice},
    dispatch::{BoundTensor, Dispatch, over_arena, over_ranges},
    grad_stats::{GradStatsBuilder, PlacedGrad},
    lines::line_dispatches,
    owning::OwningDevice,
    phases::GroupStep,
    pipelines::Pipelines,
    ranges,
    recount::recount,
    setup::Setup,
    step::{Beginning, ParamPasses, PlannedStep},
    sums::sum_dispatches,
    unbound::Unbound,
};
use crate::{
    BufferRange, Error, Group,
    layout::TENSOR_ALIGNMENT,
    plan::{has_tiles, is_aligned},
    shader::Pass,
    shape::Matrices,
};

/// What is planned over some parameters.
#[derive(Debug)]
pub(super) struct Plan<D = Dispatch> {
    /// `None` if the gradients are not known.
    pub step: Option<PlannedStep<D>>,
    pub passes: ParamPasses<D>,
}

impl Plan<Unbound> {
    /// Compiles the shaders that are not in `pipelines` side by side, and makes all bind groups.
    pub async fn bind(
        self,
        device: &OwningDevice,
        pipelines: &mut Pipelines,
    ) -> Result<Plan, Error> {
        let steps = self.step.iter().flat_map(PlannedStep::dispatches);
        let dispatches = steps.chain(self.passes.dispatches());
        let sources = dispatches.map(|dispatch| &*dispatch.source);
        pipelines.compile(device, sources).await?;
        let answers = Answers::default();
        let bound = self.bound(answers.on(device));
        answers.heard(bound).await
    }

    fn bound(self, device: GuardedDevice<'_>) -> Result<Plan, Error> {
        let mut bind = |dispatch: Unbound| dispatch.bind(&device);
        let step = self.step.map(|step| step.try_map(&mut bind)).transpose()?;
        Ok(Plan {
            step,
            passes: self.passes.try_map(&mut bind)?,
        })
    }
}

/// Makes plans for the groups that an optimizer has set up.
pub(super) struct Planner<'a> {
    setup: &'a Setup,
    pipelines: &'a mut Pipelines,
    /// Owns what is made for the plans.
    owner: &'a Arc<OwningDevice>,
    /// Is of `owner`.
    device: GuardedDevice<'a>,
}

impl<'a> Planner<'a> {
    pub fn new(
        setup: &'a Setup,
        pipelines: &'a mut Pipelines,
        owner: &'a Arc<OwningDevice>,
        answers: &'a Answers,
    ) -> Self {
        Self {
            setup,
            pipelines,
            owner,
            device: answers.on(owner),
        }
    }

    /// A step over this crate's own arenas, and the switch to evaluation and back.
    pub fn over_arenas(
        &mut self,
        params: &wgpu::Buffer,
        grads: &wgpu::Buffer,
    ) -> Result<Plan<Unbound>, Error> {
        let of_params = self.setup.arena_groups(params, |storage| storage.params);
        let of_grads = self.setup.arena_groups(grads, |storage| storage.grads);
        let tensors = self.arena_tensors(params, grads);
        let mut steps = self.empty_steps();
        let mut passes = self.empty_passes();
        for (step, group) in steps.iter_mut().zip(self.setup.layout.groups()) {
            let (params, grads) = (&of_params[group.0], &of_grads[group.0]);
            step.prepare = self.in_arenas(group, params, grads, Pass::Prepare)?;
            step.update = match self.setup.bindings(group, Pass::Update).goes_by_tiles() {
                true => self.in_ranges(group, &joined(&tensors[group.0]), Pass::Update)?,
                false => self.in_arenas(group, params, grads, Pass::Update)?,
            };
        }
        for group in self.setup.layout.groups() {
            let (params, grads) = (&of_params[group.0], &of_grads[group.0]);
            let evaluate = self.in_arenas(group, params, grads, Pass::Evaluate)?;
            passes.evaluate.push(evaluate);
            let train = self.in_arenas(group, params, grads, Pass::Train)?;
            passes.train.push(train);
            let copy = self.in_arenas(group, params, grads, Pass::Copy)?;
            passes.copy.push(copy);
        }
        let grads = self.arena_grads(grads);
        Ok(Plan {
            step: Some(self.step(steps, &tensors, &grads)?),
            passes,
        })
    }

    /// All that can be planned over a caller's ranges. `copies` has one of each tensor.
    pub fn over(
        &mut self,
        params: &[BufferRange],
        grads: Option<&[BufferRange]>,
        copies: &[Option<BufferRange>],
    ) -> Result<Plan<Unbound>, Error> {
        let step = grads.map(|grads| self.over_ranges(params, grads, copies));
        Ok(Plan {
            step: step.transpose()?,
            passes: self.passes_over(params, copies)?,
        })
    }

    /// A step over a caller's ranges.
    pub fn over_ranges(
        &mut self,
        params: &[BufferRange],
        grads: &[BufferRange],
        copies: &[Option<BufferRange>],
    ) -> Result<PlannedStep<Unbound>, Error> {
        let Setup {
            layout,
            options,
            arena,
            ..
        } = self.setup;
        ranges::check_grads(layout, params, grads, options)?;
        let placed = layout.tensors.iter().zip(grads);
        ranges::check_owners(&self.setup.device, placed, "gradient")?;
        ranges::check_copies_apart(layout, copies, grads, "gradient")?;
        let tensors = self.bound_tensors(params, grads, copies);
        let mut steps = self.empty_steps();
        for (step, group) in steps.iter_mut().zip(layout.groups()) {
            let tensors = &tensors[group.0];
            step.prepare = self.in_ranges(group, tensors, Pass::Prepare)?;
            step.update = self.in_ranges(group, tensors, Pass::Update)?;
        }
        let grads = arena.groups.iter().zip(&tensors).map(|(group, tensors)| {
            let placed = tensors.iter().map(|tensor| PlacedGrad {
                buffer: tensor.grad.buffer.clone(),
                offset: tensor.grad.offset,
                count: tensor.count,
                start: group.start + tensor.state as usize,
            });
            placed.collect()
        });
        let grads: Vec<_> = grads.collect();
        self.step(steps, &tensors, &grads)
    }

    /// The passes over a caller's parameters that are no step.
    fn passes_over(
        &mut self,
        params: &[BufferRange],
        copies: &[Option<BufferRange>],
    ) -> Result<ParamPasses<Unbound>, Error> {
        // They read no gradients, so the parameters stand in for them.
        let tensors = self.bound_tensors(params, params, copies);
        let mut passes = self.empty_passes();
        for (group, tensors) in self.setup.layout.groups().zip(&tensors) {
            let evaluate = self.in_ranges(group, tensors, Pass::Evaluate)?;
            passes.evaluate.push(evaluate);
            let train = self.in_ranges(group, tensors, Pass::Train)?;
            passes.train.push(train);
            let copy = self.in_ranges(group, tensors, Pass::Copy)?;
            passes.copy.push(copy);
        }
        Ok(passes)
    }

    /// The dispatches of `pass` over a group's parts of the arenas.
    fn in_arenas(
        &mut self,
        group: Group,
        params: &BufferRange,
        grads: &BufferRange,
        pass: Pass,
    ) -> Result<Vec<Unbound>, Error> {
        if !self.setup.has(group, pass) {
            return Ok(Vec::new());
        }
        let setup = self.setup;
        let count = setup.arena.groups[group.0].len() as u64;
        let bindings = setup.bindings(group, pass);
        over_arena(
            &self.device,
            self.pipelines,
            &setup.limits,
            bindings,
            params,
            grads,
            count,
        )
    }

    /// The dispatches of `pass` over a caller's ranges.
    fn in_ranges(
        &mut self,
        group: Group,
        tensors: &[BoundTensor],
        pass: Pass,
    ) -> Result<Vec<Unbound>, Error> {
        if !self.setup.has(group, pass) {
            return Ok(Vec::new());
        }
        let (device, limits) = (&self.device, &self.setup.limits);
        let bindings = self.setup.bindings(group, pass);
        over_ranges(device, self.pipelines, limits, bindings, tensors)
    }

    fn empty_steps(&self) -> Vec<GroupStep<Unbound>> {
        let groups = self.setup.layout.groups();
        groups.map(|_| GroupStep::default()).collect()
    }

    /// Passes over no group yet.
    fn empty_passes(&self) -> ParamPasses<Unbound> {
        let setup = self.setup;
        let recount = setup
            .switches()
            .then(|| recount(&setup.begin_step, &setup.options));
        ParamPasses {
            recount,
            ..ParamPasses::default()
        }
    }

    /// A caller's tensors by group.
    fn bound_tensors(
        &self,
        params: &[BufferRange],
        grads: &[BufferRange],
        copies: &[Option<BufferRange>],
    ) -> Vec<Vec<BoundTensor>> {
        let Setup { layout, arena, .. } = self.setup;
        let mut groups = vec![Vec::new(); layout.groups.len()];
        let ranges = params.iter().zip(grads).zip(copies).zip(&arena.tensors);
        for (tensor, (((param, grad), copy), position)) in layout.tensors.iter().zip(ranges) {
            let group = tensor.group.0;
            let storage = layout.storage(tensor.group);
            let moves_by_quads = is_aligned(param.offset, grad.offset, &storage);
            let matrices = Matrices::of(&tensor.shape);
            groups[group].push(BoundTensor {
                matrices: (moves_by_quads && has_tiles(&matrices)).then_some(matrices),
                param: param.clone(),
                grad: grad.clone(),
                copy: copy.clone(),
                state: (position - arena.groups[group].start) as u64,
                count: tensor.element_count as u64,
            });
        }
        groups
    }

    /// The tensors of this crate's own arenas with their padding, so that all of it moves by quads.
    /// The padding is zero.
    fn arena_tensors(&self, params: &wgpu::Buffer, grads: &wgpu::Buffer) -> Vec<Vec<BoundTensor>> {
        let params = self.setup.arena_ranges(params, |storage| storage.params);
        let grads = self.setup.arena_ranges(grads, |storage| storage.grads);
        let mut groups = self.bound_tensors(&params, &grads, &vec![None; params.len()]);
        for tensor in groups.iter_mut().flatten() {
            tensor.count = tensor.count.next_multiple_of(TENSOR_ALIGNMENT as u64);
        }
        groups
    }

    /// The gradients of each group in this crate's own arena.
    fn arena_grads(&self, arena: &wgpu::Buffer) -> Vec<Vec<PlacedGrad>> {
        let of_groups = self.setup.arena_groups(arena, |storage| storage.grads);
        let placed = |group: Group, elements: std::ops::Range<usize>| {
            let encoding = self.setup.layout.storage(group).grads;
            let start = self.setup.arena.groups[group.0].start;
            PlacedGrad {
                buffer: arena.clone(),
                offset: of_groups[group.0].offset + encoding.bytes((elements.start - start) as u64),
                count: elements.len() as u64,
                start: elements.start,
            }
        };
        let setup = self.setup;
        let groups = setup.layout.groups().map(|group| {
            let of_group = setup.arena.groups[group.0].clone();
            match setup.tensor_factors {
                // They include the padding, which is zero.
                Some(_) => setup
                    .layout
                    .tensors_in(&setup.arena, group)
                    .map(|tensor| {
                        let start = of_group.start + tensor.start;
                        placed(
                            group,
                            start..start + tensor.len().next_multiple_of(TENSOR_ALIGNMENT),
                        )
                    })
                    .collect(),
                None if of_group.is_empty() => Vec::new(),
                None => vec![placed(group, of_group)],
            }
        });
        groups.collect()
    }

    /// Completes `steps`, in which the dispatches that prepare and update are already set. It adds
    /// the dispatches that come before them, over `tensors`. If `grads` must be inspected first, it
    /// makes the dispatches conditional on the result.
    fn step(
        &mut self,
        mut steps: Vec<GroupStep<Unbound>>,
        tensors: &[Vec<BoundTensor>],
        grads: &[Vec<PlacedGrad>],
    ) -> Result<PlannedStep<Unbound>, Error> {
        let setup = self.setup;
        let (device, limits) = (&self.device, &setup.limits);
        let groups = setup.layout.groups().zip(tensors);
        let groups: Vec<_> = groups
            .map(|(group, tensors)| (setup.bindings(group, Pass::Measure), &tensors[..]))
            .collect();
        let sums = sum_dispatches(device, limits, &groups)?;
        let found = sums.measure.into_iter().zip(sums.conclude);
        for ((step, (group, tensors)), (measure, conclude)) in
            steps.iter_mut().zip(groups).zip(found)
        {
            let buffers = &setup.groups[group.index];
            if let Some(table) = &buffers.lines {
                step.lines = line_dispatches(device, limits, group, table, tensors)?;
            }
            step.measure = measure;
            step.conclude = conclude;
            let matrices = buffers.matrix.as_ref();
            step.matrices = matrices.map_or_else(Vec::new, |matrix| matrix.dispatches.clone());
        }
        let mut updates = steps.iter_mut().map(|step| &mut step.update);
        let at_once = updates.find_map(|update| update.pop_if(|dispatch| dispatch.begins));
        let beginning = if let Some(whole) = at_once {
            Beginning::Numbers(whole)
        } else if setup.options.skips() {
            let builder = GradStatsBuilder {
                device,
                limits,
                layout: &setup.layout,
                options: &setup.options,
                begin_step: &setup.begin_step,
                tensor_factors: setup.tensor_factors.as_ref(),
            };
            Beginning::GradStats(Box::new(builder.build(grads, &mut steps)?))
        } else {
            Beginning::Numbers(setup.begin_step.dispatch(None))
        };
        Ok(PlannedStep {
            device: self.owner.clone(),
            beginning,
            shared_sums: sums.shared,
            groups: steps,
        })
    }
}

/// The tensors of an arena, as few as they can be: neighbours that are not cut into tiles are one.
fn joined(tensors: &[BoundTensor]) -> Vec<BoundTensor> {
    let mut joined: Vec<BoundTensor> = Vec::new();
    for tensor in tensors {
        match joined.last_mut() {
            Some(last) if last.matrices.is_none() && tensor.matrices.is_none() => {
                last.count = tensor.state + tensor.count - last.state;
            }
            _ => joined.push(tensor.clone()),
        }
    }
    joined
}
