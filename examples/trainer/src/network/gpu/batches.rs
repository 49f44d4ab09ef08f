//! Which rows of an epoch each batch holds, for the shaders.

use anyhow::{Result, ensure};
use wgpu_optim::wgpu::{self, util::DeviceExt};

use super::kernel::{Access, buffer_entry};

/// The first row and the number of rows of each batch.
pub fn batch_slots(count: usize, batch_size: usize) -> impl Iterator<Item = [u32; 4]> {
    (0..count).step_by(batch_size).map(move |first| {
        let rows = batch_size.min(count - first);
        [first as u32, rows as u32, 0, 0]
    })
}

/// One slot per batch, written once: the epochs differ in their order only.
pub fn bind_batches(
    device: &wgpu::Device,
    slots: impl Iterator<Item = [u32; 4]>,
    stride: u32,
) -> Result<(wgpu::BindGroupLayout, wgpu::BindGroup)> {
    let mut contents = Vec::new();
    for slot in slots {
        let begin = contents.len();
        contents.extend_from_slice(bytemuck::cast_slice(&slot));
        contents.resize(begin + stride as usize, 0);
    }
    ensure!(
        u32::try_from(contents.len())
            .is_ok_and(|size| u64::from(size) <= device.limits().max_buffer_size),
        "An epoch of {} batches is too long for the device: choose a larger --batch-size.",
        contents.len() / stride as usize
    );
    let buffer = device.create_buffer_init(&wgpu::util::BufferInitDescriptor {
        label: Some("batches"),
        contents: &contents,
        usage: wgpu::BufferUsages::STORAGE,
    });
    let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
        label: Some("batch"),
        entries: &[buffer_entry(0, Access::Read, true)],
    });
    let binding = wgpu::BufferBinding {
        buffer: &buffer,
        offset: 0,
        size: wgpu::BufferSize::new(16),
    };
    let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: Some("batch"),
        layout: &layout,
        entries: &[wgpu::BindGroupEntry {
            binding: 0,
            resource: wgpu::BindingResource::Buffer(binding),
        }],
    });
    Ok((layout, group))
}
