//! Looks at gradients before a step: the host side of `shaders/grad_stats/` and of the dispatches
//! that a step may leave out.

use std::ops::Range;

use super::{
    begin_step::BeginStep,
    binding::{bind, entry, filled_buffer},
    dispatch::{Dispatch, Switched},
    phases::GroupStep,
    pipelines::Pipelines,
    records::{Run, Switch},
};
use crate::{
    BufferRange, Clip, Error, Options,
    buffer::guarded,
    layout::TENSOR_ALIGNMENT,
    plan::{DispatchLimits, GradPiece, GradWindow, fold, grad_windows},
    shader,
};

/// The gradients of one group, tensor by tensor or all in one: bytes, and where the tensor's state
/// begins in the whole arena.
pub(super) struct GroupGrads {
    pub ranges: Vec<(BufferRange, usize)>,
}

/// What is recorded before a guarded step, and how it leaves out what must not happen.
#[derive(Debug)]
pub(super) struct GradStats {
    /// By group.
    measure: Vec<Vec<Dispatch>>,
    summarize: Dispatch,
    measure_extreme: Vec<Vec<Dispatch>>,
    summarize_extreme: Dispatch,
    clip_tensors: Option<Dispatch>,
    pub begin_step: wgpu::BindGroup,
}

/// What all of it is made from.
pub(super) struct GradStatsBuilder<'a> {
    pub device: &'a wgpu::Device,
    pub pipelines: &'a mut Pipelines,
    pub limits: &'a DispatchLimits,
    pub options: &'a Options,
    pub begin_step: &'a BeginStep,
    /// Where gradients are clipped by tensor.
    pub tensor_factors: Option<&'a wgpu::Buffer>,
}

/// Gradients cut into dispatches.
struct Cut<'a> {
    buffers: Vec<&'a wgpu::Buffer>,
    windows: Vec<GradWindow>,
    runs: Vec<Run>,
    partials: u64,
}

impl<'a> Cut<'a> {
    fn new(options: &Options, limits: &DispatchLimits, groups: &'a [GroupGrads]) -> Self {
        let ranges = groups.iter().flat_map(|group| &group.ranges);
        let mut buffers: Vec<_> = ranges.map(|(range, _)| &range.buffer).collect();
        buffers.sort_unstable();
        buffers.dedup();
        let number = |buffer| buffers.partition_point(|other| *other < buffer);
        // A run for each tensor or for each group.
        let by_tensor = matches!(options.clip, Clip::TensorNorm(_));
        let mut runs: Vec<Run> = Vec::new();
        let mut windows = Vec::new();
        let mut partials = 0;
        for (group, grads) in groups.iter().enumerate() {
            let mut pieces = Vec::new();
            for (index, (range, position)) in grads.ranges.iter().enumerate() {
                if by_tensor || index == 0 {
                    let units = (range.size as usize / 4).div_ceil(TENSOR_ALIGNMENT);
                    runs.push(Run {
                        group: group as u32,
                        first_unit: (position / TENSOR_ALIGNMENT) as u32,
                        units: units as u32,
                        ..Run::default()
                    });
                }
                pieces.push(GradPiece {
                    buffer: number(&range.buffer),
                    offset: range.offset,
                    count: range.size / 4,
                    run: runs.len() - 1,
                });
            }
            let mut next = partials;
            let on_span = |run: usize, threads| {
                let run = &mut runs[run];
                if run.count == 0 {
                    run.first = next as u32;
                }
                run.count += threads as u32;
                next += threads;
            };
            let of_group = grad_windows(group, &pieces, limits, &mut partials, on_span);
            windows.extend(of_group);
        }
        // A layout always has tensors, but none of them need be in a group that there is.
        if runs.is_empty() {
            runs.push(Run::default());
        }
        Self {
            buffers,
            windows,
            runs,
            partials,
        }
    }
}

impl GradStatsBuilder<'_> {
    /// What looks at the gradients of `groups`, and leaves out `steps` if they say so: their
    /// dispatches become conditional.
    pub async fn build(
        mut self,
        groups: &[GroupGrads],
        steps: &mut [GroupStep],
    ) -> Result<GradStats, Error> {
        let Self {
            device, options, ..
        } = self;
        let cut = Cut::new(options, self.limits, groups);
        let made = guarded(device, "the statistics of gradients", || {
            let storage = wgpu::BufferUsages::STORAGE;
            let runs = filled_buffer(device, "runs", storage, bytemuck::cast_slice(&cut.runs))?;
            let partials = device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("partial sums"),
                size: 8 * cut.partials.max(1),
                usage: storage,
                mapped_at_creation: false,
            });
            Ok::<_, Error>([runs, partials])
        });
        let [runs, partials] = made.await??;

        let mut measure = vec![Vec::new(); groups.len()];
        let mut measure_extreme = measure.clone();
        let sums = entry(5, &partials, 0, partials.size());
        let extremes = [sums.clone(), entry(6, &runs, 0, runs.size())];
        for window in &cut.windows {
            let mut measured = MeasuredWindow::new(&mut self, &cut, window).await?;
            let text = shader::measure(window.width);
            let found = measured.dispatch(&text, "measure", &extremes[..1]).await?;
            measure[window.group].push(found);
            let found = measured
                .dispatch(&text, "measure_extreme", &extremes)
                .await?;
            measure_extreme[window.group].push(found);
            if options.zero_grad {
                let text = shader::zero_grads(window.width);
                let zero = measured.dispatch(&text, "zero", &[]).await?;
                steps[window.group].zero_if_skipped.push(zero);
            }
        }
        let switches = self.make_conditional(steps).await?;

        let grid = fold(cut.runs.len() as u64, self.limits);
        let text = shader::summarize();
        let summarize = self.dispatch(grid, &text, "summarize", &extremes).await?;
        let summarize_extreme = self
            .dispatch(grid, &text, "summarize_extreme", &extremes)
            .await?;
        let mut clip_tensors = None;
        let Self { begin_step, .. } = self;
        if let (Some(factors), Some(guard)) = (self.tensor_factors, &begin_step.guard) {
            let entries = [
                entry(2, &begin_step.stats, 0, begin_step.stats.size()),
                entry(6, &runs, 0, runs.size()),
                entry(7, factors, 0, factors.size()),
                entry(8, guard, 0, guard.size()),
            ];
            let text = shader::clip_tensors();
            let made = self.dispatch(grid, &text, "clip_tensors", &entries);
            clip_tensors = Some(made.await?);
        }
        let bound = begin_step.bind(device, Some((&runs, &switches)));
        Ok(GradStats {
            measure,
            summarize,
            measure_extreme,
            summarize_extreme,
            clip_tensors,
            begin_step: bound.await?,
        })
    }

    /// Gives each dispatch of `steps` a switch.
    async fn make_conditional(&self, steps: &mut [GroupStep]) -> Result<wgpu::Buffer, Error> {
        let mut dispatches = Vec::new();
        let mut switches = Vec::new();
        for (dispatch, if_skipped) in steps.iter_mut().flat_map(GroupStep::conditional) {
            let [x, y] = dispatch.grid;
            switches.push(Switch {
                grid: [x, y, 1],
                if_skipped: if_skipped.into(),
                ..Switch::default()
            });
            dispatches.push(dispatch);
        }
        // No buffer may be empty.
        switches.push(Switch::default());
        let made = guarded(self.device, "the switches of a step", || {
            let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::INDIRECT;
            let contents = bytemuck::cast_slice(&switches);
            filled_buffer(self.device, "switches", usage, contents)
        });
        let buffer = made.await??;
        for (index, dispatch) in dispatches.into_iter().enumerate() {
            let got = std::mem::offset_of!(Switch, got) + index * size_of::<Switch>();
            dispatch.switched = Some(Switched {
                buffer: buffer.clone(),
                offset: got as u64,
            });
        }
        Ok(buffer)
    }

    /// One dispatch.
    async fn dispatch(
        &mut self,
        grid: [u32; 2],
        text: &str,
        entry_point: &'static str,
        entries: &[wgpu::BindGroupEntry<'_>],
    ) -> Result<Dispatch, Error> {
        let device = self.device;
        let pipeline = self.pipelines.compile(device, text, entry_point).await?;
        let bind_group = guarded(device, entry_point, || {
            bind(device, &pipeline, entry_point, entries)
        });
        Ok(Dispatch {
            bind_group: bind_group.await?,
            pipeline,
            grid,
            switched: None,
        })
    }
}

impl GradStats {
    /// Records what comes before a step's numbers are made, for the groups that take part.
    pub fn record(&self, pass: &mut wgpu::ComputePass<'_>, takes_part: impl Fn(usize) -> bool) {
        let mut over_groups = |groups: &[Vec<Dispatch>], then: &Dispatch| {
            for (group, dispatches) in groups.iter().enumerate() {
                if takes_part(group) {
                    dispatches.iter().for_each(|dispatch| dispatch.record(pass));
                }
            }
            then.record(pass);
        };
        over_groups(&self.measure, &self.summarize);
        over_groups(&self.measure_extreme, &self.summarize_extreme);
        if let Some(clip_tensors) = &self.clip_tensors {
            clip_tensors.record(pass);
        }
    }
}

/// A window of gradients to be dispatched over.
struct MeasuredWindow<'m, 'a> {
    builder: &'m mut GradStatsBuilder<'a>,
    buffer: &'m wgpu::Buffer,
    window: &'m GradWindow,
    spans: wgpu::Buffer,
}

impl<'m, 'a> MeasuredWindow<'m, 'a> {
    async fn new(
        builder: &'m mut GradStatsBuilder<'a>,
        cut: &'m Cut<'_>,
        window: &'m GradWindow,
    ) -> Result<Self, Error> {
        let made = guarded(builder.device, "the spans of gradients", || {
            let table = bytemuck::cast_slice(&window.spans);
            let storage = wgpu::BufferUsages::STORAGE;
            filled_buffer(builder.device, "grad spans", storage, table)
        });
        let spans = made.await??;
        Ok(Self {
            builder,
            buffer: cut.buffers[window.buffer],
            window,
            spans,
        })
    }

    async fn dispatch(
        &mut self,
        text: &str,
        entry_point: &'static str,
        beside: &[wgpu::BindGroupEntry<'_>],
    ) -> Result<Dispatch, Error> {
        let Range { start, end } = self.window.grads;
        let mut entries = vec![
            entry(3, self.buffer, start, end - start),
            entry(4, &self.spans, 0, self.spans.size()),
        ];
        entries.extend_from_slice(beside);
        let grid = self.window.grid;
        self.builder
            .dispatch(grid, text, entry_point, &entries)
            .await
    }
}
