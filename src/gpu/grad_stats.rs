//! Inspects the gradients before a step. This is the host side of `shaders/grad_stats/`, and of the
//! dispatches that a step may leave out.

use std::{collections::HashMap, ops::Range, sync::Arc};

use super::{
    answers::GuardedDevice,
    begin_step::BeginStep,
    binding::{GRADS, SPANS, entry, filled_buffer, number_of, numbered, whole, zeroed_buffer},
    dispatch::{Dispatch, Switched},
    phases::{GroupStep, each},
    records::{Run, Switch},
    source::ShaderSource,
    unbound::Unbound,
};
use crate::{
    Clip, Error, Layout, Options,
    format::Encoding,
    layout::TENSOR_ALIGNMENT,
    plan::{DispatchLimits, GradRange, GradSpan, GradWindow, Size, Width, by_size, grad_windows},
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
pub(super) struct GradStats<D = Dispatch> {
    /// By group.
    measure: Vec<Vec<D>>,
    summarize: Vec<D>,
    measure_extreme: Vec<Vec<D>>,
    summarize_extreme: Vec<D>,
    clip_tensors: Vec<D>,
    begin_step: D,
}

/// What a [`GradStats`] is built from.
pub(super) struct GradStatsBuilder<'a> {
    pub device: &'a GuardedDevice<'a>,
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
    pub fn build(
        self,
        groups: &[Vec<PlacedGrad>],
        steps: &mut [GroupStep<Unbound>],
    ) -> Result<GradStats<Unbound>, Error> {
        let Self {
            device,
            options,
            begin_step,
            ..
        } = self;
        let grads = GradRuns::new(&self, groups);
        let [runs, partials] = device.guarded("the statistics of gradients", || {
            let storage = wgpu::BufferUsages::STORAGE;
            let runs = filled_buffer(device, "runs", storage, bytemuck::cast_slice(&grads.runs))?;
            let bytes = PARTIAL_BYTES * grads.partials.max(1);
            let partials = zeroed_buffer(device, "partial sums", storage, bytes)?;
            Ok::<_, Error>([runs, partials])
        })??;

        let layout = self.layout;
        let of_layout = layout.groups();
        let encodings: Vec<_> = of_layout.map(|group| layout.storage(group).grads).collect();
        let mut measure = vec![Vec::new(); groups.len()];
        let mut measure_extreme = measure.clone();
        let mut sources = Sources::default();
        let sums = whole(5, &partials);
        let extremes = [sums.clone(), whole(6, &runs)];
        for window in &grads.windows {
            let of_group = window.group;
            let encoding = encodings[of_group];
            for (size, spans) in window.by_size() {
                let [first, second] = match size {
                    Size::Small => ["measure_small", "measure_small_extreme"],
                    Size::Large => ["measure_large", "measure_large_extreme"],
                };
                let grid = size.grid(spans.len(), self.limits);
                let measured = MeasuredSpans::new(&self, &grads, window, &spans, grid)?;
                let mut source = |entry_point| {
                    sources.get((entry_point, window.width, encoding), shader::measure)
                };
                let found = measured.dispatch(&source(first), &extremes[..1]);
                measure[of_group].push(found);
                let found = measured.dispatch(&source(second), &extremes);
                measure_extreme[of_group].push(found);
            }
            if options.zero_grad {
                let (spans, grid) = (&window.spans, window.grid);
                let zeroed = MeasuredSpans::new(&self, &grads, window, spans, grid)?;
                let source = sources.get(("zero", window.width, encoding), shader::zero_grads);
                let zero = zeroed.dispatch(&source, &[]);
                steps[of_group].zero_if_skipped.push(zero);
            }
        }
        let switches = self.make_conditional(steps)?;

        let mut summarize = Vec::new();
        let mut summarize_extreme = Vec::new();
        let mut clip_tensors = Vec::new();
        let [summary, clipping] = [shader::summarize(), shader::clip_tensors()];
        for (size, members) in grads.by_size() {
            let indices = device.guarded("the runs of a size", || {
                let storage = wgpu::BufferUsages::STORAGE;
                filled_buffer(device, "indices", storage, bytemuck::cast_slice(&members))
            })??;
            let grid = size.grid(members.len(), self.limits);
            let [first, second, clip] = match size {
                Size::Small => ["summarize_small", "summarize_small_extreme", "clip_small"],
                Size::Large => ["summarize_large", "summarize_large_extreme", "clip_large"],
            };
            let entries = [&extremes[..], &[whole(INDICES, &indices)]].concat();
            let of_summary = |entry_point| {
                dispatch(
                    &ShaderSource::new(summary.clone(), entry_point),
                    grid,
                    &entries,
                )
            };
            summarize.push(of_summary(first));
            summarize_extreme.push(of_summary(second));
            if let (Some(factors), Some(guard)) = (self.tensor_factors, &begin_step.guard) {
                let entries = [
                    whole(2, &begin_step.stats),
                    whole(6, &runs),
                    whole(7, factors),
                    whole(8, guard),
                    whole(INDICES, &indices),
                ];
                let source = ShaderSource::new(clipping.clone(), clip);
                clip_tensors.push(dispatch(&source, grid, &entries));
            }
        }
        Ok(GradStats {
            measure,
            summarize,
            measure_extreme,
            summarize_extreme,
            clip_tensors,
            begin_step: begin_step.dispatch(Some((&runs, &switches))),
        })
    }

    /// Gives each dispatch of `steps` a switch.
    fn make_conditional(&self, steps: &mut [GroupStep<Unbound>]) -> Result<wgpu::Buffer, Error> {
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
        let buffer = self.device.guarded("the switches of a step", || {
            let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::INDIRECT;
            let contents = bytemuck::cast_slice(&switches);
            filled_buffer(self.device, "switches", usage, contents)
        })??;
        for (index, dispatch) in dispatches.into_iter().enumerate() {
            let got = std::mem::offset_of!(Switch, got) + index * size_of::<Switch>();
            dispatch.switched = Some(Switched {
                buffer: buffer.clone(),
                offset: got as u64,
            });
        }
        Ok(buffer)
    }
}

fn dispatch(
    source: &Arc<ShaderSource>,
    grid: [u32; 2],
    entries: &[wgpu::BindGroupEntry<'_>],
) -> Unbound {
    let name = source.entry_point;
    Unbound::new(source, name, name, entries, grid)
}

/// The shaders over windows of gradients. Many windows have the same.
#[derive(Default)]
struct Sources(HashMap<(&'static str, Width, Encoding), Arc<ShaderSource>>);

impl Sources {
    fn get(
        &mut self,
        key: (&'static str, Width, Encoding),
        text: fn(Width, Encoding) -> String,
    ) -> Arc<ShaderSource> {
        let (entry_point, width, encoding) = key;
        let source = self.0.entry(key);
        let source =
            source.or_insert_with(|| ShaderSource::new(text(width, encoding), entry_point));
        source.clone()
    }
}

impl<D> GradStats<D> {
    /// All dispatches.
    pub fn dispatches(&self) -> impl Iterator<Item = &D> {
        let measured = self.measure.iter().chain(&self.measure_extreme).flatten();
        let summarized = self.summarize.iter().chain(&self.summarize_extreme);
        let others = self.clip_tensors.iter().chain([&self.begin_step]);
        measured.chain(summarized).chain(others)
    }

    pub fn try_map<E>(
        self,
        map: &mut impl FnMut(D) -> Result<E, Error>,
    ) -> Result<GradStats<E>, Error> {
        let mut of_groups = |groups: Vec<Vec<D>>| {
            let groups = groups.into_iter().map(|group| each(group, map));
            groups.collect::<Result<Vec<_>, Error>>()
        };
        Ok(GradStats {
            measure: of_groups(self.measure)?,
            measure_extreme: of_groups(self.measure_extreme)?,
            summarize: each(self.summarize, map)?,
            summarize_extreme: each(self.summarize_extreme, map)?,
            clip_tensors: each(self.clip_tensors, map)?,
            begin_step: map(self.begin_step)?,
        })
    }
}

impl GradStats {
    /// Records how the numbers of a step are computed, and what must run before that, for the groups
    /// that take part.
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
        self.begin_step.record(pass);
    }
}

/// Spans of one window of gradients, to be dispatched.
struct MeasuredSpans<'m> {
    buffer: &'m wgpu::Buffer,
    window: &'m GradWindow,
    spans: wgpu::Buffer,
    grid: [u32; 2],
}

impl<'m> MeasuredSpans<'m> {
    fn new(
        builder: &GradStatsBuilder<'_>,
        grads: &'m GradRuns<'_>,
        window: &'m GradWindow,
        spans: &[GradSpan],
        grid: [u32; 2],
    ) -> Result<Self, Error> {
        let spans = builder.device.guarded("the spans of gradients", || {
            let table = bytemuck::cast_slice(spans);
            let storage = wgpu::BufferUsages::STORAGE;
            filled_buffer(builder.device, "grad spans", storage, table)
        })??;
        Ok(Self {
            buffer: grads.buffers[window.buffer],
            window,
            spans,
            grid,
        })
    }

    fn dispatch(&self, source: &Arc<ShaderSource>, beside: &[wgpu::BindGroupEntry<'_>]) -> Unbound {
        let Range { start, end } = self.window.grads;
        let mut entries = vec![
            entry(GRADS, self.buffer, start, end - start),
            whole(SPANS, &self.spans),
        ];
        entries.extend_from_slice(beside);
        dispatch(source, self.grid, &entries)
    }
}
