//! Means over the rows and columns of matrices. This is the host side of `shaders/lines/`.

mod tiling;

use std::slice;

use super::{
    answers::GuardedDevice,
    binding::{GRADS, LINES, PARTIALS, SPANS, entry, filled_buffer, whole},
    dispatch::{BoundTensor, GroupBindings, tensor_ranges},
    limits::{ARENA_USAGE, check_binding_size},
    owning::OwningDevice,
    source::ShaderSource,
    unbound::Unbound,
};
use crate::{
    Error,
    format::{Encoding, QUAD},
    layout::TENSOR_ALIGNMENT,
    plan::{DispatchLimits, Size, by_size, fold},
    rule::{LinePart, Lines},
    shader::{self, Pass},
    shape::Matrices,
};
use tiling::{Measuring, Rows, TILES_PER_WORKGROUP, Tiling};

/// The format of the state of lines and of their partial sums.
const KEPT: Encoding = Encoding::F32;

/// The state of the rows and columns of a group's tensors.
#[derive(Debug)]
pub(super) struct LineTable {
    pub buffer: wgpu::Buffer,
    places: Vec<LinePlace>,
}

/// Where one tensor's state lies, in elements: the factors of its rows, its columns, its rows.
#[derive(Debug, Clone, Copy)]
pub(super) struct LinePlace {
    pub matrices: Matrices,
    pub factors: usize,
    pub columns: usize,
    rows: usize,
}

impl LinePlace {
    /// The place of each tensor, and the number of elements in total.
    fn of(shapes: &[&[usize]]) -> (Vec<Self>, usize) {
        let mut end = 0;
        let mut next = |count: usize| {
            let start = end;
            end += count.next_multiple_of(TENSOR_ALIGNMENT);
            start
        };
        let place = |shape: &&[usize]| {
            let matrices = Matrices::of(shape);
            let rows = matrices.count * matrices.rows;
            Self {
                matrices,
                factors: next(rows),
                columns: next(matrices.count * matrices.columns),
                rows: next(if matrices.has_rows { rows } else { 0 }),
            }
        };
        let places = shapes.iter().map(place).collect();
        (places, end)
    }

    /// First element and element count of a slot, if the tensor has it.
    fn range(&self, lines: &Lines, name: &str) -> Option<[usize; 2]> {
        let Matrices {
            count,
            rows,
            columns,
            has_rows,
        } = self.matrices;
        Some(match lines.part(name, has_rows)? {
            LinePart::Rows => [self.rows, count * rows],
            LinePart::Factors => [self.factors, count * rows],
            LinePart::Columns => [self.columns, count * columns],
        })
    }
}

impl LineTable {
    pub fn new(device: &OwningDevice, rule: &str, shapes: &[&[usize]]) -> Result<Self, Error> {
        let (places, count) = LinePlace::of(shapes);
        let bytes = KEPT.bytes(count as u64);
        let what = format!("what rule {rule} keeps of rows and columns");
        check_binding_size(device, &what, bytes)?;
        let mut values = vec![0f32; count];
        for place in places.iter().filter(|place| !place.matrices.has_rows) {
            values[place.factors] = 1.0;
        }
        let buffer = filled_buffer(device, "lines", ARENA_USAGE, bytemuck::cast_slice(&values))?;
        Ok(Self { buffer, places })
    }

    /// Whether every row consists of whole quads.
    pub fn are_in_quads(&self) -> bool {
        let columns = self
            .places
            .iter()
            .map(|place| place.matrices.columns as u64);
        columns
            .into_iter()
            .all(|columns| columns.is_multiple_of(QUAD))
    }

    pub fn place(&self, tensor: usize) -> &LinePlace {
        &self.places[tensor]
    }

    /// First byte and byte count of the slot `name` of the group's tensor number `tensor`.
    pub fn range(&self, lines: &Lines, tensor: usize, name: &str) -> Option<[u64; 2]> {
        let range = self.places[tensor].range(lines, name)?;
        Some(range.map(|elements| KEPT.bytes(elements as u64)))
    }
}

/// The dispatches that update the state of `group`'s lines, in `table`, from the gradients of
/// `tensors`.
pub(super) fn line_dispatches(
    device: &GuardedDevice<'_>,
    limits: &DispatchLimits,
    group: GroupBindings<'_>,
    table: &LineTable,
    tensors: &[BoundTensor],
) -> Result<Vec<Unbound>, Error> {
    let measured = GroupBindings {
        pass: Pass::Measure,
        ..group
    };
    let group = GroupBindings {
        pass: Pass::Lines,
        ..group
    };
    let (buffers, ranges) = tensor_ranges(tensors, &measured);
    let mut tiling = Tiling::new(group.frame.storage.grads);
    for (range, place) in ranges.iter().zip(&table.places) {
        if range.matrices.is_some() && !place.matrices.has_rows {
            // It is updated where it is measured.
            continue;
        }
        tiling.add(
            place,
            range.grad_buffer,
            range.grad_offset,
            range.state,
            limits,
        );
    }
    // No buffer may be empty.
    let bytes = KEPT.bytes(tiling.partials.max(1) as u64);
    let name = group.rule.name();
    let what = format!("the sums over rows and columns of rule {name}");
    check_binding_size(device, &what, bytes)?;
    let partials = device.guarded("the sums over rows and columns", || {
        device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("partial sums of lines"),
            size: bytes,
            usage: wgpu::BufferUsages::STORAGE,
            mapped_at_creation: false,
        })
    })?;
    let lines = whole(LINES, &table.buffer);
    let sums = whole(PARTIALS, &partials);
    let mut dispatches = Vec::new();
    let mut builder = LinesBuilder {
        device,
        group,
        dispatches: &mut dispatches,
    };
    for window in tiling.windows(limits) {
        let size = window.bytes.end - window.bytes.start;
        let grads = entry(GRADS, buffers[window.buffer], window.bytes.start, size);
        let mut entries = vec![grads, sums.clone()];
        if window.measuring == Measuring::Wide {
            // Of vectors, the state is updated there.
            entries.push(lines.clone());
        }
        let tiles = bytemuck::cast_slice(&window.tiles);
        let workgroups = window.tiles.len().div_ceil(TILES_PER_WORKGROUP);
        let grid = fold(workgroups as u64, limits);
        let text = shader::measure_lines(group.rule, group.frame, window.width);
        let entry_point = window.measuring.entry_point();
        builder.add(text, entry_point, tiles, grid, &entries)?;
    }
    if !tiling.rows.is_empty() {
        let strips = bytemuck::cast_slice(&tiling.strips);
        let entries = [lines.clone(), sums];
        let grid = fold(tiling.strips.len() as u64, limits);
        let text = shader::move_lines(group.rule, group.frame);
        builder.add(text, "move_lines", strips, grid, &entries)?;
        for (size, rows) in by_size(tiling.rows, Rows::size) {
            let entry_point = match size {
                Size::Small => "factor_small",
                Size::Large => "factor_large",
            };
            let grid = size.grid(rows.len(), limits);
            let table = bytemuck::cast_slice(&rows);
            let text = shader::factor_lines(group.rule, group.frame);
            builder.add(text, entry_point, table, grid, slice::from_ref(&lines))?;
        }
    }
    Ok(dispatches)
}

struct LinesBuilder<'m, 'a> {
    device: &'m GuardedDevice<'m>,
    group: GroupBindings<'a>,
    dispatches: &'m mut Vec<Unbound>,
}

impl LinesBuilder<'_, '_> {
    /// Adds a dispatch over the rows of `table`.
    fn add(
        &mut self,
        text: String,
        entry_point: &'static str,
        table: &[u8],
        grid: [u32; 2],
        beside: &[wgpu::BindGroupEntry<'_>],
    ) -> Result<(), Error> {
        let Self { device, group, .. } = self;
        let source = ShaderSource::of_rule(group.rule, text, entry_point);
        let what = "the bindings of rows and columns";
        let (table, window) = device.guarded(what, || {
            let storage = wgpu::BufferUsages::STORAGE;
            let table = filled_buffer(device, entry_point, storage, table)?;
            Ok::<_, Error>((table, group.window(device, 0)?))
        })??;
        let mut entries = group.numbers();
        if entry_point.starts_with("factor") {
            // This shader reads no `Step`.
            entries.truncate(1);
        }
        entries.push(whole(SPANS, &table));
        entries.extend_from_slice(beside);
        if entry_point.starts_with("measure") {
            entries.extend(group.window_entries(&window));
        }
        let dispatch = Unbound::new(&source, what, entry_point, &entries, grid);
        self.dispatches.push(dispatch);
        Ok(())
    }
}
