//! Sums over whole tensors, and what a rule concludes from them. This is the host side of
//! `shaders/tensors/measure.wgsl` and `conclude.wgsl`.

use std::{collections::HashMap, ops::Range, sync::Arc};

use bytemuck::{Pod, Zeroable};

use super::{
    answers::GuardedDevice,
    binding::{LINES, PARTIALS, TENSORS, filled_buffer, whole},
    dispatch::{BoundTensor, GroupBindings, access_of, range_dispatch, tensor_ranges},
    limits::check_binding_size,
    source::ShaderSource,
    unbound::Unbound,
};
use crate::{
    Error, Over,
    format::Encoding,
    plan::{
        DispatchLimits, RangeWindow, Size, Span, TILE_THREADS, Walk, by_size, measured_length,
        measuring_threads, range_windows,
    },
    shader::{self, Pass},
};

/// Bytes of a partial sum: up to four numbers.
const PARTIAL_BYTES: u64 = Encoding::F32.quad_bytes();

/// What a step sums up, by group.
pub(super) struct SumDispatches {
    /// They must all run before any group concludes.
    pub measure: Vec<Vec<Unbound>>,
    pub conclude: Vec<Vec<Unbound>>,
    pub shared: SharedSums,
}

/// Partial sums that more than one group adds up.
#[derive(Debug)]
pub(super) struct SharedSums {
    partials: Option<wgpu::Buffer>,
    /// The byte range of each group's own partial sums.
    of_groups: Vec<Option<Range<u64>>>,
    /// The byte range of all that each group adds up.
    added_up: Vec<Option<Range<u64>>>,
}

impl SharedSums {
    /// Whether two groups conclude from the same sums.
    pub fn are_shared(&self, group: usize, other: usize) -> bool {
        self.added_up[group].is_some() && self.added_up[group] == self.added_up[other]
    }

    /// Zeroes the partial sums of groups that rest, so that they do not count in the sums of
    /// others.
    pub fn clear(&self, encoder: &mut wgpu::CommandEncoder, rests: impl Fn(usize) -> bool) {
        let Some(partials) = &self.partials else {
            return;
        };
        for (group, shared) in self.of_groups.iter().enumerate() {
            if let Some(range) = shared.as_ref().filter(|_| rests(group)) {
                encoder.clear_buffer(partials, range.start, Some(range.end - range.start));
            }
        }
    }
}

/// The windows in which a group is measured, and its partial sums.
struct SumWindows<'a> {
    buffers: Vec<&'a wgpu::Buffer>,
    windows: Vec<RangeWindow>,
    /// First partial sum of each tensor, and how many it has.
    of_tensors: Vec<[u64; 2]>,
}

impl<'a> SumWindows<'a> {
    /// `partials` counts the partial sums of all groups so far.
    fn new(
        tensors: &'a [BoundTensor],
        group: GroupBindings<'_>,
        limits: &DispatchLimits,
        partials: &mut u64,
    ) -> Self {
        let storage = &group.frame.storage;
        let (buffers, ranges) = tensor_ranges(tensors, &group);
        let elements = ranges.iter().map(|range| range.count).sum();
        let length = measured_length(elements, storage, limits);
        let windows = range_windows(&ranges, length, storage, limits);
        let mut of_tensors = vec![[0, 0]; ranges.len()];
        for window in &windows {
            for (&tensor, span) in window.tensors.iter().zip(&window.spans) {
                of_tensors[tensor][1] += threads(window.walk, span);
            }
        }
        for of_tensor in &mut of_tensors {
            of_tensor[0] = *partials;
            *partials += of_tensor[1];
        }
        Self {
            buffers,
            windows,
            of_tensors,
        }
    }

    fn partials(&self) -> Range<u64> {
        let first = self.of_tensors.first().map_or(0, |[first, _]| *first);
        let end = self
            .of_tensors
            .last()
            .map_or(0, |[first, count]| first + count);
        first..end
    }

    /// What is added up for each tensor, by how many threads that takes.
    fn by_size(&self) -> Vec<(Size, Vec<Summed>)> {
        let of_tensors = self.of_tensors.iter().enumerate();
        let summed = of_tensors.map(|(tensor, partials)| Summed::new(tensor, *partials));
        by_size(summed, |summed| Size::of_partials(summed.count.into())).collect()
    }

    /// The spans of each window, by the entry point that measures them.
    fn spans(&self, limits: &DispatchLimits) -> Vec<Vec<MeasuredSpans>> {
        let mut next: Vec<_> = self.of_tensors.iter().map(|[first, _]| *first).collect();
        let of_window = |window: &RangeWindow| {
            // Empty spans have no tensor.
            let spans = window.tensors.iter().zip(&window.spans);
            let spans = spans.map(|(&tensor, &span)| {
                let partial = next[tensor];
                next[tensor] += threads(window.walk, &span);
                MeasuredSpan {
                    span,
                    partial: partial as u32,
                    padding: [0; 3],
                }
            });
            match window.walk {
                Walk::Spans => {
                    let size = |measured: &MeasuredSpan| Size::of_span(measured.span.count.into());
                    let by_size = by_size(spans, size);
                    by_size
                        .map(|(size, spans)| MeasuredSpans::of(size, spans, limits))
                        .collect()
                }
                Walk::Matrices => vec![MeasuredSpans::of_tiles("measure_matrices", spans, window)],
                Walk::Vectors => vec![MeasuredSpans::of_tiles("measure_vectors", spans, window)],
            }
        };
        self.windows.iter().map(of_window).collect()
    }
}

/// The threads that measure a span. Each of them has a partial sum.
fn threads(walk: Walk, span: &Span) -> u64 {
    match walk {
        Walk::Spans => measuring_threads(span.count.into()),
        Walk::Matrices | Walk::Vectors => TILE_THREADS,
    }
}

/// Spans that are measured alike.
struct MeasuredSpans {
    entry_point: &'static str,
    spans: Vec<MeasuredSpan>,
    grid: [u32; 2],
}

impl MeasuredSpans {
    fn of(size: Size, spans: Vec<MeasuredSpan>, limits: &DispatchLimits) -> Self {
        Self {
            entry_point: match size {
                Size::Small => "measure_small",
                Size::Large => "measure_large",
            },
            grid: size.grid(spans.len(), limits),
            spans,
        }
    }

    fn of_tiles(
        entry_point: &'static str,
        spans: impl Iterator<Item = MeasuredSpan>,
        window: &RangeWindow,
    ) -> Self {
        Self {
            entry_point,
            spans: spans.collect(),
            grid: window.grid,
        }
    }
}

/// A span or a tile with its first partial sum, as `shaders/tensors/measure.wgsl` and `measure_in_tiles.wgsl`
/// read it.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct MeasuredSpan {
    span: Span,
    partial: u32,
    padding: [u32; 3],
}

/// WGSL's `Summed`.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Summed {
    first: u32,
    count: u32,
    tensor: u32,
}

impl Summed {
    fn new(tensor: usize, partials: [u64; 2]) -> Self {
        let [first, count] = partials.map(|number| number as u32);
        Self {
            first,
            count,
            tensor: tensor as u32,
        }
    }
}

/// The dispatches that take the sums of all groups, over their tensors.
pub(super) fn sum_dispatches(
    device: &GuardedDevice<'_>,
    limits: &DispatchLimits,
    groups: &[(GroupBindings<'_>, &[BoundTensor])],
) -> Result<SumDispatches, Error> {
    let mut sums = SumDispatches {
        measure: vec![Vec::new(); groups.len()],
        conclude: vec![Vec::new(); groups.len()],
        shared: SharedSums {
            partials: None,
            of_groups: vec![None; groups.len()],
            added_up: vec![None; groups.len()],
        },
    };
    // Groups of one rule are placed together, since a sum may be over all of them.
    let summing = |(_, (group, tensors)): &(usize, &(GroupBindings<'_>, &[BoundTensor]))| {
        group.rule.stages().sum.is_some() && group.tensors.is_some() && !tensors.is_empty()
    };
    let mut order: Vec<_> = groups.iter().enumerate().filter(summing).collect();
    order.sort_by_key(|(_, (group, _))| group.rule.name());
    let mut count = 0;
    let mut of_rules: HashMap<&str, Range<u64>> = HashMap::new();
    let mut measured = Vec::new();
    for (index, (group, tensors)) in order {
        let windows = SumWindows::new(tensors, *group, limits, &mut count);
        let partials = windows.partials();
        let together = of_rules.entry(group.rule.name());
        together.or_insert(partials.clone()).end = partials.end;
        measured.push((index, *group, windows));
    }
    if measured.is_empty() {
        return Ok(sums);
    }
    let bytes = PARTIAL_BYTES * count;
    check_binding_size(device, "the sums over tensors", bytes)?;
    let partials = device.guarded("the sums over tensors", || {
        device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("partial sums"),
            size: bytes,
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        })
    })?;
    for (index, group, windows) in measured {
        sums.measure[index] = measure(device, limits, group, &windows, &partials)?;
        let sum = group.rule.stages().sum;
        let everything = sum.is_some_and(|sum| sum.over == Over::Everything);
        let summed = match of_rules.get(group.rule.name()) {
            Some(range) if everything => {
                let bytes = |partial| PARTIAL_BYTES * partial;
                let own = windows.partials();
                sums.shared.of_groups[index] = Some(bytes(own.start)..bytes(own.end));
                sums.shared.added_up[index] = Some(bytes(range.start)..bytes(range.end));
                let all = Summed::new(0, [range.start, range.end - range.start]);
                vec![(Size::Large, vec![all])]
            }
            _ => windows.by_size(),
        };
        sums.conclude[index] = conclude(device, limits, group, &summed, &partials)?;
    }
    sums.shared.partials = Some(partials);
    Ok(sums)
}

fn measure(
    device: &GuardedDevice<'_>,
    limits: &DispatchLimits,
    group: GroupBindings<'_>,
    windows: &SumWindows<'_>,
    partials: &wgpu::Buffer,
) -> Result<Vec<Unbound>, Error> {
    let group = GroupBindings {
        pass: Pass::Measure,
        ..group
    };
    let mut dispatches = Vec::new();
    let mut sources: HashMap<_, Arc<ShaderSource>> = HashMap::new();
    for (window, parts) in windows.windows.iter().zip(windows.spans(limits)) {
        let access = access_of(window);
        for measured in parts {
            let entry_point = measured.entry_point;
            let source = sources.entry((access, entry_point)).or_insert_with(|| {
                let text = shader::of_rule(group.rule, access, group.frame, group.pass);
                ShaderSource::of_rule(group.rule, text, entry_point)
            });
            let beside = [whole(PARTIALS, partials)];
            let table = bytemuck::cast_slice(&measured.spans);
            let table = (table, wgpu::BufferUsages::STORAGE);
            let buffers = &windows.buffers;
            let made = range_dispatch(device, source, group, buffers, window, table, &beside);
            let mut dispatch = made?;
            dispatch.grid = measured.grid;
            dispatches.push(dispatch);
        }
    }
    Ok(dispatches)
}

fn conclude(
    device: &GuardedDevice<'_>,
    limits: &DispatchLimits,
    group: GroupBindings<'_>,
    summed: &[(Size, Vec<Summed>)],
    partials: &wgpu::Buffer,
) -> Result<Vec<Unbound>, Error> {
    let text = shader::conclude_tensors(group.rule);
    let mut dispatches = Vec::new();
    for (size, summed) in summed {
        let entry_point = match size {
            Size::Small => "conclude_small",
            Size::Large => "conclude_large",
        };
        let source = ShaderSource::of_rule(group.rule, text.clone(), entry_point);
        let what = "the bindings that conclude from sums";
        let table = device.guarded(what, || {
            let storage = wgpu::BufferUsages::STORAGE;
            filled_buffer(device, "summed", storage, bytemuck::cast_slice(summed))
        })??;
        let mut entries = group.numbers();
        entries.push(whole(LINES, &table));
        entries.push(whole(PARTIALS, partials));
        entries.extend(group.tensors.map(|tensors| whole(TENSORS, tensors)));
        let grid = size.grid(summed.len(), limits);
        dispatches.push(Unbound::new(&source, what, entry_point, &entries, grid));
    }
    Ok(dispatches)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        rules::Lamb,
        shader::{assert_laid_out_as, layout_of},
    };

    #[test]
    fn what_is_added_up_lies_as_the_shader_reads_it() {
        let text = &shader::conclude_tensors(&Lamb::default());
        assert_laid_out_as!(Summed, text, "Summed", first count tensor);
        assert_eq!(layout_of(text, "Summed").1, size_of::<Summed>());
    }
}
