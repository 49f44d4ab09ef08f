//! A parameter group's hyperparameters and state on the device.

use super::{
    begin_step::BeginStep,
    dispatch::{GroupBindings, Pipelines, filled_buffer, written_buffer},
    lines::LineTable,
    matrix::{self, MatrixState},
    tensors::{Member, TensorTable},
};
use crate::{
    DispatchLimits, Error, Group, Layout, Options,
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
    /// Those of tensors, if there are any.
    pub tensors: Option<TensorTable>,
    /// Those of rows and columns.
    pub lines: Option<LineTable>,
    /// What is made of its matrices.
    pub matrix: Option<MatrixState>,
}

/// What all groups are made from.
pub(super) struct Plan<'a> {
    pub device: &'a wgpu::Device,
    pub layout: &'a Layout,
    pub arena: &'a Arena,
    pub options: &'a Options,
    pub limits: &'a DispatchLimits,
    pub begin_step: &'a BeginStep,
}

impl GroupState {
    pub async fn new(
        plan: &Plan<'_>,
        pipelines: &mut Pipelines,
        group: Group,
    ) -> Result<Self, Error> {
        let &Plan {
            device,
            layout,
            arena,
            options,
            limits,
            begin_step,
        } = plan;
        let rule = &*layout.groups[group.0];
        let element_count = arena.groups[group.0].len();
        let slots = options.element_slots(rule);
        let used: Vec<_> = slots.iter().filter(|slot| slot.used).collect();
        let bytes = 4 * element_count as u64;
        for slot in &used {
            let what = format!("the state {} of rule {}", slot.name, rule.name());
            check_buffer_size(device, &what, bytes)?;
        }
        let constants = rule.constants().into_iter();
        let mut constants: Vec<f32> = constants.map(|(_, value)| value as f32).collect();
        // OpenGL counts a uniform block in units of 16 bytes.
        constants.resize(constants.len().next_multiple_of(4).max(4), 0.0);
        let members = layout.tensors.iter().filter(|tensor| tensor.group == group);
        let members: Vec<_> = members
            .zip(layout.tensors_in(arena, group))
            .map(|(tensor, elements)| Member {
                elements,
                shape: &tensor.shape,
            })
            .collect();
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
            let state = state.collect::<Result<Vec<_>, Error>>()?;
            let shapes: Vec<_> = members.iter().map(|member| member.shape).collect();
            let keeps_lines = rule.stages().lines.is_some() && !members.is_empty();
            let lines = keeps_lines.then(|| LineTable::new(device, rule.name(), &shapes));
            let lines = lines.transpose()?;
            let table = TensorTable::new(device, rule, &members, element_count, lines.as_ref())?;
            Ok::<_, Error>((hyper, state, table, lines))
        });
        let (hyper, state, tensors, lines) = made.await??;
        let maker = matrix::Maker {
            device,
            pipelines,
            limits,
            begin_step,
            group: group.0,
            rule,
            members: &members,
            state: &state,
        };
        Ok(Self {
            matrix: maker.make().await?,
            progress: Progress::new(rule),
            hyper,
            state,
            tensors,
            lines,
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
            tensors: self.tensors.as_ref(),
            lines: self.lines.as_ref(),
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

/// A table that is bound as a whole.
pub(super) fn check_binding_size(
    device: &wgpu::Device,
    what: &str,
    bytes: u64,
) -> Result<(), Error> {
    check_buffer_size(device, what, bytes)?;
    let allowed = device.limits().max_storage_buffer_binding_size;
    if bytes <= allowed {
        return Ok(());
    }
    Err(Error::Limit {
        what: what.to_owned(),
        needed: bytes,
        limit: "max_storage_buffer_binding_size",
        allowed,
    })
}

/// All that an update touches are storage bindings of one shader.
pub(super) fn check_binding_count(
    device: &wgpu::Device,
    rule: &str,
    slots: usize,
    needed: u64,
) -> Result<(), Error> {
    let allowed = u64::from(device.limits().max_storage_buffers_per_shader_stage);
    if needed <= allowed {
        return Ok(());
    }
    Err(Error::Limit {
        what: format!(
            "rule {rule} with {slots} values per parameter (its flags, Options::average, \
             Clip::TensorNorm and a caller's own ranges each take a binding)"
        ),
        needed,
        limit: "max_storage_buffers_per_shader_stage",
        allowed,
    })
}
