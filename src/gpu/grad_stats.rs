//! Inspects the gradients before a step. This is the host side of `shaders/grad_stats/`, and of the
//! dispatches that a step may leave out.

use std::ops::Range;

use super::{
    begin_step::BeginStep,
    binding::{
        GRADS, SPANS, bind, entry, filled_buffer, number_of, numbered, whole, zeroed_buffer,
    },
    dispatch::{Dispatch, Switched},
    owning::OwningDevice,
    phases::GroupStep,
    pipelines::Pipelines,
    records::{Run, Switch},
};
use crate::{
    Clip, Error, Layout, Options,
    buffer::guarded,
    layout::TENSOR_ALIGNMENT,
    plan::{DispatchLimits, GradRange, GradSpan, GradWindow, Size, by_size, grad_windows},
    shader,
};

/// Gradients that lie together: those of one tensor, or of one group.
pub(super) struct PlacedGrad {
    pub buffer: wgpu::Buffer,
    /// In bytes.
    pub offset: u64,
    /// Number of elements.
    pub count: u64,
    /// First element of their state in the arena of all groups.
    pub start: usize,
}

/// Bytes of a WGSL `Partial`: a sum and its exponent.
const PARTIAL_BYTES: u64 = 8;

/// The binding of the runs that a dispatch is about.
const INDICES: u32 = 9;

/// What is recorded before a guarded step. It decides which dispatches of the step run.
#[derive(Debug)]
pub(super) struct GradStats {
    /// By group.
    measure: Vec<Vec<Dispatch>>,
    summarize: Vec<Dispatch>,
    measure_extreme: Vec<Vec<Dispatch>>,
    summarize_extreme: Vec<Dispatch>,
    clip_tensors: Vec<Dispatch>,
    pub begin_step: wgpu::BindGroup,
}

/// What a [`GradStats`] is built from.
pub(super) struct GradStatsBuilder<'a> {
    pub device: &'a OwningDevice,
    pub pipelines: &'a mut Pipelines,
    pub limits: &'a DispatchLimits,
    pub layout: &'a Layout,
    pub options: &'a Options,
    pub begin_step: &'a BeginStep,
    /// Set if gradients are clipped by tensor.
    pub tensor_factors: Option<&'a wgpu::Buffer>,
}

/// Gradients cut into windows, and the runs that their norms belong to.
struct GradRuns<'a> {
    buffers: Vec<&'a wgpu::Buffer>,
    windows: Vec<GradWindow>,
    runs: Vec<Run>,
    partials: u64,
}

impl<'a> GradRuns<'a> {
    fn new(builder: &GradStatsBuilder<'_>, groups: &'a [Vec<PlacedGrad>]) -> Self {
        let GradStatsBuilder {
            layout,
            options,
            limits,
            ..
        } = builder;
        let grads = groups.iter().flatten();
        let buffers = numbered(grads.map(|placed| &placed.buffer));
        // There is one run per tensor, or one per group.
        let by_tensor = matches!(options.clip, Clip::TensorNorm(_));
        let mut runs: Vec<Run> = Vec::new();
        let mut windows = Vec::new();
        let mut partials = 0;
        for (grads, of_layout) in groups.iter().zip(layout.groups()) {
            let group = of_layout.0;
            let encoding = layout.storage(of_layout).grads;
            let mut ranges = Vec::new();
            for (index, placed) in grads.iter().enumerate() {
                let &PlacedGrad {
                    offset,
                    count,
                    start,
                    ..
                } = placed;
                if by_tensor || index == 0 {
                    runs.push(Run {
                        group: group as u32,
                        first_unit: (start / TENSOR_ALIGNMENT) as u32,
                        units: count.div_ceil(TENSOR_ALIGNMENT as u64) as u32,
                        ..Run::default()
                    });
                }
                ranges.push(GradRange {
                    buffer: number_of(&buffers, &placed.buffer),
                    offset,
                    count,
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
            let of_group = grad_windows(group, &ranges, encoding, limits, &mut partials, on_span);
            windows.extend(of_group);
        }
        // A layout has tensors, but none of them need belong to one of these groups. No buffer may
        // be empty.
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

    /// The indices of the runs, by how many threads each takes.
    fn by_size(&self) -> impl Iterator<Item = (Size, Vec<u32>)> {
        let size = |index: &u32| Size::of_partials(self.runs[*index as usize].count.into());
        by_size(0..self.runs.len() as u32, size)
    }
}

impl GradStatsBuilder<'_> {
    /// Builds what inspects the gradients of `groups`, and makes the dispatches of `steps`
    /// conditional on the result.
    pub async fn build(
        mut self,
        groups: &[Vec<PlacedGrad>],
        steps: &mut [GroupStep],
    ) -> Result<GradStats, Error> {
        let Self {
            device, options, ..
        } = self;
        let grads = GradRuns::new(&self, groups);
        let made = guarded(device, "the statistics of gradients", || {
            let storage = wgpu::BufferUsages::STORAGE;
            let runs = filled_buffer(device, "runs", storage, bytemuck::cast_slice(&grads.runs))?;
            let bytes = PARTIAL_BYTES * grads.partials.max(1);
            let partials = zeroed_buffer(device, "partial sums", storage, bytes)?;
            Ok::<_, Error>([runs, partials])
        });
        let [runs, partials] = made.await??;

        let layout = self.layout;
        let of_layout = layout.groups();
        let encodings: Vec<_> = of_layout.map(|group| layout.storage(group).grads).collect();
        let mut measure = vec![Vec::new(); groups.len()];
        let mut measure_extreme = measure.clone();
        let sums = whole(5, &partials);
        let extremes = [sums.clone(), whole(6, &runs)];
        for window in &grads.windows {
            let of_group = window.group;
            let encoding = encodings[of_group];
            let text = shader::measure(window.width, encoding);
            for (size, spans) in window.by_size() {
                let [first, second] = match size {
                    Size::Small => ["measure_small", "measure_small_extreme"],
                    Size::Large => ["measure_large", "measure_large_extreme"],
                };
                let grid = size.grid(spans.len(), self.limits);
                let mut measured =
                    MeasuredSpans::new(&mut self, &grads, window, &spans, grid).await?;
                let found = measured.dispatch(&text, first, &extremes[..1]).await?;
                measure[of_group].push(found);
                let found = measured.dispatch(&text, second, &extremes).await?;
                measure_extreme[of_group].push(found);
            }
            if options.zero_grad {
                let text = shader::zero_grads(window.width, encoding);
                let (spans, grid) = (&window.spans, window.grid);
                let mut zeroed = MeasuredSpans::new(&mut self, &grads, window, spans, grid).await?;
                let zero = zeroed.dispatch(&text, "zero", &[]).await?;
                steps[of_group].zero_if_skipped.push(zero);
            }
        }
        let switches = self.make_conditional(steps).await?;

        let mut summarize = Vec::new();
        let mut summarize_extreme = Vec::new();
        let mut clip_tensors = Vec::new();
        let [summary, clipping] = [shader::summarize(), shader::clip_tensors()];
        for (size, members) in grads.by_size() {
            let made = guarded(device, "the runs of a size", || {
                let storage = wgpu::BufferUsages::STORAGE;
                filled_buffer(device, "indices", storage, bytemuck::cast_slice(&members))
            });
            let indices = made.await??;
            let grid = size.grid(members.len(), self.limits);
            let [first, second, clip] = match size {
                Size::Small => ["summarize_small", "summarize_small_extreme", "clip_small"],
                Size::Large => ["summarize_large", "summarize_large_extreme", "clip_large"],
            };
            let entries = [&extremes[..], &[whole(INDICES, &indices)]].concat();
            let made = self.dispatch(grid, &summary, first, &entries);
            summarize.push(made.await?);
            let made = self.dispatch(grid, &summary, second, &entries);
            summarize_extreme.push(made.await?);
            let begin_step = self.begin_step;
            if let (Some(factors), Some(guard)) = (self.tensor_factors, &begin_step.guard) {
                let entries = [
                    whole(2, &begin_step.stats),
                    whole(6, &runs),
                    whole(7, factors),
                    whole(8, guard),
                    whole(INDICES, &indices),
                ];
                let made = self.dispatch(grid, &clipping, clip, &entries);
                clip_tensors.push(made.await?);
            }
        }
        let Self { begin_step, .. } = self;
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

    /// Builds one dispatch.
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
            bind_group: bind_group.await??,
            pipeline,
            grid,
            switched: None,
        })
    }
}

impl GradStats {
    /// Records what must run before the numbers of a step are computed, for the groups that take
    /// part.
    pub fn record(&self, pass: &mut wgpu::ComputePass<'_>, takes_part: impl Fn(usize) -> bool) {
        let mut over_groups = |groups: &[Vec<Dispatch>], then: &[Dispatch]| {
            for (group, dispatches) in groups.iter().enumerate() {
                if takes_part(group) {
                    dispatches.iter().for_each(|dispatch| dispatch.record(pass));
                }
            }
            then.iter().for_each(|dispatch| dispatch.record(pass));
        };
        over_groups(&self.measure, &self.summarize);
        over_groups(&self.measure_extreme, &self.summarize_extreme);
        let clip_tensors = self.clip_tensors.iter();
        clip_tensors.for_each(|dispatch| dispatch.record(pass));
    }
}

/// Spans of one window of gradients, to be dispatched.
struct MeasuredSpans<'m, 'a> {
    builder: &'m mut GradStatsBuilder<'a>,
    buffer: &'m wgpu::Buffer,
    window: &'m GradWindow,
    spans: wgpu::Buffer,
    grid: [u32; 2],
}

impl<'m, 'a> MeasuredSpans<'m, 'a> {
    async fn new(
        builder: &'m mut GradStatsBuilder<'a>,
        grads: &'m GradRuns<'_>,
        window: &'m GradWindow,
        spans: &[GradSpan],
        grid: [u32; 2],
    ) -> Result<Self, Error> {
        let made = guarded(builder.device, "the spans of gradients", || {
            let table = bytemuck::cast_slice(spans);
            let storage = wgpu::BufferUsages::STORAGE;
            filled_buffer(builder.device, "grad spans", storage, table)
        });
        let spans = made.await??;
        Ok(Self {
            builder,
            buffer: grads.buffers[window.buffer],
            window,
            spans,
            grid,
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
            entry(GRADS, self.buffer, start, end - start),
            whole(SPANS, &self.spans),
        ];
        entries.extend_from_slice(beside);
        self.builder
            .dispatch(self.grid, text, entry_point, &entries)
            .await
    }
}
