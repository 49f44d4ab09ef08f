//! The optimizer over a module's buffers, and how its state follows when groups part.

use std::collections::{BTreeMap, HashMap, HashSet};

use wgpu_optim::{BufferRange, Buffers, Checkpoint, Group, Layout, Optimizer, Options, Save, wgpu};

use crate::bridge;
use crate::device::Shared;
use crate::evaluation::Twice;
use crate::groups::Specs;
use crate::roster::{Arrangement, Member, Regrouping, Roster};
use crate::storage::Storage;
use crate::walk::{Found, Seen};
use crate::{Error, Operand, Reason};

/// All that an optimizer knows of a module.
#[derive(Default)]
pub(crate) struct State {
    pub roster: Roster,
    pub bound: Option<Bound>,
    /// The state of the members, until there is an optimizer to have it: the file, and what is in it.
    pub recorded: Option<(Vec<u8>, Checkpoint)>,
    stand_ins: StandIns,
    staging: Staging,
}

/// An optimizer over the buffers of a step.
pub(crate) struct Bound {
    pub optimizer: Optimizer,
    pub groups: Vec<Group>,
    /// Where the optimizer takes the parameters to be.
    params: Vec<BufferRange>,
}

impl State {
    /// What a record has of members, whose state is in `file`.
    pub fn recorded(roster: Roster, file: Vec<u8>, checkpoint: Checkpoint) -> Self {
        Self {
            roster,
            recorded: Some((file, checkpoint)),
            ..Self::default()
        }
    }

    /// Updates the parameters of `found` in place.
    pub fn step(
        &mut self,
        shared: &Shared,
        specs: &Specs,
        options: &Options,
        found: &[Found],
        seen: &mut Seen,
    ) -> Result<(), Error> {
        let anew = self.bound.is_none();
        let arrangement = self.roster.arranged(found, specs, anew)?;
        let Arrangement {
            positions,
            rates,
            regrouping,
        } = arrangement;
        let tensors = found.iter().flat_map(|found| [&found.param, &found.grad]);
        // They must stay where they are until the step is submitted.
        let places = bridge::places(&tensors.collect::<Vec<_>>())?;
        let halves = found.iter().filter_map(|found| found.half.as_ref());
        let half_places = bridge::places(&halves.collect::<Vec<_>>())?;

        let roster = match &regrouping {
            Some(regrouping) => &regrouping.roster,
            None => &self.roster,
        };
        let pairs = || places.ranges.chunks(2);
        let present = positions.iter().copied().zip(pairs());
        let (params, mut grads) = self.stand_ins.complete(&shared.device, roster, present);
        let mut encoder = shared.device.create_command_encoder(&Default::default());
        self.staging
            .stage(shared, roster, &rates, &mut grads, &mut encoder, seen);
        let counts = &mut seen.counts;
        if let Some(regrouping) = regrouping {
            counts.regrouped += 1;
            let buffers = Buffers {
                params: params.clone(),
                grads: Some(grads),
                ..Default::default()
            };
            let (optimizer, groups) = self.grouped(shared, specs, options, &regrouping, buffers)?;
            self.recorded = None;
            self.roster = regrouping.roster;
            let bound = self.bound.insert(Bound {
                optimizer,
                groups,
                params,
            });
            bound.adjust(&self.roster, &rates)?;
            bound.optimizer.step(&mut encoder)?;
        } else if let Some(bound) = &mut self.bound {
            bound.adjust(&self.roster, &rates)?;
            if params == bound.params {
                bound.optimizer.step_with(&mut encoder, &grads)?;
            } else {
                counts.moved += 1;
                // With the gradients, so that the step is planned once.
                bound.optimizer.rebind(Buffers {
                    params: params.clone(),
                    grads: Some(grads),
                    ..Default::default()
                })?;
                bound.params = params;
                bound.optimizer.step(&mut encoder)?;
            }
        }
        let with_half = found.iter().zip(&positions);
        let with_half = with_half.filter(|(found, _)| found.half.is_some());
        let halves = with_half.map(|(_, &position)| position);
        self.copy_halves(&mut encoder, halves.zip(&half_places.ranges))?;
        shared.queue.submit([encoder.finish()]);

        let buffers = pairs().map(|pair| (&pair[0].buffer, &pair[1].buffer));
        counts.buffers = buffers.collect::<HashSet<_>>().len();
        counts.steps += 1;
        Ok(())
    }

    /// Brings the updates in f16 to the module.
    ///
    /// An optimizer can write them there itself, if nothing else lies in the same buffers. With burn's,
    /// something may.
    fn copy_halves<'a>(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        halves: impl Iterator<Item = (usize, &'a BufferRange)>,
    ) -> Result<(), Error> {
        let mut halves = halves.peekable();
        let Some(bound) = self.bound.as_ref().filter(|_| halves.peek().is_some()) else {
            return Ok(());
        };
        let tensors: Vec<_> = bound.optimizer.layout().tensors().collect();
        for (position, to) in halves {
            let from = bound.optimizer.param_copy(tensors[position])?;
            copy(encoder, &from, to);
        }
        Ok(())
    }

    /// Puts the parameters to evaluate with into the second copies of `found`. The first ones have
    /// those to train with, before and after.
    pub fn evaluate(&mut self, shared: &Shared, found: &[Twice]) -> Result<(), Error> {
        let Some(bound) = &mut self.bound else {
            return Ok(());
        };
        let tensors = found.iter().flat_map(|twice| [&twice.work, &twice.result]);
        let places = bridge::places(&tensors.collect::<Vec<_>>())?;
        let pairs = || places.ranges.chunks(2);
        let positions = found.iter().map(|twice| twice.position);
        let present = positions.zip(pairs());
        let (params, _) = self
            .stand_ins
            .complete(&shared.device, &self.roster, present);
        bound.optimizer.rebind(Buffers {
            params: params.clone(),
            grads: None,
            ..Default::default()
        })?;
        // The next step finds the parameters elsewhere.
        bound.params = params;
        let mut encoder = shared.device.create_command_encoder(&Default::default());
        bound.optimizer.evaluate(&mut encoder)?;
        // What the module gets is in the parameters' own type, so in f16 it is the copy.
        let tensors: Vec<_> = bound.optimizer.layout().tensors().collect();
        let sources = found.iter().zip(pairs()).map(|(twice, pair)| {
            let member = &self.roster.members[twice.position];
            match member.storage().copy {
                Some(_) => bound.optimizer.param_copy(tensors[twice.position]),
                None => Ok(pair[0].clone()),
            }
        });
        let sources = sources.collect::<Result<Vec<_>, _>>()?;
        // By way of another buffer: within one, wgpu copies nothing.
        let mut end = 0;
        let starts = sources.iter().map(|source| {
            end += source.size;
            end - source.size
        });
        let starts: Vec<u64> = starts.collect();
        let between = shared.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("parameters to evaluate with"),
            size: end,
            usage: wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let between = |start, size| BufferRange {
            buffer: between.clone(),
            offset: start,
            size,
        };
        for (source, &start) in sources.iter().zip(&starts) {
            copy(&mut encoder, source, &between(start, source.size));
        }
        for (pair, &start) in pairs().zip(&starts) {
            let to = &pair[1];
            copy(&mut encoder, &between(start, to.size), to);
        }
        bound.optimizer.train(&mut encoder)?;
        shared.queue.submit([encoder.finish()]);
        Ok(())
    }

    /// An optimizer with the groups of `regrouping`, that goes on from what there is.
    fn grouped(
        &self,
        shared: &Shared,
        specs: &Specs,
        options: &Options,
        regrouping: &Regrouping,
        buffers: Buffers,
    ) -> Result<(Optimizer, Vec<Group>), Error> {
        let mut layout = Layout::new();
        let mut groups = Vec::new();
        for &(spec, storage) in &regrouping.groups {
            groups.push(specs.get(spec).add_to(&mut layout, storage)?);
        }
        for member in &regrouping.roster.members {
            let group = groups[member.group.unwrap_or_default()];
            let added = layout.tensor(group, &member.name(), &member.shape);
            // The layout knows numbers, and the user paths.
            added.map_err(|error| match error {
                wgpu_optim::Error::Shape { reason, .. } => {
                    let problem = format!("its shape is {:?}: {reason}", member.shape);
                    Error::parameter(&member.path, problem)
                }
                error => error.into(),
            })?;
        }
        let mut optimizer = Optimizer::over(&shared.device, &layout, buffers, options.clone())?;
        let have_state: HashSet<_> = self
            .roster
            .members
            .iter()
            .filter(|member| member.group.is_some())
            .map(|member| member.name())
            .collect();
        if have_state.is_empty() {
            return Ok((optimizer, groups));
        }
        let saved = match &self.bound {
            Some(bound) => Some(Checkpoint::from_bytes(
                bound.saved(shared, BTreeMap::new())?,
            )?),
            None => None,
        };
        let recorded = self.recorded.as_ref().map(|(_, checkpoint)| checkpoint);
        if let Some(checkpoint) = saved.as_ref().or(recorded) {
            let name_before = |name: &str| have_state.contains(name).then(|| name.to_owned());
            optimizer.load_partial(&shared.queue, checkpoint, name_before)?;
        }
        Ok((optimizer, groups))
    }
}

/// Records a copy of one range to another, which is as long.
fn copy(encoder: &mut wgpu::CommandEncoder, from: &BufferRange, to: &BufferRange) {
    encoder.copy_buffer_to_buffer(&from.buffer, from.offset, &to.buffer, to.offset, to.size);
}

impl Bound {
    /// All but the parameters, in the optimizer's own file format. It waits for the device.
    pub fn saved(&self, shared: &Shared, user: BTreeMap<String, String>) -> Result<Vec<u8>, Error> {
        let save = Save {
            params: false,
            user,
        };
        Ok(self.optimizer.save_bytes_blocking(&shared.queue, &save)?)
    }

    /// Learning rates of the next step, and which groups take part in it: those that have one.
    fn adjust(&mut self, roster: &Roster, rates: &[Option<f64>]) -> Result<(), Error> {
        let mut adjusted = vec![false; self.groups.len()];
        for (member, &rate) in roster.members.iter().zip(rates) {
            let Some(index) = member.group else {
                continue;
            };
            // All members of a group have the same.
            if std::mem::replace(&mut adjusted[index], true) {
                continue;
            }
            let group = self.groups[index];
            self.optimizer.set_frozen(group, rate.is_none())?;
            if let Some(rate) = rate {
                self.optimizer.set_lr(group, rate)?;
            }
        }
        Ok(())
    }
}

/// Gradients in another format than their parameters.
///
/// An optimizer reads a buffer in one format, and burn may put both into one.
#[derive(Default)]
struct Staging(Option<wgpu::Buffer>);

impl Staging {
    /// Has such gradients copied before the step, and puts the copies in their place.
    fn stage(
        &mut self,
        shared: &Shared,
        roster: &Roster,
        rates: &[Option<f64>],
        grads: &mut [BufferRange],
        encoder: &mut wgpu::CommandEncoder,
        seen: &mut Seen,
    ) {
        let mut starts = Vec::new();
        let mut end = 0;
        for (index, member) in roster.members.iter().enumerate() {
            let Storage { params, grads, .. } = member.storage();
            if params != grads {
                starts.push((index, end));
                end += member.bytes()[1].next_multiple_of(16);
            }
        }
        if starts.is_empty() {
            return;
        }
        let kept = self.0.take().filter(|buffer| buffer.size() >= end);
        let buffer = kept.unwrap_or_else(|| {
            shared.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("gradients in 16 bits"),
                size: end,
                usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            })
        });
        for (index, start) in starts {
            let staged = BufferRange {
                buffer: buffer.clone(),
                offset: start,
                size: grads[index].size,
            };
            let from = std::mem::replace(&mut grads[index], staged);
            if rates[index].is_some() {
                copy(encoder, &from, &grads[index]);
                let Member { id, path, .. } = &roster.members[index];
                seen.say(*id, path, Operand::Grad, Reason::OtherDtype);
            }
        }
        self.0 = Some(buffer);
    }
}

/// Buffers in place of those of members that take no part. An optimizer must have some, and
/// neither reads nor writes them.
#[derive(Default)]
struct StandIns {
    params: HashMap<usize, wgpu::Buffer>,
    /// One for all.
    grads: Option<wgpu::Buffer>,
}

impl StandIns {
    /// The ranges of all members in the roster's order, for a parameter and its gradient each. Of those
    /// that are `present`, by position, they are given.
    fn complete<'a>(
        &mut self,
        device: &wgpu::Device,
        roster: &Roster,
        present: impl Iterator<Item = (usize, &'a [BufferRange])>,
    ) -> (Vec<BufferRange>, Vec<BufferRange>) {
        let mut ranges = vec![None; roster.members.len()];
        for (position, pair) in present {
            ranges[position] = Some((pair[0].clone(), pair[1].clone()));
        }
        let all = ranges.into_iter().enumerate();
        all.map(|(index, range)| range.unwrap_or_else(|| self.of(device, roster, index)))
            .unzip()
    }

    fn of(
        &mut self,
        device: &wgpu::Device,
        roster: &Roster,
        index: usize,
    ) -> (BufferRange, BufferRange) {
        let [param_bytes, grad_bytes] = roster.members[index].bytes();
        let make = |size| {
            device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("in place of an absent tensor"),
                size,
                usage: wgpu::BufferUsages::STORAGE,
                mapped_at_creation: false,
            })
        };
        let range = |buffer: wgpu::Buffer, size| BufferRange {
            buffer,
            offset: 0,
            size,
        };
        let param = match self.params.get(&index) {
            Some(param) if param.size() == param_bytes => param.clone(),
            _ => make(param_bytes),
        };
        self.params.insert(index, param.clone());
        let grads = match &self.grads {
            Some(grads) if grads.size() >= grad_bytes => grads.clone(),
            _ => {
                let of_grad = |member: &Member| member.bytes()[1];
                let largest = roster.members.iter().map(of_grad).max();
                make(largest.unwrap_or(grad_bytes))
            }
        };
        self.grads = Some(grads.clone());
        (range(param, param_bytes), range(grads, grad_bytes))
    }
}
