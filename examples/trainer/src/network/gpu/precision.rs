//! The layers' shaders compute in f32. Where weights or gradients are stored in 16 bits, they stand here
//! in f32 besides: weights are widened before a batch, gradients narrowed after it.

use std::collections::HashMap;

use anyhow::{Context as _, Result};
use wgpu_optim::{BufferRange, Format, Optimizer, Tensor, wgpu};

use super::kernel::{Access, Dispatch, Kernels, Workgroups};
use super::limits::storage;
use crate::network::Registered;

/// Elements that a workgroup takes at a time: two or four for each of its threads.
const WIDENED: usize = 512;
const NARROWED: usize = 1024;
const MOST_WORKGROUPS: u32 = 1024;

/// Weights and gradients in f32, wherever that is.
pub struct Precision<'a> {
    optimizer: &'a Optimizer,
    weights: HashMap<Tensor, BufferRange>,
    gradients: HashMap<Tensor, BufferRange>,
}

impl<'a> Precision<'a> {
    pub fn new(
        device: &wgpu::Device,
        registered: &Registered,
        optimizer: &'a Optimizer,
    ) -> Result<Self> {
        let layout = &registered.layout;
        let (mut weights, mut gradients) = (HashMap::new(), HashMap::new());
        for tensor in layout.tensors() {
            let formats = layout.formats(layout.group_of(tensor)?)?;
            let count = layout.element_count(tensor)?;
            let wide = |label| BufferRange::whole(&storage(device, label, count));
            if formats.params != Format::F32 {
                weights.insert(tensor, wide("weights"));
            }
            if formats.grads != Format::F32 {
                gradients.insert(tensor, wide("gradients"));
            }
        }
        Ok(Self {
            optimizer,
            weights,
            gradients,
        })
    }

    pub fn weights(&self, tensor: Tensor) -> Result<BufferRange> {
        Ok(match self.weights.get(&tensor) {
            Some(range) => range.clone(),
            None => self.optimizer.param(tensor)?,
        })
    }

    pub fn gradients(&self, tensor: Tensor) -> Result<BufferRange> {
        Ok(match self.gradients.get(&tensor) {
            Some(range) => range.clone(),
            None => self.optimizer.grad(tensor)?,
        })
    }

    /// The gradients that stand beside the optimizer's.
    pub fn beside(&self) -> Vec<BufferRange> {
        self.gradients.values().cloned().collect()
    }

    /// What comes before the layers.
    pub fn widen(
        &self,
        device: &wgpu::Device,
        registered: &Registered,
        kernels: &Kernels<'_>,
    ) -> Result<Vec<Dispatch>> {
        let shader = include_str!("../shaders/widen.wgsl");
        let mut dispatches = Vec::new();
        for tensor in registered.layout.tensors() {
            if let Some(wide) = self.weights.get(&tensor) {
                let halves = self.optimizer.param(tensor)?;
                let kernel = kernels.get("widen", &[shader], &[Access::Read, Access::Write]);
                let count = registered.layout.element_count(tensor)?;
                let operands = [halves.binding(), wide.binding()];
                let constants = [count as u32, 0, 0, 0];
                dispatches.push(kernel.dispatch(
                    device,
                    constants,
                    &operands,
                    grid(count, WIDENED),
                ));
            }
        }
        Ok(dispatches)
    }

    /// What comes after the backward pass.
    pub fn narrow(
        &self,
        device: &wgpu::Device,
        registered: &Registered,
        kernels: &Kernels<'_>,
    ) -> Result<Vec<Dispatch>> {
        let shader = include_str!("../shaders/narrow.wgsl");
        let layout = &registered.layout;
        let mut dispatches = Vec::new();
        for tensor in layout.tensors() {
            if let Some(wide) = self.gradients.get(&tensor) {
                let format = layout.formats(layout.group_of(tensor)?)?.grads;
                let nearest = nearest_half(format)
                    .with_context(|| format!("gradients of this network cannot be in {format}"))?;
                let access = [Access::Read, Access::Write];
                let kernel = kernels.get("narrow", &[shader, nearest], &access);
                let halves = self.optimizer.grad(tensor)?;
                let count = layout.element_count(tensor)?;
                let operands = [wide.binding(), halves.binding()];
                let constants = [count as u32, 0, 0, 0];
                let grid = grid(count, NARROWED);
                dispatches.push(kernel.dispatch(device, constants, &operands, grid));
            }
        }
        Ok(dispatches)
    }
}

/// The optimizer's own rounding, in WGSL.
fn nearest_half(format: Format) -> Option<&'static str> {
    match format {
        Format::Bf16 => Some(include_str!("../../../../../shaders/copy/bf16.wgsl")),
        Format::F16 => Some(include_str!("../../../../../shaders/copy/f16.wgsl")),
        _ => None,
    }
}

fn grid(count: usize, at_a_time: usize) -> [Workgroups; 3] {
    let workgroups = count.div_ceil(at_a_time) as u32;
    [
        Workgroups::Fixed(workgroups.min(MOST_WORKGROUPS)),
        Workgroups::ONE,
        Workgroups::ONE,
    ]
}
