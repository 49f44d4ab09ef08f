//! Where a problem's parameters and gradients lie on a device, and a copy of the parameters if there is one.

use wgpu_optim::{Buffers, Error, Formats, wgpu};

use super::problem::Problem;

/// Where an optimizer has its parameters and gradients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In its own arenas.
    Arenas,
    /// In a buffer of the caller's for parameters and others for gradients and copies, all off the quads.
    Ranges,
    /// In one buffer of the caller's, off the quads, but for copies. Tensors with equal gradients have one range of
    /// them.
    Shared,
}

impl Place {
    /// New buffers of the caller's for `problem`, or none for arenas.
    pub fn buffers(
        self,
        problem: &Problem,
        device: &wgpu::Device,
    ) -> Result<Option<Buffers>, Error> {
        let formats = match problem.layout.groups().next() {
            Some(group) => problem.layout.formats(group)?,
            None => Formats::default(),
        };
        let bytes = problem.packed_bytes();
        let buffer = |size| {
            device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("the caller's"),
                size,
                usage: wgpu::BufferUsages::STORAGE
                    | wgpu::BufferUsages::COPY_SRC
                    | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            })
        };
        let (params, grads) = match self {
            Self::Arenas => return Ok(None),
            Self::Ranges => (
                problem.packed_in(formats.params, &buffer(12 + bytes), 12),
                problem.packed_in(formats.grads, &buffer(4 + bytes), 4),
            ),
            Self::Shared => {
                let both = buffer(8 + 2 * bytes);
                let params = problem.packed_in(formats.params, &both, 4);
                let end = params.last().map_or(4, |last| last.offset + last.size);
                let mut grads = problem.packed_in(formats.grads, &both, end + 4);
                for tensor in 0..grads.len() {
                    let is_equal = |other: &usize| {
                        let mut steps = problem.grads.iter();
                        steps.all(|grads| grads[*other] == grads[tensor])
                    };
                    if let Some(first) = (0..tensor).find(is_equal) {
                        grads[tensor] = grads[first].clone();
                    }
                }
                (params, grads)
            }
        };
        let copies = formats.copy;
        let copies = copies.map(|copy| problem.packed_in(copy, &buffer(4 + bytes), 4));
        Ok(Some(Buffers {
            params,
            grads: Some(grads),
            copies,
        }))
    }
}
