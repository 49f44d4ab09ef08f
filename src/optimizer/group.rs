//! A parameter group's hyperparameters and state on the device.

use super::{
    begin_step::BeginStep,
    dispatch::{GroupBindings, filled_buffer, written_buffer},
};
use crate::{
    Error, Group, Layout, Options,
    buffer::guarded,
    layout::{Arena, GROUP_ALIGNMENT},
    progress::Progress,
    shader::{Around, Pass},
};

/// How this crate's own buffers can be used.
pub(super) const ARENA_USAGE: wgpu::BufferUsages = wgpu::BufferUsages::STORAGE
    .union(wgpu::BufferUsages::COPY_SRC)
    .union(wgpu::BufferUsages::COPY_DST);

/// What the device and the host keep of one parameter group.
#[derive(Debug)]
pub(super) struct GroupState {
    /// Counts steps as they are recorded.
    pub progress: Progress,
    pub hyper: wgpu::Buffer,
    /// The slots of elements in use, in the rule's order, and the average after them.
    pub state: Vec<wgpu::Buffer>,
}

impl GroupState {
    pub async fn new(
        device: &wgpu::Device,
        layout: &Layout,
        arena: &Arena,
        group: Group,
        options: &Options,
    ) -> Result<Self, Error> {
        let rule = &*layout.groups[group.0];
        let element_count = arena.groups[group.0].len();
        let slots = options.element_slots(rule);
        let used: Vec<_> = slots.iter().filter(|slot| slot.used).collect();
        let bytes = 4 * element_count as u64;
        for slot in &used {
            let what = format!("the state {} of rule {}", slot.name, rule.name());
            check_buffer_size(device, &what, bytes)?;
        }
        let mut constants: Vec<f32> = rule.constants().iter().map(|&value| value as f32).collect();
        // OpenGL counts a uniform block in units of 16 bytes.
        constants.resize(constants.len().next_multiple_of(4).max(4), 0.0);
        let what = format!("the state of rule {}", rule.name());
        let made = guarded(device, &what, || {
            let hyper = filled_buffer(
                device,
                "hyper",
                wgpu::BufferUsages::UNIFORM,
                bytemuck::cast_slice(&constants),
            )?;
            let state = used.iter().map(|slot| {
                if slot.start == 0.0 || element_count == 0 {
                    // New buffers are zero.
                    return Ok(device.create_buffer(&wgpu::BufferDescriptor {
                        label: Some(slot.name),
                        size: bytes,
                        usage: ARENA_USAGE,
                        mapped_at_creation: false,
                    }));
                }
                // Padding starts at zero whatever the tensors start at, so that it stays zero.
                // Through a mapping, of which the driver may keep a copy until the next submission:
                // the optimizer has no queue to fill the buffer with.
                written_buffer(device, slot.name, ARENA_USAGE, bytes, |view| {
                    let start = [slot.start as f32; GROUP_ALIGNMENT];
                    for tensor in layout.tensors_in(arena, group) {
                        for first in tensor.clone().step_by(start.len()) {
                            let count = start.len().min(tensor.end - first);
                            let part: &[u8] = bytemuck::cast_slice(&start[..count]);
                            view.slice(4 * first..4 * (first + count))
                                .copy_from_slice(part);
                        }
                    }
                })
            });
            Ok((hyper, state.collect::<Result<Vec<_>, Error>>()?))
        });
        let (hyper, state) = made.await??;
        Ok(Self {
            progress: Progress::new(rule),
            hyper,
            state,
        })
    }

    pub fn bindings<'a>(
        &'a self,
        layout: &'a Layout,
        group: Group,
        begin_step: &'a BeginStep,
        around: Around,
        tensor_factors: Option<(&'a wgpu::Buffer, u64)>,
        pass: Pass,
    ) -> GroupBindings<'a> {
        GroupBindings {
            index: group.0,
            rule: &*layout.groups[group.0],
            hyper: &self.hyper,
            steps: &begin_step.steps,
            state: &self.state,
            pass,
            around,
            tensor_factors,
        }
    }
}

pub(super) fn check_buffer_size(
    device: &wgpu::Device,
    what: &str,
    bytes: u64,
) -> Result<(), Error> {
    let allowed = device.limits().max_buffer_size;
    if bytes <= allowed {
        return Ok(());
    }
    Err(Error::Limit {
        what: what.to_owned(),
        needed: bytes,
        limit: "max_buffer_size",
        allowed,
    })
}

/// All that an update touches are storage bindings of one shader.
pub(super) fn check_binding_count(
    device: &wgpu::Device,
    rule: &str,
    slots: usize,
    beside: u64,
) -> Result<(), Error> {
    let needed = beside + slots as u64;
    let allowed = u64::from(device.limits().max_storage_buffers_per_shader_stage);
    if needed <= allowed {
        return Ok(());
    }
    Err(Error::Limit {
        what: format!(
            "rule {rule} with {slots} values per parameter (its flags, Options::average, \
             Clip::TensorNorm and a caller's own ranges each take a binding) and {beside} beside them"
        ),
        needed,
        limit: "max_storage_buffers_per_shader_stage",
        allowed,
    })
}
