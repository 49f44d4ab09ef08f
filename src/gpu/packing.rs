//! Copies of ranges of buffers, close together in as few buffers as the device allows.

use super::owning::OwningDevice;
use crate::{BufferRange, Error, buffer::guarded_now};

/// Ranges at most this many bytes apart are copied together. Padding between tensors is less.
const GAP: u64 = 256;

/// Room for a copy of each of some ranges.
pub(super) struct Packing {
    /// One per range, of its size.
    pub ranges: Vec<BufferRange>,
}

impl Packing {
    pub fn new(device: &OwningDevice, what: &str, sources: &[BufferRange]) -> Result<Self, Error> {
        let most = device.limits().max_buffer_size;
        let mut sizes: Vec<u64> = Vec::new();
        let mut places = Vec::new();
        for source in sources {
            match sizes.last_mut() {
                Some(size) if *size + source.size <= most => *size += source.size,
                _ => sizes.push(source.size),
            }
            let end = sizes.last().copied().unwrap_or(0);
            places.push((sizes.len() - 1, end - source.size));
        }
        let buffers = guarded_now(device, what, || {
            let made = sizes.iter().map(|&size| {
                device.create_buffer(&wgpu::BufferDescriptor {
                    label: Some("checkpoint"),
                    size,
                    usage: wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
                    mapped_at_creation: false,
                })
            });
            made.collect::<Vec<_>>()
        })?;
        let ranges = sources.iter().zip(places);
        let ranges = ranges.map(|(source, (number, offset))| BufferRange {
            buffer: buffers[number].clone(),
            offset,
            size: source.size,
        });
        Ok(Self {
            ranges: ranges.collect(),
        })
    }
}

/// Joins ranges that lie one after another. Gives also for each range its stretch and the offset in it.
pub(super) fn stretches(ranges: &[BufferRange]) -> (Vec<BufferRange>, Vec<(usize, u64)>) {
    let mut stretches: Vec<BufferRange> = Vec::new();
    let mut places = Vec::new();
    for range in ranges {
        let last = stretches.last_mut().filter(|last| {
            let end = last.offset + last.size;
            last.buffer == range.buffer && (end..=end + GAP).contains(&range.offset)
        });
        match last {
            Some(last) => last.size = range.offset + range.size - last.offset,
            None => stretches.push(range.clone()),
        }
        let number = stretches.len() - 1;
        places.push((number, range.offset - stretches[number].offset));
    }
    (stretches, places)
}
