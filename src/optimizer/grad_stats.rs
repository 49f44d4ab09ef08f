//! Looks at gradients before a step: the host side of `shaders/grad_stats/` and of the dispatches
//! that a step may leave out.

use std::{collections::HashMap, ops::Range};

use bytemuck::{Pod, Zeroable};

use super::{
    begin_step::BeginStep,
    dispatch::{Dispatch, Pipelines, Switched, bind, entry, filled_buffer},
};
use crate::{
    BufferRange, Clip, Error, Options,
    buffer::guarded,
    layout::TENSOR_ALIGNMENT,
    plan::{DispatchLimits, GradPiece, GradWindow, fold, grad_windows},
    shader,
};

/// WGSL's `Run`.
#[derive(Debug, Clone, Copy, Default, Pod, Zeroable)]
#[repr(C)]
struct Run {
    first: u32,
    count: u32,
    group: u32,
    first_unit: u32,
    units: u32,
    largest: u32,
    squares: f32,
    exponent: i32,
}

/// WGSL's `Switch`.
#[derive(Debug, Clone, Copy, Default, Pod, Zeroable)]
#[repr(C)]
struct Switch {
    grid: [u32; 3],
    if_skipped: u32,
    got: [u32; 3],
    padding: u32,
}

/// WGSL's `Guard`, to the next 16 bytes.
#[derive(Debug, Clone, Copy, Default, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Guard {
    clip_norm: f32,
    clips: u32,
    per_batch: f32,
    scales: u32,
    growth_factor: f32,
    backoff_factor: f32,
    growth_interval: u32,
    padding: u32,
}

impl Guard {
    pub fn of(options: &Options) -> Self {
        let (clip_norm, clips) = match options.clip {
            Clip::GlobalNorm(most) => (most, 1),
            Clip::TensorNorm(most) => (most, 0),
            Clip::None | Clip::Value(_) => (0.0, 0),
        };
        let scale = options.loss_scale.unwrap_or_default();
        Self {
            clip_norm: clip_norm as f32,
            clips,
            per_batch: (1.0 / f64::from(options.accumulate)) as f32,
            scales: options.loss_scale.is_some().into(),
            growth_factor: scale.growth_factor as f32,
            backoff_factor: scale.backoff_factor as f32,
            growth_interval: scale.growth_interval,
            padding: 0,
        }
    }
}

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
    /// By group, carried out if the step is skipped.
    zero: Vec<Vec<Dispatch>>,
}

impl GradStats {
    /// Over `groups`' gradients. The switches of `updates` are set, which so become conditional.
    #[expect(clippy::too_many_arguments, reason = "all of it is the optimizer's")]
    pub async fn new(
        device: &wgpu::Device,
        pipelines: &mut Pipelines,
        limits: &DispatchLimits,
        options: &Options,
        begin_step: &BeginStep,
        tensor_factors: Option<&wgpu::Buffer>,
        groups: &[GroupGrads],
        updates: &mut [Vec<Dispatch>],
    ) -> Result<Self, Error> {
        let mut buffers: Vec<&wgpu::Buffer> = groups
            .iter()
            .flat_map(|group| group.ranges.iter().map(|(range, _)| &range.buffer))
            .collect();
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
            let before = partials;
            let mut next = before;
            windows.extend(grad_windows(
                group,
                &pieces,
                limits,
                &mut partials,
                |run, threads| {
                    let run = &mut runs[run];
                    if run.count == 0 {
                        run.first = next as u32;
                    }
                    run.count += threads as u32;
                    next += threads;
                },
            ));
        }

        let mut switches = Vec::new();
        let made = guarded(device, "the shaders that look at gradients", || {
            // A layout always has tensors, but a group need not.
            if runs.is_empty() {
                runs.push(Run::default());
            }
            let storage = wgpu::BufferUsages::STORAGE;
            let runs_buffer = filled_buffer(device, "runs", storage, bytemuck::cast_slice(&runs))?;
            let partials = device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("partial sums"),
                size: 8 * partials.max(1),
                usage: storage,
                mapped_at_creation: false,
            });
            let mut spans = HashMap::new();
            for (index, window) in windows.iter().enumerate() {
                let table = bytemuck::cast_slice(&window.spans);
                spans.insert(index, filled_buffer(device, "grad spans", storage, table)?);
            }
            Ok::<_, Error>((runs_buffer, partials, spans))
        });
        let (runs_buffer, partials, spans) = made.await??;

        let mut measure = vec![Vec::new(); groups.len()];
        let mut measure_extreme = vec![Vec::new(); groups.len()];
        let mut zero = vec![Vec::new(); groups.len()];
        for (index, window) in windows.iter().enumerate() {
            let buffer = buffers[window.buffer];
            let over = Over {
                device,
                buffer,
                window,
                spans: &spans[&index],
            };
            let text = shader::measure(window.width);
            for (entry_point, dispatches) in [
                ("measure", &mut measure),
                ("measure_extreme", &mut measure_extreme),
            ] {
                let mut entries = over.entries();
                entries.push(entry(5, &partials, 0, partials.size()));
                if entry_point == "measure_extreme" {
                    entries.push(entry(6, &runs_buffer, 0, runs_buffer.size()));
                }
                let dispatch = over.dispatch(pipelines, &text, entry_point, &entries);
                dispatches[window.group].push(dispatch.await?);
            }
            if options.zero_grad {
                let text = shader::zero_grads(window.width);
                let entries = over.entries();
                let dispatch = over.dispatch(pipelines, &text, "zero", &entries);
                zero[window.group].push(dispatch.await?);
            }
        }
        for (dispatches, if_skipped) in [(&mut *updates, 0), (&mut zero[..], 1)] {
            for dispatch in dispatches.iter_mut().flatten() {
                let [x, y] = dispatch.grid;
                switches.push(Switch {
                    grid: [x, y, 1],
                    if_skipped,
                    ..Switch::default()
                });
            }
        }
        // No buffer may be empty.
        switches.push(Switch::default());
        let switches = guarded(device, "the switches of a step", || {
            filled_buffer(
                device,
                "switches",
                wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::INDIRECT,
                bytemuck::cast_slice(&switches),
            )
        });
        let switches = switches.await??;
        let conditional = updates.iter_mut().chain(&mut zero).flatten();
        for (index, dispatch) in conditional.enumerate() {
            let got = std::mem::offset_of!(Switch, got) + index * size_of::<Switch>();
            dispatch.switched = Some(Switched {
                buffer: switches.clone(),
                offset: got as u64,
            });
        }

        let grid = fold(runs.len() as u64, limits);
        let mut over_runs = async |text: &str, entry_point, entries: &[_]| {
            let pipeline = pipelines.compile(device, text, entry_point).await?;
            let bind_group = guarded(device, entry_point, || {
                bind(device, &pipeline, entry_point, entries)
            });
            Ok::<_, Error>(Dispatch {
                bind_group: bind_group.await?,
                pipeline,
                grid,
                switched: None,
            })
        };
        let both = [
            entry(5, &partials, 0, partials.size()),
            entry(6, &runs_buffer, 0, runs_buffer.size()),
        ];
        let text = shader::summarize();
        let summarize = over_runs(&text, "summarize", &both).await?;
        let summarize_extreme = over_runs(&text, "summarize_extreme", &both).await?;
        let clip_tensors = match (tensor_factors, &begin_step.guard) {
            (Some(factors), Some(guard)) => {
                let entries = [
                    entry(2, &begin_step.stats, 0, begin_step.stats.size()),
                    entry(6, &runs_buffer, 0, runs_buffer.size()),
                    entry(7, factors, 0, factors.size()),
                    entry(8, guard, 0, guard.size()),
                ];
                Some(over_runs(&shader::clip_tensors(), "clip_tensors", &entries).await?)
            }
            _ => None,
        };
        let bound = begin_step.bind(device, Some((&runs_buffer, &switches)));
        Ok(Self {
            measure,
            summarize,
            measure_extreme,
            summarize_extreme,
            clip_tensors,
            begin_step: bound.await?,
            zero,
        })
    }

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

    /// Records what zeroes the gradients of `group` if the step is skipped.
    pub fn record_zero(&self, pass: &mut wgpu::ComputePass<'_>, group: usize) {
        self.zero[group]
            .iter()
            .for_each(|dispatch| dispatch.record(pass));
    }
}

/// A window of gradients to be dispatched over.
struct Over<'a> {
    device: &'a wgpu::Device,
    buffer: &'a wgpu::Buffer,
    window: &'a GradWindow,
    spans: &'a wgpu::Buffer,
}

impl<'a> Over<'a> {
    fn entries(&self) -> Vec<wgpu::BindGroupEntry<'a>> {
        let Range { start, end } = self.window.grads;
        vec![
            entry(3, self.buffer, start, end - start),
            entry(4, self.spans, 0, self.spans.size()),
        ]
    }

    async fn dispatch(
        &self,
        pipelines: &mut Pipelines,
        text: &str,
        entry_point: &'static str,
        entries: &[wgpu::BindGroupEntry<'_>],
    ) -> Result<Dispatch, Error> {
        let pipeline = pipelines.compile(self.device, text, entry_point).await?;
        let bind_group = guarded(self.device, entry_point, || {
            bind(self.device, &pipeline, entry_point, entries)
        });
        Ok(Dispatch {
            bind_group: bind_group.await?,
            pipeline,
            grid: self.window.grid,
            switched: None,
        })
    }
}
