//! What an optimizer has on a device before it knows its parameters and gradients.

use std::sync::Arc;

use super::{
    answers::GuardedDevice,
    begin_step::BeginStep,
    binding::SlotBuffer,
    dispatch::GroupBindings,
    group::{GroupBuffers, GroupSource, beside_buffer},
    limits::{check_binding_count, check_buffer_size, most_bindings},
    lines::LineTable,
    owning::OwningDevice,
};
use crate::{
    BufferRange, Clip, DispatchLimits, Error, Group, Layout, Options,
    format::{Encoding, Storage},
    layout::{Arena, TENSOR_ALIGNMENT},
    shader::{Frame, Pass, goes_at_once},
};

/// A layout and its state on a device.
#[derive(Debug)]
pub(super) struct Setup {
    /// Owns all buffers here.
    pub device: Arc<OwningDevice>,
    pub layout: Layout,
    pub arena: Arena,
    pub limits: DispatchLimits,
    pub options: Options,
    pub begin_step: BeginStep,
    /// Whether nothing of a step comes before its update, the only one, but its numbers.
    may_begin: bool,
    pub groups: Vec<GroupBuffers>,
    /// The factor of each tensor's gradients, if they are clipped by tensor.
    pub tensor_factors: Option<wgpu::Buffer>,
}

impl Setup {
    /// `owner` is the device of `device`.
    pub fn new(
        owner: &Arc<OwningDevice>,
        device: &GuardedDevice<'_>,
        layout: &Layout,
        options: Options,
    ) -> Result<Self, Error> {
        if layout.tensors.is_empty() {
            return Err(Error::EmptyLayout);
        }
        options.check(layout)?;
        let of_device = DispatchLimits::of(&device.limits());
        let limits = options.limits.unwrap_or(of_device);
        limits.check(&of_device)?;
        let arena = layout.arena();
        let lrs: Vec<_> = layout.groups.iter().map(|rule| rule.lr()).collect();
        let begin_step = BeginStep::new(device, &lrs, &options)?;
        let source = GroupSource {
            device,
            layout,
            arena: &arena,
            options: &options,
            limits: &limits,
            begin_step: &begin_step,
        };
        let mut groups = Vec::new();
        for group in layout.groups() {
            groups.push(GroupBuffers::new(&source, group)?);
        }
        let tensor_factors = match options.clip {
            Clip::TensorNorm(_) => Some(tensor_factors(device, &arena)?),
            _ => None,
        };
        let may_begin = match &layout.groups[..] {
            [only] => !options.skips() && goes_at_once(&**only),
            _ => false,
        };
        Ok(Self {
            device: owner.clone(),
            layout: layout.clone(),
            arena,
            limits,
            options,
            begin_step,
            may_begin,
            groups,
            tensor_factors,
        })
    }

    /// Buffers for the copies of parameters, by group: where there is a copy, and no buffer for it yet.
    pub fn own_copies(&self, device: &GuardedDevice<'_>) -> Result<Vec<Option<SlotBuffer>>, Error> {
        let groups = self.layout.groups().zip(&self.groups);
        let made = groups.map(|(group, buffers)| {
            let copy = self.layout.storage(group).copy();
            let rule = &*self.layout.groups[group.0];
            let element_count = self.arena.groups[group.0].len();
            let missing = copy.filter(|_| buffers.beside.is_none());
            missing.map(|encoding| beside_buffer(device, rule, encoding, element_count))
        });
        made.map(Option::transpose).collect()
    }

    /// Keeps what [`own_copies`](Self::own_copies) made.
    pub fn keep_copies(&mut self, copies: Vec<Option<SlotBuffer>>) {
        for (buffers, copy) in self.groups.iter_mut().zip(copies) {
            buffers.beside = buffers.beside.take().or(copy);
        }
    }

    /// Where each tensor lies in an arena.
    pub fn arena_ranges(
        &self,
        buffer: &wgpu::Buffer,
        encoding: fn(&Storage) -> Encoding,
    ) -> Vec<BufferRange> {
        let groups = self.arena_groups(buffer, encoding);
        let tensors = self.layout.tensors.iter().zip(&self.arena.tensors);
        tensors
            .map(|(tensor, &start)| {
                let encoding = encoding(&self.layout.storage(tensor.group));
                let group = tensor.group.0;
                let in_group = start - self.arena.groups[group].start;
                BufferRange {
                    buffer: buffer.clone(),
                    offset: groups[group].offset + encoding.bytes(in_group as u64),
                    size: encoding.range_bytes(tensor.element_count as u64),
                }
            })
            .collect()
    }

    /// Where each group lies in an arena.
    pub fn arena_groups(
        &self,
        buffer: &wgpu::Buffer,
        encoding: fn(&Storage) -> Encoding,
    ) -> Vec<BufferRange> {
        let starts = self.layout.arena_starts(&self.arena, encoding);
        let ranges = starts.windows(2).map(|ends| BufferRange {
            buffer: buffer.clone(),
            offset: ends[0],
            size: ends[1] - ends[0],
        });
        ranges.collect()
    }

    /// What the dispatches of `pass` bind for `group`.
    pub fn bindings(&self, group: Group, pass: Pass) -> GroupBindings<'_> {
        let rule = &*self.layout.groups[group.0];
        let buffers = &self.groups[group.0];
        let first_unit = self.arena.groups[group.0].start / TENSOR_ALIGNMENT;
        let factors = self.tensor_factors.as_ref();
        GroupBindings {
            index: group.0,
            rule,
            hyper: &buffers.hyper,
            begin_step: &self.begin_step,
            may_begin: self.may_begin,
            state: &buffers.state,
            beside: buffers.beside.as_ref(),
            pass,
            frame: Frame {
                lines_in_quads: buffers.lines.as_ref().is_some_and(LineTable::are_in_quads),
                ..Frame::of(&self.options, rule, self.layout.storage(group))
            },
            most_bindings: most_bindings(&self.device),
            seed: self.layout.seed(group),
            tensor_factors: factors.map(|factors| (factors, first_unit as u64)),
            tensors: buffers.tensors.as_ref().map(|table| &table.buffer),
            lines: buffers.lines.as_ref().map(|table| &table.buffer),
            fits_tiles: buffers.fits_tiles,
        }
    }

    /// Whether `group` has `pass`.
    pub fn has(&self, group: Group, pass: Pass) -> bool {
        let rule = &self.layout.groups[group.0];
        match pass {
            Pass::Update | Pass::Step => true,
            Pass::Prepare => rule.stages().matrix.is_some(),
            Pass::Measure => rule.stages().sum.is_some(),
            Pass::Lines => rule.stages().lines.is_some(),
            Pass::Copy => self.layout.storage(group).copy().is_some(),
            Pass::Evaluate | Pass::Train => {
                self.options.average.is_some() || rule.evaluates_elsewhere()
            }
        }
    }

    /// Whether the parameters to evaluate with may be others than those to train with.
    pub fn switches(&self) -> bool {
        let mut groups = self.layout.groups();
        groups.any(|group| self.has(group, Pass::Evaluate))
    }

    /// Checks that the device has bindings enough for the passes of a step. A caller's ranges need
    /// one more than arenas.
    pub fn check_bindings(&self, in_ranges: bool) -> Result<(), Error> {
        for group in self.layout.groups() {
            let passes = [Pass::Update, Pass::Measure, Pass::Prepare];
            let passes = passes.into_iter().filter(|pass| self.has(group, *pass));
            let counts = passes.map(|pass| self.bindings(group, pass).count(in_ranges));
            let needed = counts.max().unwrap_or(0);
            let rule = self.layout.groups[group.0].name();
            let slots = self.groups[group.0].state.len();
            check_binding_count(&self.device, rule, slots, needed)?;
        }
        Ok(())
    }
}

/// One factor for each unit of 64 elements of all groups.
fn tensor_factors(device: &GuardedDevice<'_>, arena: &Arena) -> Result<wgpu::Buffer, Error> {
    let what = "the factors of tensors that are clipped";
    let units = arena.element_count() / TENSOR_ALIGNMENT;
    let bytes = Encoding::F32.bytes(units as u64);
    check_buffer_size(device, what, bytes)?;
    device.guarded(what, || {
        device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("tensor factors"),
            size: bytes,
            usage: wgpu::BufferUsages::STORAGE,
            mapped_at_creation: false,
        })
    })
}
