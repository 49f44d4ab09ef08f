//! Work on whole matrices. This is the host side of a [`MatrixStage`].

mod batches;
mod orthogonalize;
mod rounds;
mod solve;
#[cfg(test)]
mod yardstick;

use super::{
    answers::GuardedDevice,
    begin_step::BeginStep,
    binding::{SlotBuffer, filled_buffer, whole},
    limits::{ARENA_USAGE, check_buffer_size},
    owning::OwningDevice,
    source::ShaderSource,
    tensors::GroupTensor,
    unbound::Unbound,
};
use orthogonalize::{Matrix, orthogonalize};
use solve::{DenseSystem, Outcome, solve};

use crate::{
    DispatchLimits, Error, MatrixWork, Rule, layout::TENSOR_ALIGNMENT, matrix::MATRIX_ENCODING,
    shader, shape::Matrices,
};

/// The matrices of one group.
#[derive(Debug)]
pub(super) struct MatrixState {
    /// They run after the matrices are prepared and before the update.
    pub dispatches: Vec<Unbound>,
    pub pairs: Option<PairTable>,
}

/// A slot with one value for each pair of elements.
#[derive(Debug)]
pub(super) struct PairTable {
    pub buffer: wgpu::Buffer,
    /// First element and element count of each of the group's tensors.
    places: Vec<[usize; 2]>,
}

impl PairTable {
    fn new(device: &OwningDevice, what: &str, members: &[GroupTensor<'_>]) -> Result<Self, Error> {
        let mut end = 0;
        let place = |member: &GroupTensor<'_>| {
            let count = member.elements.len() * member.elements.len();
            let start = end;
            end += count.next_multiple_of(TENSOR_ALIGNMENT);
            [start, count]
        };
        let places = members.iter().map(place).collect();
        let bytes = MATRIX_ENCODING.bytes(end as u64);
        check_buffer_size(device, what, bytes)?;
        let buffer = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("pairs"),
            size: bytes,
            usage: ARENA_USAGE,
            mapped_at_creation: false,
        });
        Ok(Self { buffer, places })
    }

    /// First byte and byte count of the group's tensor number `tensor`.
    pub fn range(&self, tensor: usize) -> [u64; 2] {
        self.places[tensor].map(|elements| MATRIX_ENCODING.bytes(elements as u64))
    }
}

/// What a [`MatrixState`] is built from.
pub(super) struct MatrixBuilder<'a> {
    pub device: &'a GuardedDevice<'a>,
    pub limits: &'a DispatchLimits,
    pub begin_step: &'a BeginStep,
    /// The group's index in the layout.
    pub group: usize,
    pub rule: &'a dyn Rule,
    pub members: &'a [GroupTensor<'a>],
    /// The element slots in use.
    pub state: &'a [SlotBuffer],
}

impl MatrixBuilder<'_> {
    /// `None` for a rule without a matrix stage.
    pub fn build(self) -> Result<Option<MatrixState>, Error> {
        let Some(stage) = self.rule.stages().matrix else {
            return Ok(None);
        };
        let slots = self.rule.element_slots();
        let mut used = slots.iter().filter(|slot| slot.used);
        let position = used.position(|slot| slot.name == stage.slot);
        let slot = position.and_then(|position| self.state.get(position));
        let slot = slot.map(|slot| &slot.buffer);
        // There is nothing to do without tensors, or without the slot that the stage names.
        let Some(slot) = slot.filter(|_| !self.members.is_empty()) else {
            return Ok(None);
        };
        Ok(Some(match stage.work {
            MatrixWork::Orthogonalize {
                steps,
                coefficients,
            } => MatrixState {
                dispatches: self.orthogonalize(slot, steps, coefficients)?,
                pairs: None,
            },
            MatrixWork::Solve { damping, .. } => self.solve(slot, damping)?,
        }))
    }

    fn orthogonalize(
        self,
        slot: &wgpu::Buffer,
        steps: u32,
        coefficients: [f64; 3],
    ) -> Result<Vec<Unbound>, Error> {
        let matrix = |member: &GroupTensor<'_>| {
            let Matrices { rows, columns, .. } = Matrices::of(member.shape);
            Matrix {
                start: member.elements.start as u64,
                rows: rows as u32,
                columns: columns as u32,
            }
        };
        let matrices: Vec<_> = self.members.iter().map(matrix).collect();
        orthogonalize(
            self.device,
            self.limits,
            slot,
            &matrices,
            steps,
            coefficients,
        )
    }

    fn solve(self, slot: &wgpu::Buffer, damping: f64) -> Result<MatrixState, Error> {
        let Self {
            device,
            limits,
            begin_step,
            ..
        } = self;
        let what = format!("the Hessians of rule {}", self.rule.name());
        let made = device.guarded(&what, || {
            let pairs = PairTable::new(device, &what, self.members)?;
            let storage = wgpu::BufferUsages::STORAGE;
            let outcomes = vec![Outcome::default(); self.members.len()];
            let outcomes = bytemuck::cast_slice(&outcomes);
            let outcomes = filled_buffer(device, "outcomes", storage, outcomes)?;
            let group = [self.group as u32, 0, 0, 0];
            let group = filled_buffer(device, "group", storage, bytemuck::bytes_of(&group))?;
            Ok::<_, Error>((pairs, outcomes, group))
        });
        let (pairs, outcomes, group) = made??;
        let systems: Vec<_> = self
            .members
            .iter()
            .zip(&pairs.places)
            .map(|(member, [hessian, _])| DenseSystem {
                hessian: *hessian as u64,
                start: member.elements.start as u64,
                count: member.elements.len() as u32,
            })
            .collect();
        let buffers = [&pairs.buffer, slot, &outcomes];
        let mut dispatches = solve(device, limits, buffers, &systems, damping)?;
        let source = ShaderSource::new(shader::tally(), "tally");
        let entries = [
            whole(2, &begin_step.stats),
            whole(6, &outcomes),
            whole(7, &group),
        ];
        let what = "the tally of systems";
        dispatches.push(Unbound::new(&source, what, "tally", &entries, [1, 1]));
        Ok(MatrixState {
            dispatches,
            pairs: Some(pairs),
        })
    }
}
