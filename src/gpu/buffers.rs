//! What a caller brings.

use crate::BufferRange;

/// A caller's own buffers of parameters, gradients and copies: one range per tensor, in the order in which
/// the layout's tensors were added.
///
/// ```
/// use wgpu_optim::{Buffers, Format, Formats, Layout, Optimizer, Options, rules::AdamW};
/// # use wgpu_optim::{BufferRange, Gpu, GpuOptions, wgpu};
/// # let Gpu { device, queue, .. } = Gpu::open_blocking(&GpuOptions::default())?;
/// # let buffer = |size| {
/// #     BufferRange::whole(&device.create_buffer(&wgpu::BufferDescriptor {
/// #         label: None,
/// #         size,
/// #         usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST,
/// #         mapped_at_creation: false,
/// #     }))
/// # };
/// # let (weight, weight_grad, half_weight) = (buffer(8192), buffer(8192), buffer(4096));
///
/// let mut layout = Layout::new();
/// let formats = Formats { copy: Some(Format::F16), ..Default::default() };
/// let group = layout.group_in(AdamW::default(), formats)?;
/// let tensor = layout.tensor(group, "weight", &[64, 32])?;
/// let buffers = Buffers {
///     params: vec![weight],
///     grads: Some(vec![weight_grad]),
///     copies: Some(vec![half_weight.clone()]), // what your forward pass reads
/// };
/// let optimizer = Optimizer::over(&device, &layout, buffers, Options::default())?;
/// assert_eq!(optimizer.param_copy(tensor)?, half_weight);
/// # Ok::<(), wgpu_optim::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Buffers {
    /// They must have the usage `STORAGE` and must not overlap.
    pub params: Vec<BufferRange>,
    /// They must have the usage `STORAGE` and must not overlap parameters. They may lie in the same
    /// buffers as parameters. `None` means that they are passed at each step; see
    /// [`Optimizer::step_with`](crate::Optimizer::step_with).
    pub grads: Option<Vec<BufferRange>>,
    /// Where the step writes the [copies](crate::Formats::copy) of parameters in 16 bits. Only tensors whose
    /// group has a copy have a range here. They must have the usage `STORAGE`, must not overlap, and must lie
    /// in buffers that hold neither parameters nor gradients. They may begin at any multiple of 4 bytes; at
    /// one of 8 the step is faster. Two bytes behind an odd last element belong to its range too: a step
    /// leaves them as they are, and [`write_param`](crate::Optimizer::write_param) zeroes them.
    ///
    /// `None` means that the optimizer keeps copies in buffers of its own.
    pub copies: Option<Vec<BufferRange>>,
}
