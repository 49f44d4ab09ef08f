//! Means over the rows and columns of matrices. This is the host side of `shaders/lines/`.

use std::slice;

use bytemuck::{Pod, Zeroable};

use super::{
    binding::{GRADS, LINES, PARTIALS, SPANS, bind, entry, filled_buffer, whole},
    dispatch::{BoundTensor, Dispatch, GroupBindings, tensor_ranges},
    limits::{ARENA_USAGE, check_binding_size},
    pipelines::Pipelines,
};
use crate::{
    Error,
    buffer::guarded,
    format::{BINDING_ALIGNMENT, Encoding},
    layout::TENSOR_ALIGNMENT,
    plan::{DispatchLimits, Pack, Size, by_size, fold, join, length, pack},
    rule::{LinePart, Lines},
    shader::{self, Pass},
    shape::Matrices,
};

/// The format of the state of lines and of their partial sums.
const KEPT: Encoding = Encoding::F32;

/// Columns of a tile. Also lines of a strip.
const WIDTH: usize = 64;

/// Columns of a tile of a vector.
const VECTOR_WIDTH: usize = 2048;

/// Rows that a tile sums up at a time.
const HEIGHT: usize = 32;

/// About how many tiles lie below one another. With more of them, adding up their sums takes
/// longer.
const STACK: usize = 64;

/// Most rows of a tile. On Mesa's llvmpipe, a thread silently leaves its loops after 65 535 rounds
/// in total.
const MOST_ROWS: usize = 4096;

/// Most rows of a matrix whose factors one thread computes.
const MOST_SMALL_ROWS: u32 = 64;

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
    pub fn new(device: &wgpu::Device, rule: &str, shapes: &[&[usize]]) -> Result<Self, Error> {
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

    pub fn place(&self, tensor: usize) -> &LinePlace {
        &self.places[tensor]
    }

    /// First byte and byte count of the slot `name` of the group's tensor number `tensor`.
    pub fn range(&self, lines: &Lines, tensor: usize, name: &str) -> Option<[u64; 2]> {
        let range = self.places[tensor].range(lines, name)?;
        Some(range.map(|elements| KEPT.bytes(elements as u64)))
    }
}

/// WGSL's `LineTile`.
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
#[repr(C)]
struct LineTile {
    grad: u32,
    state: u32,
    stride: u32,
    rows: u32,
    columns: u32,
    row_sums: u32,
    column_sums: u32,
    is_vector: u32,
}

/// WGSL's `Strip`.
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
#[repr(C)]
struct Strip {
    first: u32,
    count: u32,
    partial: u32,
    stride: u32,
    sums: u32,
    length: u32,
}

/// WGSL's `Rows`.
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
#[repr(C)]
struct Rows {
    first: u32,
    factors: u32,
    count: u32,
}

impl Rows {
    fn size(&self) -> Size {
        match self.count <= MOST_SMALL_ROWS {
            true => Size::Small,
            false => Size::Large,
        }
    }
}

/// A tile and the bytes of its gradients.
struct PlacedTile {
    buffer: usize,
    bytes: std::ops::Range<u64>,
    tile: LineTile,
}

/// A group's matrices, cut into tiles, strips and rows.
#[derive(Default)]
struct Tiling {
    /// The format of the gradients.
    encoding: Encoding,
    tiles: Vec<PlacedTile>,
    strips: Vec<Strip>,
    rows: Vec<Rows>,
    partials: usize,
}

impl Tiling {
    fn new(encoding: Encoding) -> Self {
        Self {
            encoding,
            ..Self::default()
        }
    }

    /// Adds a tensor. `grad` is the first byte of its gradient, `state` its first element in the
    /// group.
    fn add(
        &mut self,
        place: &LinePlace,
        buffer: usize,
        grad: u64,
        state: u64,
        limits: &DispatchLimits,
    ) {
        let Matrices {
            count,
            rows,
            columns,
            has_rows,
        } = place.matrices;
        if !has_rows {
            return self.add_vector(place.columns, columns, buffer, grad, state);
        }
        // A tile is one binding, which may start at any offset. It reaches from the tile's first
        // row to the tile's columns in its last row.
        let encoding = self.encoding;
        let beside = BINDING_ALIGNMENT + encoding.bytes(WIDTH as u64);
        let fitting = (limits.binding_bytes - beside) / encoding.bytes(columns as u64) + 1;
        let fitting = usize::try_from(fitting).unwrap_or(usize::MAX);
        let height = rows.div_ceil(STACK).next_multiple_of(HEIGHT);
        let height = height.min(MOST_ROWS).min(fitting).max(1);
        let [across, down] = [columns.div_ceil(WIDTH), rows.div_ceil(height)];
        for matrix in 0..count {
            let row_sums = self.partials;
            let column_sums = row_sums + across * rows;
            self.partials = column_sums + down * columns;
            for (tile_row, top) in (0..rows).step_by(height).enumerate() {
                for (tile_column, left) in (0..columns).step_by(WIDTH).enumerate() {
                    let tile_rows = height.min(rows - top);
                    let tile_columns = WIDTH.min(columns - left);
                    let element = ((matrix * rows + top) * columns + left) as u64;
                    let start = grad + encoding.bytes(element);
                    let length = (tile_rows - 1) * columns + tile_columns;
                    self.tiles.push(PlacedTile {
                        buffer,
                        bytes: start..start + encoding.bytes(length as u64),
                        tile: LineTile {
                            grad: 0,
                            state: (state + element) as u32,
                            stride: columns as u32,
                            rows: tile_rows as u32,
                            columns: tile_columns as u32,
                            row_sums: (row_sums + tile_column * rows + top) as u32,
                            column_sums: (column_sums + tile_row * columns + left) as u32,
                            is_vector: 0,
                        },
                    });
                }
            }
            let first_column = place.columns + matrix * columns;
            self.add_strips(first_column, columns, column_sums, down, rows);
            let first_row = place.rows + matrix * rows;
            self.add_strips(first_row, rows, row_sums, across, columns);
            self.rows.push(Rows {
                first: first_row as u32,
                factors: (place.factors + matrix * rows) as u32,
                count: rows as u32,
            });
        }
    }

    /// Adds a vector of `columns` elements, whose state begins at element `kept`.
    fn add_vector(&mut self, kept: usize, columns: usize, buffer: usize, grad: u64, state: u64) {
        for left in (0..columns).step_by(VECTOR_WIDTH) {
            let width = VECTOR_WIDTH.min(columns - left);
            let start = grad + self.encoding.bytes(left as u64);
            self.tiles.push(PlacedTile {
                buffer,
                bytes: start..start + self.encoding.bytes(width as u64),
                tile: LineTile {
                    grad: 0,
                    state: (state + left as u64) as u32,
                    stride: 0,
                    rows: 1,
                    columns: width as u32,
                    row_sums: 0,
                    column_sums: (kept + left) as u32,
                    is_vector: 1,
                },
            });
        }
    }

    /// Adds `count` lines of `length` elements each. Their state begins at element `first`. Each
    /// line has `sums` partial sums.
    fn add_strips(
        &mut self,
        first: usize,
        count: usize,
        partial: usize,
        sums: usize,
        length: usize,
    ) {
        let strips = (0..count).step_by(WIDTH).map(|start| Strip {
            first: (first + start) as u32,
            count: WIDTH.min(count - start) as u32,
            partial: (partial + start) as u32,
            stride: count as u32,
            sums: sums as u32,
            length: length as u32,
        });
        self.strips.extend(strips);
    }

    /// Groups the tiles that share a dispatch. Each window has a buffer, its bound bytes and its
    /// tiles.
    fn windows(&mut self, limits: &DispatchLimits) -> Vec<LineWindow> {
        self.tiles
            .sort_by_key(|placed| (placed.buffer, placed.bytes.start));
        let widest = u64::from(limits.workgroups_per_dimension);
        let most = (widest * widest).min(limits.binding_bytes / size_of::<LineTile>() as u64);
        let of_buffer = |placed: &[PlacedTile]| -> Vec<LineWindow> {
            let packs = pack(
                placed,
                |placed| limits.binding_of(&placed.bytes),
                join,
                |bytes, count| length(bytes) <= limits.binding_bytes && count <= most,
            );
            let window = |pack| LineWindow::of(pack, self.encoding);
            packs.into_iter().map(window).collect()
        };
        let buffers = self.tiles.chunk_by(|a, b| a.buffer == b.buffer);
        buffers.flat_map(of_buffer).collect()
    }
}

struct LineWindow {
    buffer: usize,
    bytes: std::ops::Range<u64>,
    tiles: Vec<LineTile>,
}

impl LineWindow {
    fn of(
        Pack { items, bound }: Pack<&PlacedTile, std::ops::Range<u64>>,
        encoding: Encoding,
    ) -> Self {
        let tile = |placed: &&PlacedTile| LineTile {
            grad: encoding.elements(placed.bytes.start - bound.start) as u32,
            ..placed.tile
        };
        Self {
            buffer: items[0].buffer,
            tiles: items.iter().map(tile).collect(),
            bytes: bound,
        }
    }
}

/// The dispatches that update the state of `group`'s lines, in `table`, from the gradients of
/// `tensors`.
pub(super) async fn line_dispatches(
    device: &wgpu::Device,
    pipelines: &mut Pipelines,
    limits: &DispatchLimits,
    group: GroupBindings<'_>,
    table: &LineTable,
    tensors: &[BoundTensor],
) -> Result<Vec<Dispatch>, Error> {
    let group = GroupBindings {
        pass: Pass::Lines,
        ..group
    };
    let (buffers, ranges) = tensor_ranges(tensors);
    let mut tiling = Tiling::new(group.frame.storage.grads);
    for (range, place) in ranges.iter().zip(&table.places) {
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
    let made = guarded(device, "the sums over rows and columns", || {
        device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("partial sums of lines"),
            size: bytes,
            usage: wgpu::BufferUsages::STORAGE,
            mapped_at_creation: false,
        })
    });
    let partials = made.await?;
    let lines = whole(LINES, &table.buffer);
    let sums = whole(PARTIALS, &partials);
    let mut dispatches = Vec::new();
    let mut builder = LinesBuilder {
        device,
        pipelines,
        group,
        dispatches: &mut dispatches,
    };
    for window in tiling.windows(limits) {
        let size = window.bytes.end - window.bytes.start;
        let grads = entry(GRADS, buffers[window.buffer], window.bytes.start, size);
        let entries = [grads, lines.clone(), sums.clone()];
        let tiles = bytemuck::cast_slice(&window.tiles);
        let grid = fold(window.tiles.len() as u64, limits);
        builder.add("measure_lines", tiles, grid, &entries).await?;
    }
    if !tiling.rows.is_empty() {
        let strips = bytemuck::cast_slice(&tiling.strips);
        let entries = [lines.clone(), sums];
        let grid = fold(tiling.strips.len() as u64, limits);
        builder.add("move_lines", strips, grid, &entries).await?;
        for (size, rows) in by_size(tiling.rows, Rows::size) {
            let entry_point = match size {
                Size::Small => "factor_small",
                Size::Large => "factor_large",
            };
            let grid = size.grid(rows.len(), limits);
            let table = bytemuck::cast_slice(&rows);
            builder
                .add(entry_point, table, grid, slice::from_ref(&lines))
                .await?;
        }
    }
    Ok(dispatches)
}

struct LinesBuilder<'m, 'a> {
    device: &'m wgpu::Device,
    pipelines: &'m mut Pipelines,
    group: GroupBindings<'a>,
    dispatches: &'m mut Vec<Dispatch>,
}

impl LinesBuilder<'_, '_> {
    /// Adds a dispatch over the rows of `table`.
    async fn add(
        &mut self,
        entry_point: &'static str,
        table: &[u8],
        grid: [u32; 2],
        beside: &[wgpu::BindGroupEntry<'_>],
    ) -> Result<(), Error> {
        let Self { device, group, .. } = self;
        let rule = group.rule;
        let text = shader::lines(rule, group.frame, entry_point);
        let compiled = self
            .pipelines
            .compile_rule(device, rule, &text, entry_point);
        let pipeline = compiled.await?;
        let measures = entry_point == "measure_lines";
        let made = guarded(device, "the bindings of rows and columns", || {
            let storage = wgpu::BufferUsages::STORAGE;
            let table = filled_buffer(device, entry_point, storage, table)?;
            let window = group.window(device, 0)?;
            let mut entries = group.numbers();
            if entry_point.starts_with("factor") {
                // This shader reads no `Step`.
                entries.truncate(1);
            }
            entries.push(whole(SPANS, &table));
            entries.extend_from_slice(beside);
            if measures {
                entries.extend(group.window_entries(&window));
            }
            bind(device, &pipeline, entry_point, &entries)
        });
        self.dispatches.push(Dispatch {
            bind_group: made.await??,
            pipeline,
            grid,
            switched: None,
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shader::{assert_laid_out_as, layout_of};
    use crate::{Rule, rules::Adafactor, shader::Frame};

    #[test]
    fn tables_lie_as_the_shaders_read_them() {
        let rule: Box<dyn Rule> = Adafactor::default().into();
        let text = |entry_point| shader::lines(&*rule, Frame::default(), entry_point);
        assert_laid_out_as!(
            LineTile, &text("measure_lines"), "LineTile",
            grad state stride rows columns row_sums column_sums is_vector
        );
        assert_laid_out_as!(
            Strip, &text("move_lines"), "Strip",
            first count partial stride sums length
        );
        assert_laid_out_as!(Rows, &text("factor_small"), "Rows", first factors count);
        let size = |entry_point, name| layout_of(&text(entry_point), name).1;
        assert_eq!(size("measure_lines", "LineTile"), size_of::<LineTile>());
        assert_eq!(size("move_lines", "Strip"), size_of::<Strip>());
        assert_eq!(size("factor_small", "Rows"), size_of::<Rows>());
    }

    const TINY: DispatchLimits = DispatchLimits {
        binding_bytes: 16 * 1024,
        offset_alignment: 256,
        workgroups_per_dimension: 3,
    };

    #[test]
    fn vectors_have_nothing_to_add_up() {
        let (places, _) = LinePlace::of(&[&[], &[10_000]]);
        let mut tiling = Tiling::new(Encoding::F32);
        for place in &places {
            tiling.add(place, 0, 0, 0, &TINY);
        }
        assert_eq!(tiling.tiles.len(), 1 + 5);
        assert_eq!(
            (tiling.partials, tiling.strips.len(), tiling.rows.len()),
            (0, 0, 0)
        );
    }

    #[test]
    fn tiles_cover_every_element_once_and_fit_their_bindings() {
        let wide = DispatchLimits {
            binding_bytes: 128 << 20,
            workgroups_per_dimension: 65_535,
            ..TINY
        };
        let shapes: [&[usize]; 9] = [
            &[],
            &[1],
            &[5000],
            &[1, 300],
            &[300, 1],
            &[65, 129],
            &[3, 40, 7],
            &[2, 3, 3, 3],
            &[2100, 5],
        ];
        for limits in [TINY, wide] {
            for gradient in [0, 4, 300] {
                let (places, line_count) = LinePlace::of(&shapes);
                let mut tiling = Tiling::new(Encoding::F32);
                let mut expected = Vec::new();
                let mut offset = gradient;
                for (place, shape) in places.iter().zip(&shapes) {
                    tiling.add(place, 0, offset, 0, &limits);
                    let count = shape.iter().product::<usize>() as u64;
                    expected.extend((0..count).map(|i| offset + 4 * i));
                    offset += 4 * count + 8;
                }
                let mut found = Vec::new();
                let mut sums = vec![0; tiling.partials];
                let mut kept = vec![0; line_count];
                for window in tiling.windows(&limits) {
                    assert_eq!(window.bytes.start % limits.offset_alignment, 0);
                    assert!(window.bytes.end - window.bytes.start <= limits.binding_bytes);
                    for tile in &window.tiles {
                        let of_columns = match tile.is_vector {
                            0 => &mut sums,
                            _ => &mut kept,
                        };
                        for column in 0..tile.columns {
                            of_columns[(tile.column_sums + column) as usize] += 1;
                        }
                        for row in 0..tile.rows {
                            if tile.is_vector == 0 {
                                sums[(tile.row_sums + row) as usize] += 1;
                            }
                            for column in 0..tile.columns {
                                let element = tile.grad + row * tile.stride + column;
                                let byte = window.bytes.start + 4 * u64::from(element);
                                assert!(byte < window.bytes.end);
                                found.push(byte);
                            }
                        }
                    }
                }
                let vectors = places.iter().filter(|place| !place.matrices.has_rows);
                for place in vectors {
                    let columns = &mut kept[place.columns..][..place.matrices.columns];
                    assert!(columns.iter().all(|&count| count == 1));
                    columns.fill(0);
                }
                assert!(kept.iter().all(|&count| count == 0));
                found.sort_unstable();
                assert!(found == expected, "not every element exactly once");
                assert!(
                    sums.iter().all(|&count| count == 1),
                    "a sum is shared or not written"
                );
            }
        }
    }
}
