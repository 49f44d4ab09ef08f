//! A parameter group's hyperparameters and state on the device.

use std::ops::Range;

use super::{
    answers::GuardedDevice,
    begin_step::BeginStep,
    binding::{SlotBuffer, filled_buffer, written_buffer},
    limits::{ARENA_USAGE, check_buffer_size},
    lines::LineTable,
    matrix::{MatrixBuilder, MatrixState},
    owning::OwningDevice,
    tensors::{GroupTensor, TensorTable},
};
use crate::{
    DispatchLimits, Error, Group, Layout, Options, Rule, Slot,
    format::{Encoding, Storage},
    layout::{Arena, GROUP_ALIGNMENT},
    shader::fits_tiles,
};

/// What the device keeps of one parameter group.
#[derive(Debug)]
pub(super) struct GroupBuffers {
    pub hyper: wgpu::Buffer,
    /// The element slots in use, in the rule's order, and the average after them.
    pub state: Vec<SlotBuffer>,
    /// What lies beside the parameters: a copy of them, or what their own bits lack. A copy that has
    /// never been kept here has no buffer.
    pub beside: Option<SlotBuffer>,
    /// The tensor slots, if there are any.
    pub tensors: Option<TensorTable>,
    /// The slots of rows and columns, if there are any.
    pub lines: Option<LineTable>,
    /// Whether the rule can be in shaders by tiles.
    pub fits_tiles: bool,
    /// The work on whole matrices, if there is any.
    pub matrix: Option<MatrixState>,
}

/// What every group is built from.
pub(super) struct GroupSource<'a> {
    pub device: &'a GuardedDevice<'a>,
    pub layout: &'a Layout,
    pub arena: &'a Arena,
    pub options: &'a Options,
    pub limits: &'a DispatchLimits,
    pub begin_step: &'a BeginStep,
}

impl GroupBuffers {
    pub fn new(source: &GroupSource<'_>, group: Group) -> Result<Self, Error> {
        let &GroupSource {
            device,
            layout,
            arena,
            options,
            limits,
            begin_step,
        } = source;
        let rule = &*layout.groups[group.0];
        let element_count = arena.groups[group.0].len();
        let storage = layout.storage(group);
        let slots = used_slots(options, rule, &storage);
        for (slot, encoding) in &slots {
            let what = format!("the state {} of rule {}", slot.name, rule.name());
            check_buffer_size(device, &what, encoding.bytes(element_count as u64))?;
        }
        let constants = rule.constants().into_iter();
        let mut constants: Vec<f32> = constants.map(|(_, value)| value as f32).collect();
        // OpenGL measures a uniform block in units of 16 bytes.
        constants.resize(constants.len().next_multiple_of(4).max(4), 0.0);
        let members = layout.tensors.iter().filter(|tensor| tensor.group == group);
        let members: Vec<_> = members
            .zip(layout.tensors_in(arena, group))
            .map(|(tensor, elements)| GroupTensor {
                elements,
                shape: &tensor.shape,
            })
            .collect();
        let what = format!("the state of rule {}", rule.name());
        let made = device.guarded(&what, || {
            let hyper = filled_buffer(
                device,
                "hyper",
                wgpu::BufferUsages::UNIFORM,
                bytemuck::cast_slice(&constants),
            )?;
            let tensors: Vec<_> = members.iter().map(|member| &member.elements).collect();
            let state = slots.iter().map(|&(slot, encoding)| {
                let buffer = slot_buffer(device, &slot, encoding, element_count, &tensors)?;
                Ok(SlotBuffer { buffer, encoding })
            });
            let state = state.collect::<Result<Vec<_>, Error>>()?;
            let shapes: Vec<_> = members.iter().map(|member| member.shape).collect();
            let keeps_lines = rule.stages().lines.is_some() && !members.is_empty();
            let lines = keeps_lines.then(|| LineTable::new(device, rule.name(), &shapes));
            let lines = lines.transpose()?;
            let table = TensorTable::new(device, rule, &members, element_count, lines.as_ref())?;
            Ok::<_, Error>((hyper, state, table, lines))
        });
        let (hyper, state, tensors, lines) = made??;
        let residual = storage.params.residual();
        let beside = residual.map(|encoding| beside_buffer(device, rule, encoding, element_count));
        let builder = MatrixBuilder {
            device,
            limits,
            begin_step,
            group: group.0,
            rule,
            members: &members,
            state: &state,
        };
        Ok(Self {
            matrix: builder.build()?,
            hyper,
            state,
            beside: beside.transpose()?,
            tensors,
            lines,
            fits_tiles: fits_tiles(rule),
        })
    }
}

/// A buffer for what lies beside the parameters of a group of `element_count` elements. Parameters begin
/// as zeros, and so does this.
pub(super) fn beside_buffer(
    device: &GuardedDevice<'_>,
    rule: &dyn Rule,
    encoding: Encoding,
    element_count: usize,
) -> Result<SlotBuffer, Error> {
    let what = format!("what lies beside the parameters of rule {}", rule.name());
    check_buffer_size(device, &what, encoding.bytes(element_count as u64))?;
    let slot = Slot::element("beside the parameters");
    let made = device.guarded(&what, || {
        slot_buffer(device, &slot, encoding, element_count, &[])
    });
    let buffer = made??;
    Ok(SlotBuffer { buffer, encoding })
}

/// The element slots in use, each with its encoding. The average comes last.
fn used_slots(options: &Options, rule: &dyn Rule, storage: &Storage) -> Vec<(Slot, Encoding)> {
    let stages = rule.stages();
    let slots = options.element_slots(rule).into_iter();
    let slots = slots.filter(|slot| slot.used);
    slots
        .map(|slot| (slot, stages.encoding_of(&slot, storage)))
        .collect()
}

/// The buffer of a slot of `element_count` elements. All but those of `tensors` are padding.
fn slot_buffer(
    device: &OwningDevice,
    slot: &Slot,
    encoding: Encoding,
    element_count: usize,
    tensors: &[&Range<usize>],
) -> Result<wgpu::Buffer, Error> {
    let bytes = encoding.bytes(element_count as u64);
    if slot.start == 0.0 || element_count == 0 {
        // wgpu zeroes new buffers.
        return Ok(device.create_buffer(&wgpu::BufferDescriptor {
            label: Some(slot.name),
            size: bytes,
            usage: ARENA_USAGE,
            mapped_at_creation: false,
        }));
    }
    // Padding must stay zero, so it starts at zero even if the tensors start at another value. The
    // buffer is filled through a mapping, because the optimizer has no queue; the driver may keep a
    // copy of the mapping until the next submission.
    written_buffer(device, slot.name, ARENA_USAGE, bytes, |view| {
        for tensor in tensors {
            let values = vec![slot.start as f32; tensor.len().min(GROUP_ALIGNMENT)];
            for first in (tensor.start..tensor.end).step_by(GROUP_ALIGNMENT) {
                let count = values.len().min(tensor.end - first);
                let start = encoding.encoded(&values[..count]);
                let first = encoding.bytes(first as u64) as usize;
                view.slice(first..first + start.len())
                    .copy_from_slice(&start);
            }
        }
    })
}
