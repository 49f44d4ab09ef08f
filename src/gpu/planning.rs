//! Plans the dispatches of a step, over arenas or over a caller's ranges.

use std::sync::Arc;

use super::{
    dispatch::{BoundTensor, Dispatch, over_arena, over_ranges},
    grad_stats::{GradStatsBuilder, PlacedGrad},
    lines::line_dispatches,
    owning::OwningDevice,
    phases::GroupStep,
    pipelines::Pipelines,
    ranges,
    setup::Setup,
    step::{Beginning, ParamPasses, PlannedStep},
    sums::sum_dispatches,
};
use crate::{BufferRange, Error, Group, layout::TENSOR_ALIGNMENT, shader::Pass};

/// Makes plans for the groups that an optimizer has set up.
pub(super) struct Planner<'a> {
    setup: &'a Setup,
    pipelines: &'a mut Pipelines,
    /// Owns what is made for the plans.
    device: Arc<OwningDevice>,
}

impl<'a> Planner<'a> {
    pub fn new(setup: &'a Setup, pipelines: &'a mut Pipelines, device: Arc<OwningDevice>) -> Self {
        Self {
            setup,
            pipelines,
            device,
        }
    }

    /// A step over this crate's own arenas, and the switch to evaluation and back.
    pub async fn over_arenas(
        &mut self,
        params: &wgpu::Buffer,
        grads: &wgpu::Buffer,
    ) -> Result<(PlannedStep, ParamPasses), Error> {
        let of_params = self.setup.arena_groups(params, |storage| storage.params);
        let of_grads = self.setup.arena_groups(grads, |storage| storage.grads);
        let mut steps = self.empty_steps();
        let mut passes = ParamPasses::default();
        for (step, group) in steps.iter_mut().zip(self.setup.layout.groups()) {
            let (params, grads) = (&of_params[group.0], &of_grads[group.0]);
            step.prepare = self.in_arenas(group, params, grads, Pass::Prepare).await?;
            step.update = self.in_arenas(group, params, grads, Pass::Update).await?;
        }
        for group in self.setup.layout.groups() {
            let (params, grads) = (&of_params[group.0], &of_grads[group.0]);
            let evaluate = self.in_arenas(group, params, grads, Pass::Evaluate).await?;
            passes.evaluate.push(evaluate);
            let train = self.in_arenas(group, params, grads, Pass::Train).await?;
            passes.train.push(train);
            let copy = self.in_arenas(group, params, grads, Pass::Copy).await?;
            passes.copy.push(copy);
        }
        let tensors = self.arena_tensors(params, grads);
        let grads = self.arena_grads(grads);
        Ok((self.step(steps, &tensors, &grads).await?, passes))
    }

    /// A step over a caller's ranges.
    pub async fn over_ranges(
        &mut self,
        params: &[BufferRange],
        grads: &[BufferRange],
    ) -> Result<PlannedStep, Error> {
        let Setup {
            layout,
            options,
            arena,
            ..
        } = self.setup;
        ranges::check_grads(layout, params, grads, options)?;
        ranges::check_owners(&self.setup.device, layout, grads, "gradient")?;
        let tensors = self.bound_tensors(params, grads);
        let mut steps = self.empty_steps();
        for (step, group) in steps.iter_mut().zip(layout.groups()) {
            let tensors = &tensors[group.0];
            step.prepare = self.in_ranges(group, tensors, Pass::Prepare).await?;
            step.update = self.in_ranges(group, tensors, Pass::Update).await?;
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
        self.step(steps, &tensors, &grads).await
    }

    /// The passes over a caller's parameters that are no step.
    pub async fn passes_over(&mut self, params: &[BufferRange]) -> Result<ParamPasses, Error> {
        // They read no gradients, so the parameters stand in for them.
        let tensors = self.bound_tensors(params, params);
        let mut passes = ParamPasses::default();
        for (group, tensors) in self.setup.layout.groups().zip(&tensors) {
            let evaluate = self.in_ranges(group, tensors, Pass::Evaluate).await?;
            passes.evaluate.push(evaluate);
            let train = self.in_ranges(group, tensors, Pass::Train).await?;
            passes.train.push(train);
            let copy = self.in_ranges(group, tensors, Pass::Copy).await?;
            passes.copy.push(copy);
        }
        Ok(passes)
    }

    /// The dispatches of `pass` over a group's parts of the arenas.
    async fn in_arenas(
        &mut self,
        group: Group,
        params: &BufferRange,
        grads: &BufferRange,
        pass: Pass,
    ) -> Result<Vec<Dispatch>, Error> {
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
        .await
    }

    /// The dispatches of `pass` over a caller's ranges.
    async fn in_ranges(
        &mut self,
        group: Group,
        tensors: &[BoundTensor],
        pass: Pass,
    ) -> Result<Vec<Dispatch>, Error> {
        if !self.setup.has(group, pass) {
            return Ok(Vec::new());
        }
        let (device, limits) = (&self.device, &self.setup.limits);
        let bindings = self.setup.bindings(group, pass);
        over_ranges(device, self.pipelines, limits, bindings, tensors).await
    }

    fn empty_steps(&self) -> Vec<GroupStep> {
        let groups = self.setup.layout.groups();
        groups.map(|_| GroupStep::default()).collect()
    }

    /// A caller's tensors by group.
    fn bound_tensors(
        &self,
        params: &[BufferRange],
        grads: &[BufferRange],
    ) -> Vec<Vec<BoundTensor>> {
        let Setup { layout, arena, .. } = self.setup;
        let mut groups = vec![Vec::new(); layout.groups.len()];
        let ranges = params.iter().zip(grads).zip(&arena.tensors);
        for (tensor, ((param, grad), position)) in layout.tensors.iter().zip(ranges) {
            let group = tensor.group.0;
            groups[group].push(BoundTensor {
                param: param.clone(),
                grad: grad.clone(),
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
        let mut groups = self.bound_tensors(&params, &grads);
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
    async fn step(
        &mut self,
        mut steps: Vec<GroupStep>,
        tensors: &[Vec<BoundTensor>],
        grads: &[Vec<PlacedGrad>],
    ) -> Result<PlannedStep, Error> {
        let setup = self.setup;
        let (device, limits) = (&self.device.clone(), &setup.limits);
        let groups = setup.layout.groups().zip(tensors);
        let groups: Vec<_> = groups
            .map(|(group, tensors)| (setup.bindings(group, Pass::Measure), &tensors[..]))
            .collect();
        let sums = sum_dispatches(device, self.pipelines, limits, &groups).await?;
        let found = sums.measure.into_iter().zip(sums.conclude);
        for ((step, (group, tensors)), (measure, conclude)) in
            steps.iter_mut().zip(groups).zip(found)
        {
            let buffers = &setup.groups[group.index];
            if let Some(table) = &buffers.lines {
                let lines = line_dispatches(device, self.pipelines, limits, group, table, tensors);
                step.lines = lines.await?;
            }
            step.measure = measure;
            step.conclude = conclude;
            let matrices = buffers.matrix.as_ref();
            step.matrices = matrices.map_or_else(Vec::new, |matrix| matrix.dispatches.clone());
        }
        let beginning = if setup.options.skips() {
            let builder = GradStatsBuilder {
                device,
                pipelines: self.pipelines,
                limits,
                layout: &setup.layout,
                options: &setup.options,
                begin_step: &setup.begin_step,
                tensor_factors: setup.tensor_factors.as_ref(),
            };
            Beginning::GradStats(Box::new(builder.build(grads, &mut steps).await?))
        } else {
            Beginning::Numbers(setup.begin_step.bind(device, None).await?)
        };
        Ok(PlannedStep {
            device: self.device.clone(),
            beginning,
            shared_sums: sums.shared,
            groups: steps,
        })
    }
}
