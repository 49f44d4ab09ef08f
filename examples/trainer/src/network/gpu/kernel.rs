//! Compute shaders and their dispatches as plain data: made once, recorded again for every batch.

use std::cell::RefCell;
use std::collections::HashMap;

use wgpu_optim::wgpu::{self, util::DeviceExt};

/// Compiles each shader once, when it is first asked for: compiling takes most of the start-up time.
pub struct Kernels<'a> {
    device: &'a wgpu::Device,
    batch: &'a wgpu::BindGroupLayout,
    /// By their source.
    compiled: RefCell<HashMap<String, Kernel>>,
}

impl<'a> Kernels<'a> {
    /// `batch` is the layout of `@group(0)`.
    pub fn new(device: &'a wgpu::Device, batch: &'a wgpu::BindGroupLayout) -> Self {
        Self {
            device,
            batch,
            compiled: RefCell::default(),
        }
    }

    /// The shader that `parts` make together, with storage buffers that it uses as `storage` says.
    pub fn get(&self, label: &str, parts: &[&str], storage: &[Access]) -> Kernel {
        let wgsl = parts.concat();
        let mut compiled = self.compiled.borrow_mut();
        if let Some(kernel) = compiled.get(&wgsl) {
            return kernel.clone();
        }
        let kernel = Kernel::new(self.device, self.batch, label, &wgsl, storage);
        compiled.insert(wgsl, kernel.clone());
        kernel
    }
}

/// A compute pipeline whose entry point is `main`.
#[derive(Clone)]
pub struct Kernel {
    label: String,
    pipeline: wgpu::ComputePipeline,
}

/// A kernel with its operands and the number of workgroups.
#[derive(Clone)]
pub struct Dispatch {
    pipeline: wgpu::ComputePipeline,
    operands: wgpu::BindGroup,
    grid: [Workgroups; 3],
}

/// Workgroups in one dimension.
#[derive(Clone, Copy)]
pub enum Workgroups {
    Fixed(u32),
    /// One for so many rows of the batch.
    PerRows(u32),
    /// One for so many positions, of which every row has some.
    PerPositions {
        positions: u32,
        tile: u32,
    },
}

impl Workgroups {
    pub const ONE: Self = Self::Fixed(1);

    /// One for each `tile` of `count`.
    pub fn tiles(count: usize, tile: u32) -> Self {
        Self::Fixed((count as u32).div_ceil(tile))
    }

    fn count(self, rows: u32) -> u32 {
        match self {
            Self::Fixed(count) => count,
            Self::PerRows(tile) => rows.div_ceil(tile),
            Self::PerPositions { positions, tile } => (rows * positions).div_ceil(tile),
        }
    }
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
    fn new(
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
        grid: [Workgroups; 3],
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
            grid,
        }
    }
}

impl Dispatch {
    /// Records the dispatch for a batch of `rows` rows; the batch is bound already.
    pub fn record(&self, pass: &mut wgpu::ComputePass<'_>, rows: u32) {
        let [x, y, z] = self.grid.map(|workgroups| workgroups.count(rows));
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(1, &self.operands, &[]);
        pass.dispatch_workgroups(x, y, z);
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
