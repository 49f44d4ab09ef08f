//! The pipelines of the descent, and what they bind.

use anyhow::{Result, ensure};
use bytemuck::{Pod, Zeroable};
use wgpu_optim::Optimizer;
use wgpu_optim::wgpu::{self, util::DeviceExt};

use super::super::courses::Course;
use crate::functions::Function;

/// The slot of positions that are not kept.
pub const NOWHERE: u32 = u32::MAX;

const WORKGROUP: u32 = 64;

/// Workgroups for so many points.
pub fn workgroups(points: u32) -> u32 {
    points.div_ceil(WORKGROUP)
}

/// `Course` in gradient.wgsl.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct CourseSettings {
    pub first: u32,
    pub count: u32,
    pub all_points: u32,
    pub dimensions: u32,
    pub seed: u32,
    pub sigma: f32,
}

/// `Place` in gradient.wgsl.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Place {
    param: u32,
    grad: u32,
    start: u32,
}

pub struct GradientKernel {
    pub pipeline: wgpu::ComputePipeline,
    layout: wgpu::BindGroupLayout,
}

/// A function's derivatives as WGSL, with the declarations that they need.
pub fn derivatives(function: &dyn Function) -> String {
    let common = include_str!("../../functions/derivatives.wgsl");
    format!("{common}\n{}", function.wgsl())
}

impl GradientKernel {
    pub fn new(device: &wgpu::Device, function: &dyn Function) -> Self {
        let derivatives = derivatives(function);
        let [noise, main] = [
            include_str!("../noise.wgsl"),
            include_str!("../gradient.wgsl"),
        ];
        let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: Some(function.name()),
            source: wgpu::ShaderSource::Wgsl(format!("{derivatives}\n{noise}\n{main}").into()),
        });
        use wgpu::BufferBindingType::{Storage, Uniform};
        let [read, written] = [true, false].map(|read_only| Storage { read_only });
        // The step's numbers lie at another offset each time.
        let types = [
            (Uniform, false),
            (Uniform, true),
            (read, false),
            (read, false),
            (written, false),
            (written, false),
            (written, false),
        ];
        let entries = types.into_iter().zip(0..);
        let entries =
            entries.map(
                |((ty, has_dynamic_offset), binding)| wgpu::BindGroupLayoutEntry {
                    binding,
                    visibility: wgpu::ShaderStages::COMPUTE,
                    ty: wgpu::BindingType::Buffer {
                        ty,
                        has_dynamic_offset,
                        min_binding_size: None,
                    },
                    count: None,
                },
            );
        let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label: Some("gradient"),
            entries: &entries.collect::<Vec<_>>(),
        });
        let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: Some("gradient"),
            bind_group_layouts: &[Some(&layout)],
            ..Default::default()
        });
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(function.name()),
            layout: Some(&pipeline_layout),
            module: &module,
            entry_point: Some("main"),
            compilation_options: wgpu::PipelineCompilationOptions {
                constants: &function.constants(),
                ..Default::default()
            },
            cache: None,
        });
        Self { pipeline, layout }
    }

    /// Binds the points of `course`, then the buffers of Hessians, of positions and of the steps'
    /// numbers, which all courses share.
    pub fn bind(
        &self,
        device: &wgpu::Device,
        optimizer: &Optimizer,
        course: &Course,
        settings: CourseSettings,
        [hessians, positions, moments]: [&wgpu::Buffer; 3],
    ) -> Result<wgpu::BindGroup> {
        let mut places = Vec::new();
        let mut arenas = None;
        for ((tensor, _), start) in course.points().zip(course.start_numbers()) {
            let [param, grad] = [optimizer.param(tensor)?, optimizer.grad(tensor)?];
            places.push(Place {
                param: (param.offset / 4) as u32,
                grad: (grad.offset / 4) as u32,
                start: start as u32,
            });
            arenas = Some([param.buffer, grad.buffer]);
        }
        ensure!(!places.is_empty(), "There is no point to descend from.");
        let filled = |contents, usage| {
            device.create_buffer_init(&wgpu::util::BufferInitDescriptor {
                label: Some("course"),
                contents,
                usage,
            })
        };
        let settings = filled(bytemuck::bytes_of(&settings), wgpu::BufferUsages::UNIFORM);
        let places = filled(bytemuck::cast_slice(&places), wgpu::BufferUsages::STORAGE);
        let Some([params, grads]) = &arenas else {
            anyhow::bail!("There is no point to descend from.");
        };
        let buffers = [
            &settings, moments, &places, params, grads, hessians, positions,
        ];
        let mut entries = entries(buffers);
        // Of the steps' numbers it sees one step's.
        entries[1].resource = wgpu::BindingResource::Buffer(wgpu::BufferBinding {
            buffer: moments,
            offset: 0,
            size: wgpu::BufferSize::new(8),
        });
        Ok(device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some("gradient"),
            layout: &self.layout,
            entries: &entries,
        }))
    }
}

/// Whole buffers, bound in their order.
pub fn entries<const N: usize>(buffers: [&wgpu::Buffer; N]) -> [wgpu::BindGroupEntry<'_>; N] {
    let mut binding = 0;
    buffers.map(|buffer| {
        binding += 1;
        wgpu::BindGroupEntry {
            binding: binding - 1,
            resource: buffer.as_entire_binding(),
        }
    })
}

pub struct CurvatureKernel {
    pub pipeline: wgpu::ComputePipeline,
}

impl CurvatureKernel {
    pub fn new(device: &wgpu::Device) -> Self {
        let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: Some("curvature"),
            source: wgpu::ShaderSource::Wgsl(include_str!("../curvature.wgsl").into()),
        });
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some("curvature"),
            layout: None,
            module: &module,
            entry_point: Some("main"),
            compilation_options: wgpu::PipelineCompilationOptions::default(),
            cache: None,
        });
        Self { pipeline }
    }
}
