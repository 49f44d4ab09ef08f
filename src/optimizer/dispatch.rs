//! Pipelines and bind groups: a plan made concrete on a device.

use std::{collections::HashMap, ops::Range};

use super::{begin_step::STEP_BYTES, begin_step::STEP_STRIDE};
use crate::{
    BufferRange, Error, Rule, ShaderLocation,
    buffer::guarded,
    layout::TENSOR_ALIGNMENT,
    plan::{DispatchLimits, GradPlace, Piece, RangeWindow, arena_windows, range_windows},
    shader::{self, Access, Around, FIRST_STATE_BINDING, Pass},
};

/// One dispatch, ready to be recorded.
#[derive(Debug, Clone)]
pub(super) struct Dispatch {
    pub pipeline: wgpu::ComputePipeline,
    pub bind_group: wgpu::BindGroup,
    pub grid: [u32; 2],
    /// If it may be left out: where the device says whether it is.
    pub switched: Option<Switched>,
}

/// Where a dispatch finds its grid.
#[derive(Debug, Clone)]
pub(super) struct Switched {
    pub buffer: wgpu::Buffer,
    pub offset: u64,
}

impl Dispatch {
    pub fn record(&self, pass: &mut wgpu::ComputePass<'_>) {
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.bind_group, &[]);
        match &self.switched {
            Some(Switched { buffer, offset }) => pass.dispatch_workgroups_indirect(buffer, *offset),
            None => {
                let [x, y] = self.grid;
                pass.dispatch_workgroups(x, y, 1);
            }
        }
    }
}

/// Compiled shaders by text and entry point: groups of one rule and variant share one.
#[derive(Debug, Default)]
pub(super) struct Pipelines {
    by_shader: HashMap<(String, &'static str), wgpu::ComputePipeline>,
}

impl Pipelines {
    /// A shader of this crate's.
    pub async fn compile(
        &mut self,
        device: &wgpu::Device,
        text: &str,
        entry_point: &'static str,
    ) -> Result<wgpu::ComputePipeline, Error> {
        let compiled = self.get(device, entry_point, text, entry_point).await;
        compiled.map_err(|(error, _)| error)
    }

    /// The shader of a rule.
    async fn of_rule(
        &mut self,
        device: &wgpu::Device,
        group: GroupBindings<'_>,
        access: Access,
    ) -> Result<wgpu::ComputePipeline, Error> {
        let GroupBindings {
            rule, around, pass, ..
        } = group;
        let text = shader::update(rule, access, around);
        let compiled = self.get(device, rule.name(), &text, pass.entry_point());
        compiled
            .await
            .map_err(|(error, messages)| shader_error(rule, error, messages))
    }

    /// An error comes with what the compiler said, if it was the compiler's.
    async fn get(
        &mut self,
        device: &wgpu::Device,
        label: &str,
        text: &str,
        entry_point: &'static str,
    ) -> Result<wgpu::ComputePipeline, (Error, Vec<wgpu::CompilationMessage>)> {
        let key = (text.to_owned(), entry_point);
        if let Some(pipeline) = self.by_shader.get(&key) {
            return Ok(pipeline.clone());
        }
        let mut module = None;
        let parsed = guarded(device, label, || {
            module = Some(device.create_shader_module(wgpu::ShaderModuleDescriptor {
                label: Some(label),
                source: wgpu::ShaderSource::Wgsl(text.into()),
            }));
        });
        let parsed = parsed.await;
        if let (Err(error), Some(module)) = (parsed, &module) {
            let information = module.get_compilation_info().await;
            return Err((error, information.messages));
        }
        let compiled = guarded(device, label, || {
            Some(
                device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                    label: Some(label),
                    layout: None,
                    module: module.as_ref()?,
                    entry_point: Some(entry_point),
                    compilation_options: Default::default(),
                    cache: None,
                }),
            )
        });
        let lost = || Error::DeviceLost {
            during: format!("compiling {label}"),
        };
        let compiled = compiled.await.and_then(|made| made.ok_or_else(lost));
        let pipeline = compiled.map_err(|error| (error, Vec::new()))?;
        self.by_shader.insert(key, pipeline.clone());
        Ok(pipeline)
    }
}

/// Says where in the rule's own text a compiler stumbled.
fn shader_error(rule: &dyn Rule, error: Error, messages: Vec<wgpu::CompilationMessage>) -> Error {
    let Error::Wgpu { what, message } = error else {
        return error;
    };
    let place = messages.iter().find_map(|message| message.location);
    // The rule's text comes first, so what lies beyond it is around it.
    let before = place.and_then(|place| rule.wgsl().get(..place.offset as usize));
    let location = before.map(|before| {
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        ShaderLocation {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    });
    let place = match location {
        Some(ShaderLocation { line, column }) => {
            format!("at line {line}, column {column} of its WGSL")
        }
        None => "where the code around its WGSL uses it, see update_shader()".to_owned(),
    };
    Error::Shader {
        rule: what,
        place,
        location,
        message,
    }
}

/// What every dispatch of one group binds.
#[derive(Debug, Clone, Copy)]
pub(super) struct GroupBindings<'a> {
    pub index: usize,
    pub rule: &'a dyn Rule,
    /// The group's `Hyper`.
    pub hyper: &'a wgpu::Buffer,
    /// All groups' `Step`s.
    pub steps: &'a wgpu::Buffer,
    /// The slots in use, each with the group's elements; the average last.
    pub state: &'a [wgpu::Buffer],
    pub pass: Pass,
    pub around: Around,
    /// Where gradients are clipped by tensor: the factors of all tensors, and the group's first
    /// unit of 64 elements among them.
    pub tensor_factors: Option<(&'a wgpu::Buffer, u64)>,
}

/// The dispatches of a group whose parameters and gradients are `elements` of two arenas.
pub(super) async fn over_arena(
    device: &wgpu::Device,
    pipelines: &mut Pipelines,
    limits: &DispatchLimits,
    group: GroupBindings<'_>,
    [params, grads]: [&wgpu::Buffer; 2],
    elements: Range<u64>,
) -> Result<Vec<Dispatch>, Error> {
    let windows = arena_windows(elements.clone(), limits);
    let mut dispatches = Vec::new();
    for window in windows {
        let access = match window.grid {
            [_, 1] => Access::Arena,
            _ => Access::FoldedArena,
        };
        let pipeline = pipelines.of_rule(device, group, access).await?;
        let size = 4 * (window.elements.end - window.elements.start);
        let offset = 4 * window.elements.start;
        let in_group = offset - 4 * elements.start;
        let bind_group = guarded(device, "the bindings of an arena", || {
            let window = group.window(device, in_group)?;
            let mut entries = group.entries(in_group, size);
            entries.push(entry(2, params, offset, size));
            if group.pass == Pass::Update {
                entries.push(entry(3, grads, offset, size));
            }
            entries.extend(group.clip_entries(&window));
            Ok::<_, Error>(bind(device, &pipeline, group.rule.name(), &entries))
        });
        dispatches.push(Dispatch {
            bind_group: bind_group.await??,
            pipeline,
            grid: window.grid,
            switched: None,
        });
    }
    Ok(dispatches)
}

/// The dispatches of a group whose parameters and gradients are a caller's ranges, checked
/// before; `state` gives each tensor's first element in the group's state.
pub(super) async fn over_ranges(
    device: &wgpu::Device,
    pipelines: &mut Pipelines,
    limits: &DispatchLimits,
    group: GroupBindings<'_>,
    tensors: Vec<(&BufferRange, &BufferRange, u64)>,
) -> Result<Vec<Dispatch>, Error> {
    let mut buffers: Vec<&wgpu::Buffer> = tensors
        .iter()
        .flat_map(|(param, grad, _)| [&param.buffer, &grad.buffer])
        .collect();
    buffers.sort_unstable();
    buffers.dedup();
    let number = |buffer| buffers.partition_point(|other| *other < buffer);
    let pieces: Vec<_> = tensors
        .into_iter()
        .map(|(param, grad, state)| Piece {
            param_buffer: number(&param.buffer),
            param_offset: param.offset,
            grad_buffer: number(&grad.buffer),
            grad_offset: grad.offset,
            state,
            count: param.size / 4,
        })
        .collect();
    let mut dispatches = Vec::new();
    for window in range_windows(&pieces, limits) {
        let access = Access::Ranges(window.width, window.grad_place);
        let pipeline = pipelines.of_rule(device, group, access).await?;
        let made = guarded(device, "the bindings of a caller's ranges", || {
            range_dispatch(device, &pipeline, group, &buffers, &window)
        });
        dispatches.push(made.await??);
    }
    Ok(dispatches)
}

fn range_dispatch(
    device: &wgpu::Device,
    pipeline: &wgpu::ComputePipeline,
    group: GroupBindings<'_>,
    buffers: &[&wgpu::Buffer],
    window: &RangeWindow,
) -> Result<Dispatch, Error> {
    let size = |range: &Range<u64>| range.end - range.start;
    let params = buffers[window.param_buffer];
    let grads = buffers[window.grad_buffer];
    let spans = filled_buffer(
        device,
        "spans",
        wgpu::BufferUsages::STORAGE,
        bytemuck::cast_slice(&window.spans),
    )?;
    let factors_window = group.window(device, window.state.start)?;
    let mut entries = group.entries(window.state.start, size(&window.state));
    entries.push(entry(2, params, window.params.start, size(&window.params)));
    if group.pass == Pass::Update && window.grad_place != GradPlace::InParams {
        entries.push(entry(3, grads, window.grads.start, size(&window.grads)));
    }
    entries.push(entry(4, &spans, 0, spans.size()));
    entries.extend(group.clip_entries(&factors_window));
    Ok(Dispatch {
        bind_group: bind(device, pipeline, group.rule.name(), &entries),
        pipeline: pipeline.clone(),
        grid: window.grid,
        switched: None,
    })
}

impl<'a> GroupBindings<'a> {
    /// What the pass binds beside parameters and gradients, for the state from byte `offset` on.
    fn entries(&self, offset: u64, size: u64) -> Vec<wgpu::BindGroupEntry<'a>> {
        let step = self.index as u64 * STEP_STRIDE;
        let mut entries = vec![entry(1, self.steps, step, STEP_BYTES)];
        // Where there is an average, evaluation is about it alone.
        let of_average = self.around.average && self.pass != Pass::Update;
        if !of_average {
            entries.push(entry(0, self.hyper, 0, self.hyper.size()));
        }
        let of_rule = self.state.len() - usize::from(self.around.average);
        let state = match (self.pass, of_average) {
            (Pass::Update, _) => 0..self.state.len(),
            (_, true) => of_rule..self.state.len(),
            (_, false) => 0..of_rule,
        };
        for index in state {
            let binding = FIRST_STATE_BINDING + index as u32;
            entries.push(entry(binding, &self.state[index], offset, size));
        }
        entries
    }

    /// What tells where in the tensors' factors a dispatch begins whose state begins at byte
    /// `offset`.
    fn window(&self, device: &wgpu::Device, offset: u64) -> Result<Option<wgpu::Buffer>, Error> {
        let Some((_, group)) = self.tensor_factors.filter(|_| self.pass == Pass::Update) else {
            return Ok(None);
        };
        let first = group + offset / (4 * TENSOR_ALIGNMENT as u64);
        let contents = [first as u32, 0, 0, 0];
        let uniform = wgpu::BufferUsages::UNIFORM;
        filled_buffer(device, "window", uniform, bytemuck::cast_slice(&contents)).map(Some)
    }

    fn clip_entries<'w>(&self, window: &'w Option<wgpu::Buffer>) -> Vec<wgpu::BindGroupEntry<'w>>
    where
        'a: 'w,
    {
        match (window, self.tensor_factors) {
            (Some(window), Some((factors, _))) => vec![
                entry(14, window, 0, window.size()),
                entry(15, factors, 0, factors.size()),
            ],
            _ => Vec::new(),
        }
    }
}

pub(super) fn entry(
    binding: u32,
    buffer: &wgpu::Buffer,
    offset: u64,
    size: u64,
) -> wgpu::BindGroupEntry<'_> {
    wgpu::BindGroupEntry {
        binding,
        resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
            buffer,
            offset,
            size: wgpu::BufferSize::new(size),
        }),
    }
}

pub(super) fn bind(
    device: &wgpu::Device,
    pipeline: &wgpu::ComputePipeline,
    label: &str,
    entries: &[wgpu::BindGroupEntry<'_>],
) -> wgpu::BindGroup {
    device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: Some(label),
        layout: &pipeline.get_bind_group_layout(0),
        entries,
    })
}

/// A buffer that holds `bytes` from the start, made without a queue.
pub(super) fn filled_buffer(
    device: &wgpu::Device,
    label: &str,
    usage: wgpu::BufferUsages,
    bytes: &[u8],
) -> Result<wgpu::Buffer, Error> {
    let size = bytes.len() as u64;
    written_buffer(device, label, usage, size, |view| {
        view.slice(..).copy_from_slice(bytes);
    })
}

/// A buffer of `size` bytes that is zero but for what `write` puts into it.
pub(super) fn written_buffer(
    device: &wgpu::Device,
    label: &str,
    usage: wgpu::BufferUsages,
    size: u64,
    write: impl FnOnce(&mut wgpu::BufferViewMut),
) -> Result<wgpu::Buffer, Error> {
    let buffer = device.create_buffer(&wgpu::BufferDescriptor {
        label: Some(label),
        size,
        usage,
        mapped_at_creation: true,
    });
    let mapped = buffer.get_mapped_range_mut(..);
    // Where the buffer could not be made, the error scope around this knows more.
    let mut view = mapped.map_err(|_| Error::DeviceLost {
        during: format!("filling the buffer of {label}"),
    })?;
    write(&mut view);
    drop(view);
    buffer.unmap();
    Ok(buffer)
}
