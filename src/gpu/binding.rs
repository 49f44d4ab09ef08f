//! Bind groups, and buffers that are filled without a queue.

use std::ops::Range;

use super::{limits::check_buffer_size, owning::OwningDevice};
use crate::{Error, format::Encoding};

// The bindings of the rules' shaders. Slots take `FIRST_STATE_BINDING` and those after it.
pub(super) const HYPER: u32 = 0;
pub(super) const STEP: u32 = 1;
pub(super) const PARAMS: u32 = 2;
pub(super) const GRADS: u32 = 3;
/// The spans, or another table that says what each workgroup does.
pub(super) const SPANS: u32 = 4;
/// The rule's state of rows and columns. Where a rule concludes: what it adds up.
pub(super) const LINES: u32 = 11;
pub(super) const PARTIALS: u32 = 12;
pub(super) const TENSORS: u32 = 13;
pub(super) const WINDOW: u32 = 14;
pub(super) const TENSOR_FACTORS: u32 = 15;
/// What lies beside the parameters: a copy of them, or what their own bits lack.
pub(super) const BESIDE: u32 = 16;
// What begins a step.
pub(super) const RECORDED: u32 = 17;
pub(super) const COEFFICIENTS: u32 = 18;
pub(super) const STATS: u32 = 19;
pub(super) const STEPS: u32 = 20;

/// The buffer of an element slot.
#[derive(Debug)]
pub(super) struct SlotBuffer {
    pub buffer: wgpu::Buffer,
    pub encoding: Encoding,
}

/// The part of a buffer that holds `elements`, whose first is at byte `start` if its number is 0.
pub(super) fn elements_of<'a>(
    binding: u32,
    buffer: &'a wgpu::Buffer,
    start: u64,
    encoding: Encoding,
    elements: &Range<u64>,
) -> wgpu::BindGroupEntry<'a> {
    let size = encoding.bytes(elements.end - elements.start);
    entry(
        binding,
        buffer,
        start + encoding.bytes(elements.start),
        size,
    )
}

/// All of a buffer.
pub(super) fn whole(binding: u32, buffer: &wgpu::Buffer) -> wgpu::BindGroupEntry<'_> {
    entry(binding, buffer, 0, buffer.size())
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

/// Lists each of `buffers` once. A buffer's number is its place in the list.
pub(super) fn numbered<'a>(
    buffers: impl IntoIterator<Item = &'a wgpu::Buffer>,
) -> Vec<&'a wgpu::Buffer> {
    let mut buffers: Vec<_> = buffers.into_iter().collect();
    buffers.sort_unstable();
    buffers.dedup();
    buffers
}

/// The number of `buffer` among those that are [`numbered`].
pub(super) fn number_of(buffers: &[&wgpu::Buffer], buffer: &wgpu::Buffer) -> usize {
    buffers.partition_point(|other| *other < buffer)
}

/// # Errors
/// [`Error::Limit`] for an entry that is too large to be bound. Uniforms are small; the pipeline has
/// been checked for them.
pub(super) fn bind(
    device: &wgpu::Device,
    pipeline: &wgpu::ComputePipeline,
    label: &str,
    entries: &[wgpu::BindGroupEntry<'_>],
) -> Result<wgpu::BindGroup, Error> {
    let allowed = device.limits().max_storage_buffer_binding_size;
    for entry in entries {
        let wgpu::BindingResource::Buffer(bound) = &entry.resource else {
            continue;
        };
        let rest = || bound.buffer.size().saturating_sub(bound.offset);
        let needed = bound.size.map_or_else(rest, wgpu::BufferSize::get);
        if needed > allowed {
            return Err(Error::Limit {
                what: format!("binding {} of {label}", entry.binding),
                needed,
                limit: "max_storage_buffer_binding_size",
                allowed,
            });
        }
    }
    Ok(device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: Some(label),
        layout: &pipeline.get_bind_group_layout(0),
        entries,
    }))
}

/// A buffer of zeros.
///
/// # Errors
/// [`Error::Limit`] for one that is too large, here and below.
pub(super) fn zeroed_buffer(
    device: &OwningDevice,
    label: &str,
    usage: wgpu::BufferUsages,
    size: u64,
) -> Result<wgpu::Buffer, Error> {
    check_buffer_size(device, &format!("the buffer of {label}"), size)?;
    Ok(device.create_buffer(&wgpu::BufferDescriptor {
        label: Some(label),
        size,
        usage,
        mapped_at_creation: false,
    }))
}

/// A buffer that holds `bytes`. It is filled through a mapping, since there is no queue.
pub(super) fn filled_buffer(
    device: &OwningDevice,
    label: &str,
    usage: wgpu::BufferUsages,
    bytes: &[u8],
) -> Result<wgpu::Buffer, Error> {
    let size = bytes.len() as u64;
    written_buffer(device, label, usage, size, |view| {
        view.slice(..).copy_from_slice(bytes);
    })
}

/// A buffer of `size` bytes. It is zero except for what `write` puts into it.
pub(super) fn written_buffer(
    device: &OwningDevice,
    label: &str,
    usage: wgpu::BufferUsages,
    size: u64,
    write: impl FnOnce(&mut wgpu::BufferViewMut),
) -> Result<wgpu::Buffer, Error> {
    check_buffer_size(device, &format!("the buffer of {label}"), size)?;
    let buffer = device.create_buffer(&wgpu::BufferDescriptor {
        label: Some(label),
        size,
        usage,
        mapped_at_creation: true,
    });
    let mapped = buffer.get_mapped_range_mut(..);
    // If the buffer could not be made, the error scope around this gives the better error.
    let mut view = mapped.map_err(|_| Error::DeviceLost {
        during: format!("filling the buffer of {label}"),
    })?;
    write(&mut view);
    drop(view);
    buffer.unmap();
    Ok(buffer)
}
