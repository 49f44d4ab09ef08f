//! Pipelines and bind groups: a plan made concrete on a device.

use std::{collections::HashMap, ops::Range};

use super::{begin_step::STEP_BYTES, begin_step::STEP_STRIDE};
use crate::{
    BufferRange, Error, Rule, ShaderLocation,
    buffer::guarded,
    plan::{DispatchLimits, GradPlace, Piece, RangeWindow, arena_windows, range_windows},
    shader::{self, Access, FIRST_STATE_BINDING, Pass},
};

/// One dispatch, ready to be recorded.
#[derive(Debug, Clone)]
pub(super) struct Dispatch {
    pipeline: wgpu::ComputePipeline,
    bind_group: wgpu::BindGroup,
    grid: [u32; 2],
}

impl Dispatch {
    pub fn record(&self, pass: &mut wgpu::ComputePass<'_>) {
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.bind_group, &[]);
        let [x, y] = self.grid;
        pass.dispatch_workgroups(x, y, 1);
    }
}

/// Compiled update shaders by their text: groups of one rule and variant share one.
#[derive(Debug, Default)]
pub(super) struct Pipelines {
    by_shader: HashMap<(String, Pass), wgpu::ComputePipeline>,
}

impl Pipelines {
    async fn get(
        &mut self,
        device: &wgpu::Device,
        rule: &dyn Rule,
        access: Access,
        pass: Pass,
    ) -> Result<wgpu::ComputePipeline, Error> {
        let key = (shader::update(rule, access), pass);
        if let Some(pipeline) = self.by_shader.get(&key) {
            return Ok(pipeline.clone());
        }
        let (text, pass) = &key;
        let mut module = None;
        let parsed = guarded(device, rule.name(), || {
            module = Some(device.create_shader_module(wgpu::ShaderModuleDescriptor {
                label: Some(rule.name()),
                source: wgpu::ShaderSource::Wgsl(text.as_str().into()),
            }));
        });
        let parsed = parsed.await;
        let Some(module) = module else {
            return Err(Error::DeviceLost {
                during: format!("compiling the shader of rule {}", rule.name()),
            });
        };
        if let Err(error) = parsed {
            let information = module.get_compilation_info().await;
            return Err(shader_error(rule, error, information.messages));
        }
        let compiled = guarded(device, rule.name(), || {
            device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: Some(rule.name()),
                layout: None,
                module: &module,
                entry_point: Some(pass.entry_point()),
                compilation_options: Default::default(),
                cache: None,
            })
        });
        let compiled = compiled.await;
        let pipeline = compiled.map_err(|error| shader_error(rule, error, Vec::new()))?;
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
    /// The slots in use, each with the group's elements.
    pub state: &'a [wgpu::Buffer],
    pub pass: Pass,
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
        let pipeline = pipelines
            .get(device, group.rule, access, group.pass)
            .await?;
        let size = 4 * (window.elements.end - window.elements.start);
        let offset = 4 * window.elements.start;
        let in_group = offset - 4 * elements.start;
        let mut entries = group.entries();
        entries.push(entry(2, params, offset, size));
        if group.pass == Pass::Update {
            entries.push(entry(3, grads, offset, size));
        }
        entries.extend(group.state_entries(in_group, size));
        let bind_group = guarded(device, "the bindings of an arena", || {
            bind(device, &pipeline, group.rule, &entries)
        });
        dispatches.push(Dispatch {
            bind_group: bind_group.await?,
            pipeline,
            grid: window.grid,
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
        let pipeline = pipelines
            .get(device, group.rule, access, group.pass)
            .await?;
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
    let mut entries = group.entries();
    entries.push(entry(2, params, window.params.start, size(&window.params)));
    if group.pass == Pass::Update && window.grad_place != GradPlace::InParams {
        entries.push(entry(3, grads, window.grads.start, size(&window.grads)));
    }
    entries.push(entry(4, &spans, 0, spans.size()));
    entries.extend(group.state_entries(window.state.start, size(&window.state)));
    Ok(Dispatch {
        bind_group: bind(device, pipeline, group.rule, &entries),
        pipeline: pipeline.clone(),
        grid: window.grid,
    })
}

impl<'a> GroupBindings<'a> {
    fn entries(&self) -> Vec<wgpu::BindGroupEntry<'a>> {
        let mut entries = vec![entry(0, self.hyper, 0, self.hyper.size())];
        if self.pass == Pass::Update {
            let step = self.index as u64 * STEP_STRIDE;
            entries.push(entry(1, self.steps, step, STEP_BYTES));
        }
        entries
    }

    fn state_entries(
        &self,
        offset: u64,
        size: u64,
    ) -> impl Iterator<Item = wgpu::BindGroupEntry<'a>> {
        (FIRST_STATE_BINDING..)
            .zip(self.state)
            .map(move |(binding, buffer)| entry(binding, buffer, offset, size))
    }
}

fn entry(binding: u32, buffer: &wgpu::Buffer, offset: u64, size: u64) -> wgpu::BindGroupEntry<'_> {
    wgpu::BindGroupEntry {
        binding,
        resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
            buffer,
            offset,
            size: wgpu::BufferSize::new(size),
        }),
    }
}

fn bind(
    device: &wgpu::Device,
    pipeline: &wgpu::ComputePipeline,
    rule: &dyn Rule,
    entries: &[wgpu::BindGroupEntry<'_>],
) -> wgpu::BindGroup {
    device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: Some(rule.name()),
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
