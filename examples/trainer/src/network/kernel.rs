//! Compute shaders and their dispatches as plain data: made once, recorded again for every batch.

use wgpu_optim::wgpu::{self, util::DeviceExt};

/// A compute pipeline whose entry point is `main`.
pub struct Kernel {
    label: String,
    pipeline: wgpu::ComputePipeline,
}

/// A kernel with its operands and the number of workgroups.
pub struct Dispatch {
    pipeline: wgpu::ComputePipeline,
    operands: wgpu::BindGroup,
    x: u32,
    y: Workgroups,
}

/// Workgroups in y.
pub enum Workgroups {
    Fixed(u32),
    /// One for so many rows of the batch.
    PerRows(u32),
}

/// How a kernel uses a storage buffer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Access {
    Read,
    Write,
}

impl Kernel {
    /// `batch` is the layout of `@group(0)`. `@group(1)` holds four constant u32 at binding 0 and
    /// then the storage buffers, used as `storage` says.
    ///
    /// Constants and batch are storage buffers, not uniforms: lavapipe compiles a shader anew for
    /// each value of a uniform that bounds a loop, which costs 5 ms whenever two layers take turns.
    pub fn new(
        device: &wgpu::Device,
        batch: &wgpu::BindGroupLayout,
        label: &str,
        wgsl: &str,
        storage: &[Access],
    ) -> Self {
        let entries: Vec<_> = std::iter::once(&Access::Read)
            .chain(storage)
            .zip(0..)
            .map(|(&access, binding)| buffer_entry(binding, access, false))
            .collect();
        let operands = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label: Some(label),
            entries: &entries,
        });
        let layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: Some(label),
            bind_group_layouts: &[Some(batch), Some(&operands)],
            immediate_size: 0,
        });
        let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: Some(label),
            source: wgpu::ShaderSource::Wgsl(wgsl.into()),
        });
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(label),
            layout: Some(&layout),
            module: &module,
            entry_point: Some("main"),
            compilation_options: wgpu::PipelineCompilationOptions::default(),
            cache: None,
        });
        Self {
            label: label.into(),
            pipeline,
        }
    }

    /// Binds the constants and, after them, the storage operands in the kernel's order.
    pub fn dispatch(
        &self,
        device: &wgpu::Device,
        constants: [u32; 4],
        storage: &[wgpu::BindingResource<'_>],
        x: u32,
        y: Workgroups,
    ) -> Dispatch {
        let constants = device.create_buffer_init(&wgpu::util::BufferInitDescriptor {
            label: Some(&self.label),
            contents: bytemuck::cast_slice(&constants),
            usage: wgpu::BufferUsages::STORAGE,
        });
        let entries: Vec<_> = std::iter::once(constants.as_entire_binding())
            .chain(storage.iter().cloned())
            .zip(0..)
            .map(|(resource, binding)| wgpu::BindGroupEntry { binding, resource })
            .collect();
        let operands = device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some(&self.label),
            layout: &self.pipeline.get_bind_group_layout(1),
            entries: &entries,
        });
        Dispatch {
            pipeline: self.pipeline.clone(),
            operands,
            x,
            y,
        }
    }
}

impl Dispatch {
    /// Records the dispatch for a batch of `rows` rows; the batch is bound already.
    pub fn record(&self, pass: &mut wgpu::ComputePass<'_>, rows: u32) {
        let y = match self.y {
            Workgroups::Fixed(count) => count,
            Workgroups::PerRows(tile) => rows.div_ceil(tile),
        };
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(1, &self.operands, &[]);
        pass.dispatch_workgroups(self.x, y, 1);
    }
}

/// A bind group layout's entry for a storage buffer.
pub fn buffer_entry(
    binding: u32,
    access: Access,
    has_dynamic_offset: bool,
) -> wgpu::BindGroupLayoutEntry {
    wgpu::BindGroupLayoutEntry {
        binding,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer {
            ty: wgpu::BufferBindingType::Storage {
                read_only: access == Access::Read,
            },
            has_dynamic_offset,
            min_binding_size: None,
        },
        count: None,
    }
}
