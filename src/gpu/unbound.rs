//! Dispatches as they are planned: before their shaders are compiled.

use std::sync::Arc;

use super::{
    answers::GuardedDevice,
    binding::bind,
    dispatch::{Dispatch, Switched},
    source::ShaderSource,
};
use crate::Error;

/// A dispatch that becomes a [`Dispatch`] once its shader is compiled: only then can its bind group be
/// made. So everything can be planned first, and all shaders compiled side by side.
#[derive(Debug, Clone)]
pub(super) struct Unbound {
    pub source: Arc<ShaderSource>,
    bindings: Vec<Binding>,
    /// The bind group's.
    label: String,
    /// The bindings, for errors.
    what: &'static str,
    pub grid: [u32; 2],
    pub switched: Option<Switched>,
    /// Whether it brings the numbers of the step that it is part of.
    pub begins: bool,
}

/// A [`wgpu::BindGroupEntry`] that has its buffer.
#[derive(Debug, Clone)]
struct Binding {
    number: u32,
    buffer: wgpu::Buffer,
    offset: u64,
    size: Option<wgpu::BufferSize>,
}

impl Unbound {
    /// `what` names the bindings in errors. All `entries` must be buffers.
    pub fn new(
        source: &Arc<ShaderSource>,
        what: &'static str,
        label: &str,
        entries: &[wgpu::BindGroupEntry<'_>],
        grid: [u32; 2],
    ) -> Self {
        let binding = |entry: &wgpu::BindGroupEntry<'_>| match &entry.resource {
            wgpu::BindingResource::Buffer(bound) => Some(Binding {
                number: entry.binding,
                buffer: bound.buffer.clone(),
                offset: bound.offset,
                size: bound.size,
            }),
            _ => None,
        };
        Self {
            source: source.clone(),
            bindings: entries.iter().filter_map(binding).collect(),
            label: label.to_owned(),
            what,
            grid,
            switched: None,
            begins: false,
        }
    }

    /// The same, which [`begins`](Self::begins) the step or does not.
    pub fn beginning(self, begins: bool) -> Self {
        Self { begins, ..self }
    }

    /// # Errors
    /// [`Error::Limit`] for a binding that is too large.
    pub fn bind(self, device: &GuardedDevice<'_>) -> Result<Dispatch, Error> {
        let pipeline = self.source.compiled.get().cloned();
        let pipeline = pipeline.ok_or_else(|| Error::DeviceLost {
            during: format!("compiling {}", self.source.label),
        })?;
        let entries = self.bindings.iter().map(|binding| wgpu::BindGroupEntry {
            binding: binding.number,
            resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                buffer: &binding.buffer,
                offset: binding.offset,
                size: binding.size,
            }),
        });
        let entries: Vec<_> = entries.collect();
        let bind_group =
            device.guarded(self.what, || bind(device, &pipeline, &self.label, &entries))??;
        Ok(Dispatch {
            pipeline,
            bind_group,
            grid: self.grid,
            switched: self.switched,
        })
    }
}

/// Compiles and binds `dispatches`, blocking.
#[cfg(test)]
pub(super) fn bind_all(
    device: &super::owning::OwningDevice,
    dispatches: Vec<Unbound>,
) -> Result<Vec<Dispatch>, Error> {
    let mut pipelines = super::pipelines::Pipelines::default();
    let sources = dispatches.iter().map(|dispatch| &*dispatch.source);
    pollster::block_on(pipelines.compile(device, sources))?;
    let answers = super::answers::Answers::default();
    let dispatches = dispatches.into_iter();
    dispatches
        .map(|dispatch| dispatch.bind(&answers.on(device)))
        .collect()
}
