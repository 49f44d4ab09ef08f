//! Coefficients of steps that are recorded and not yet known to be performed.
//!
//! The device keeps those of the steps that it performs next, in the ring of `begin_step.wgsl`. If more
//! steps were skipped than the ring is long, it must be given those after them in time. So each step
//! brings some in turn, and the host learns now and then, without waiting, which were performed.

use std::collections::VecDeque;

use super::arrival::{Arrival, Outcome};
use super::owning::OwningDevice;
use super::records::{Coefficients, DUE, GroupStatsRecord, StatsRecord};
use crate::{Error, buffer::guarded_now, progress::Origin};

/// After how many steps without news the host asks for them, and how many steps lie between two
/// questions at least.
const NEWS_AFTER: usize = 128;
const NEWS_EVERY: u32 = 16;

/// What waits, of all groups.
#[derive(Debug)]
pub(super) struct Waiting {
    groups: Vec<Queue>,
    /// Rows that the device has room for, for each group.
    ring: usize,
    staging: wgpu::Buffer,
    /// Whether the stats on their way have come, if any are.
    arrival: Option<Arrival>,
    /// Steps since they were asked for.
    since: u32,
}

impl Waiting {
    pub fn new(
        device: &OwningDevice,
        groups: usize,
        ring: u64,
        stats: &wgpu::Buffer,
    ) -> Result<Self, Error> {
        let staging = guarded_now(device, "the numbers of performed steps", || {
            device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("performed steps"),
                size: stats.size(),
                usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            })
        })?;
        Ok(Self {
            groups: vec![Queue::default(); groups],
            ring: usize::try_from(ring).unwrap_or(usize::MAX),
            staging,
            arrival: None,
            since: 0,
        })
    }

    /// What the next step of `group` brings for others. The group counts from `origin`.
    pub fn due(&mut self, group: usize, origin: Origin) -> [Coefficients; DUE] {
        let queue = &mut self.groups[group];
        if queue.origin != origin {
            *queue = Queue {
                origin,
                known: origin.base,
                ..Queue::default()
            };
        }
        queue.due(self.ring)
    }

    /// A step of `group` is recorded.
    pub fn push(&mut self, group: usize, own: Coefficients) {
        self.groups[group].rows.push_back(own);
    }

    /// Steps of `group` that are not known to be performed.
    pub fn count(&self, group: usize) -> u64 {
        self.groups[group].rows.len() as u64
    }

    /// Takes in what has come from the device, and asks for more if some group needs it.
    pub fn exchange(&mut self, encoder: &mut wgpu::CommandEncoder, stats: &wgpu::Buffer) {
        self.since = self.since.saturating_add(1);
        if let Some(arrival) = &self.arrival {
            match arrival.outcome() {
                Outcome::Arrived => self.take_in(),
                Outcome::Pending => return,
                Outcome::Failed | Outcome::Dropped => {}
            }
            self.arrival = None;
        }
        let needed = self
            .groups
            .iter()
            .any(|queue| queue.rows.len() >= NEWS_AFTER);
        if !needed || self.since < NEWS_EVERY {
            return;
        }
        self.since = 0;
        encoder.copy_buffer_to_buffer(stats, 0, &self.staging, 0, stats.size());
        // The step that asks has the encoder keep the buffers.
        self.arrival = Some(Arrival::of(encoder, &self.staging, ()));
    }

    fn take_in(&mut self) {
        if let Ok(bytes) = self.staging.get_mapped_range(..) {
            let (stats, groups) = bytes.split_at(size_of::<StatsRecord>());
            let stats: StatsRecord = bytemuck::pod_read_unaligned(stats);
            let groups = groups.chunks_exact(size_of::<GroupStatsRecord>());
            // What a refused submission left says nothing.
            for (queue, group) in self
                .groups
                .iter_mut()
                .zip(groups)
                .take_while(|_| stats.is_there != 0)
            {
                let group: GroupStatsRecord = bytemuck::pod_read_unaligned(group);
                let [performed, _] = group.counts(queue.origin);
                queue.perform(performed);
            }
        }
        self.staging.unmap();
    }
}

/// What waits of one group.
#[derive(Debug, Clone, Default)]
struct Queue {
    origin: Origin,
    /// Steps that are known to be performed.
    known: u64,
    /// Of the recorded steps after those.
    rows: VecDeque<Coefficients>,
    /// The row that is brought next.
    next: usize,
}

impl Queue {
    /// The next few of the rows that the device has room for, in turn.
    fn due(&mut self, ring: usize) -> [Coefficients; DUE] {
        let reach = self.rows.len().min(ring);
        std::array::from_fn(|_| {
            if self.next >= reach {
                self.next = 0;
            }
            let row = self.rows.get(self.next).copied().unwrap_or_default();
            self.next += 1;
            row
        })
    }

    /// `count` steps are performed.
    fn perform(&mut self, count: u64) {
        let more = count.saturating_sub(self.known).min(self.rows.len() as u64);
        self.rows.drain(..more as usize);
        self.next = self.next.saturating_sub(more as usize);
        self.known += more;
    }
}
