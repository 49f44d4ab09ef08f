//! Matrices cut into tiles, strips and rows.

use std::ops::Range;

use bytemuck::{Pod, Zeroable};

use super::LinePlace;
use crate::{
    format::{BINDING_ALIGNMENT, Encoding, QUAD},
    plan::{DispatchLimits, Pack, Size, Width, join, length, pack},
    shape::Matrices,
};

/// Columns of a tile.
const WIDTH: usize = 256;

/// Columns of a tile of a vector.
const VECTOR_WIDTH: usize = 2048;

/// Threads that have a tile together. Each of them has a sum of each row.
const THREADS: usize = 8;

/// The shader has 64 threads in a workgroup.
pub(super) const TILES_PER_WORKGROUP: usize = 64 / THREADS;

/// Fewest rows of a tile, in a matrix that has more.
const HEIGHT: usize = 32;

/// About how many tiles lie below one another. With more of them, adding up their sums takes
/// longer.
const STACK: usize = 64;

/// Most rows of a tile. On Mesa's llvmpipe, a thread silently leaves its loops after 65 535 rounds
/// in total.
const MOST_ROWS: usize = 4096;

/// Most columns of which no thread has more than a quad.
const NARROW: usize = THREADS * QUAD as usize;

/// Lines of a strip.
const LINES: usize = 64;

/// Most rows of a matrix whose factors one thread computes.
const MOST_SMALL_ROWS: u32 = 64;

/// WGSL's `LineTile`.
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub(super) struct LineTile {
    grad: u32,
    state: u32,
    stride: u32,
    rows: u32,
    columns: u32,
    row_sums: u32,
    apart: u32,
    column_sums: u32,
}

/// WGSL's `Strip`.
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Strip {
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
pub(super) struct Rows {
    first: u32,
    factors: u32,
    count: u32,
}

impl Rows {
    pub fn size(&self) -> Size {
        match self.count <= MOST_SMALL_ROWS {
            true => Size::Small,
            false => Size::Large,
        }
    }
}

/// The entry points that measure tiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Measuring {
    /// Parts of matrices with up to [`NARROW`] columns.
    Narrow,
    /// Parts of other matrices, and of vectors.
    Wide,
}

impl Measuring {
    pub fn entry_point(self) -> &'static str {
        match self {
            Self::Narrow => "measure_narrow",
            Self::Wide => "measure_lines",
        }
    }
}

/// A tile and the bytes of its gradients.
struct PlacedTile {
    measuring: Measuring,
    buffer: usize,
    width: Width,
    bytes: Range<u64>,
    tile: LineTile,
}

/// A group's matrices, cut into tiles, strips and rows.
#[derive(Default)]
pub(super) struct Tiling {
    /// The format of the gradients.
    encoding: Encoding,
    tiles: Vec<PlacedTile>,
    pub strips: Vec<Strip>,
    pub rows: Vec<Rows>,
    pub partials: usize,
}

impl Tiling {
    pub fn new(encoding: Encoding) -> Self {
        Self {
            encoding,
            ..Self::default()
        }
    }

    /// Adds a tensor. `grad` is the first byte of its gradient, `state` its first element in the
    /// group.
    pub fn add(
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
        let encoding = self.encoding;
        // Each row begins at a quad, and ends at one.
        let in_quads =
            grad.is_multiple_of(encoding.quad_bytes()) && (columns as u64).is_multiple_of(QUAD);
        let width = match in_quads {
            true => Width::Quads,
            false => Width::Scalars,
        };
        if !has_rows {
            return self.add_vector(place.columns, columns, buffer, width, grad, state);
        }
        let measuring = match columns <= NARROW {
            true => Measuring::Narrow,
            false => Measuring::Wide,
        };
        // A tile is one binding, which may start at any offset. It reaches from the tile's first
        // row to the tile's columns in its last row.
        let beside = BINDING_ALIGNMENT + encoding.bytes(WIDTH as u64);
        let fitting = (limits.binding_bytes - beside) / encoding.bytes(columns as u64) + 1;
        let fitting = usize::try_from(fitting).unwrap_or(usize::MAX);
        let height = rows.div_ceil(STACK).next_multiple_of(HEIGHT);
        let height = height.min(MOST_ROWS).min(fitting).max(1);
        let down = rows.div_ceil(height);
        // Sums of each row: by each thread that has any of its columns.
        let last_columns = columns - (columns - 1) / WIDTH * WIDTH;
        let across =
            (columns - 1) / WIDTH * THREADS + last_columns.div_ceil(QUAD as usize).min(THREADS);
        // The sums of all matrices lie beside one another, so that strips are of more than one.
        let [all_rows, all_columns] = [count * rows, count * columns];
        let row_sums = self.partials;
        let column_sums = row_sums + across * all_rows;
        self.partials = column_sums + down * all_columns;
        for matrix in 0..count {
            let row_sums = row_sums + matrix * rows;
            let column_sums = column_sums + matrix * columns;
            for (tile_row, top) in (0..rows).step_by(height).enumerate() {
                for (tile_column, left) in (0..columns).step_by(WIDTH).enumerate() {
                    let tile_rows = height.min(rows - top);
                    let tile_columns = WIDTH.min(columns - left);
                    let element = ((matrix * rows + top) * columns + left) as u64;
                    let start = grad + encoding.bytes(element);
                    let length = (tile_rows - 1) * columns + tile_columns;
                    self.tiles.push(PlacedTile {
                        measuring,
                        buffer,
                        width,
                        bytes: start..start + encoding.bytes(length as u64),
                        tile: LineTile {
                            grad: 0,
                            state: (state + element) as u32,
                            stride: columns as u32,
                            rows: tile_rows as u32,
                            columns: tile_columns as u32,
                            row_sums: (row_sums + tile_column * THREADS * all_rows + top) as u32,
                            apart: all_rows as u32,
                            column_sums: (column_sums + tile_row * all_columns + left) as u32,
                        },
                    });
                }
            }
            self.rows.push(Rows {
                first: (place.rows + matrix * rows) as u32,
                factors: (place.factors + matrix * rows) as u32,
                count: rows as u32,
            });
        }
        self.add_strips(place.columns, all_columns, column_sums, down, rows);
        self.add_strips(place.rows, all_rows, row_sums, across, columns);
    }

    /// Adds a vector of `columns` elements, whose state begins at element `kept`.
    fn add_vector(
        &mut self,
        kept: usize,
        columns: usize,
        buffer: usize,
        width: Width,
        grad: u64,
        state: u64,
    ) {
        for left in (0..columns).step_by(VECTOR_WIDTH) {
            let count = VECTOR_WIDTH.min(columns - left);
            let start = grad + self.encoding.bytes(left as u64);
            self.tiles.push(PlacedTile {
                measuring: Measuring::Wide,
                buffer,
                width,
                bytes: start..start + self.encoding.bytes(count as u64),
                tile: LineTile {
                    grad: 0,
                    state: (state + left as u64) as u32,
                    stride: 0,
                    rows: 0,
                    columns: count as u32,
                    row_sums: 0,
                    apart: 0,
                    column_sums: (kept + left) as u32,
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
        let strips = (0..count).step_by(LINES).map(|start| Strip {
            first: (first + start) as u32,
            count: LINES.min(count - start) as u32,
            partial: (partial + start) as u32,
            stride: count as u32,
            sums: sums as u32,
            length: length as u32,
        });
        self.strips.extend(strips);
    }

    /// Groups the tiles that share a dispatch.
    pub fn windows(&mut self, limits: &DispatchLimits) -> Vec<LineWindow> {
        let shared = |placed: &PlacedTile| (placed.measuring, placed.buffer, placed.width);
        self.tiles
            .sort_by_key(|placed| (shared(placed), placed.bytes.start));
        let widest = u64::from(limits.workgroups_per_dimension);
        let most = (widest * widest).min(limits.binding_bytes / size_of::<LineTile>() as u64);
        let windows_of = |placed: &[PlacedTile]| -> Vec<LineWindow> {
            let packs = pack(
                placed,
                |placed| limits.binding_of(&placed.bytes),
                join,
                |bytes, count| length(bytes) <= limits.binding_bytes && count <= most,
            );
            let window = |pack| LineWindow::of(pack, self.encoding);
            packs.into_iter().map(window).collect()
        };
        let parts = self.tiles.chunk_by(|a, b| shared(a) == shared(b));
        parts.flat_map(windows_of).collect()
    }
}

/// The tiles of a dispatch, and the bytes of a buffer that it binds.
pub(super) struct LineWindow {
    pub measuring: Measuring,
    pub buffer: usize,
    pub width: Width,
    pub bytes: Range<u64>,
    pub tiles: Vec<LineTile>,
}

impl LineWindow {
    fn of(Pack { items, bound }: Pack<&PlacedTile, Range<u64>>, encoding: Encoding) -> Self {
        let tile = |placed: &&PlacedTile| LineTile {
            grad: encoding.elements(placed.bytes.start - bound.start) as u32,
            ..placed.tile
        };
        Self {
            measuring: items[0].measuring,
            buffer: items[0].buffer,
            width: items[0].width,
            tiles: items.iter().map(tile).collect(),
            bytes: bound,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Rule,
        rules::Adafactor,
        shader::{self, Frame, assert_laid_out_as, layout_of},
    };

    #[test]
    fn tables_lie_as_the_shaders_read_them() {
        let rule: Box<dyn Rule> = Adafactor::default().into();
        let frame = Frame::default();
        let measure = &shader::measure_lines(&*rule, frame, Width::Quads);
        assert_laid_out_as!(
            LineTile, measure, "LineTile",
            grad state stride rows columns row_sums apart column_sums
        );
        let moves = &shader::move_lines(&*rule, frame);
        assert_laid_out_as!(Strip, moves, "Strip", first count partial stride sums length);
        let factor = &shader::factor_lines(&*rule, frame);
        assert_laid_out_as!(Rows, factor, "Rows", first factors count);
        assert_eq!(layout_of(measure, "LineTile").1, size_of::<LineTile>());
        assert_eq!(layout_of(moves, "Strip").1, size_of::<Strip>());
        assert_eq!(layout_of(factor, "Rows").1, size_of::<Rows>());
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
    fn lines_of_many_small_matrices_fill_their_strips() {
        let (places, line_count) = LinePlace::of(&[&[50, 2, 3, 4]]);
        let mut tiling = Tiling::new(Encoding::F32);
        tiling.add(&places[0], 0, 0, 0, &TINY);
        let mut moved = vec![0; line_count];
        for strip in &tiling.strips {
            let Strip { first, count, .. } = *strip;
            moved[first as usize..][..count as usize]
                .iter_mut()
                .for_each(|times| *times += 1);
        }
        let LinePlace { rows, columns, .. } = places[0];
        let [rows, columns] = [&moved[rows..][..300], &moved[columns..][..400]];
        assert!(rows.iter().chain(columns).all(|&times| times == 1));
        assert_eq!(
            tiling.strips.len(),
            300usize.div_ceil(64) + 400usize.div_ceil(64)
        );
    }

    #[test]
    fn tiles_cover_every_element_once_and_fit_their_bindings() {
        let wide = DispatchLimits {
            binding_bytes: 128 << 20,
            workgroups_per_dimension: 65_535,
            ..TINY
        };
        let shapes: [&[usize]; 11] = [
            &[],
            &[1],
            &[5000],
            &[1, 300],
            &[300, 1],
            &[65, 129],
            &[3, 40, 7],
            &[2, 3, 3, 3],
            &[2100, 5],
            &[40, 520],
            &[3, 2, 300],
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
                        let is_vector = tile.rows == 0;
                        // The stride is that of the matrix.
                        let is_narrow = !is_vector && tile.stride as usize <= NARROW;
                        assert_eq!(window.measuring == Measuring::Narrow, is_narrow);
                        let of_columns = match is_vector {
                            false => &mut sums,
                            true => &mut kept,
                        };
                        if window.width == Width::Quads {
                            let in_quads = [tile.grad, tile.stride, tile.columns];
                            assert!(in_quads.iter().all(|count| count % 4 == 0));
                            assert!(!is_vector || tile.column_sums % 4 == 0);
                        }
                        for column in 0..tile.columns {
                            of_columns[(tile.column_sums + column) as usize] += 1;
                        }
                        for row in 0..tile.rows {
                            for thread in (0..8).filter(|thread| 4 * thread < tile.columns) {
                                sums[(tile.row_sums + thread * tile.apart + row) as usize] += 1;
                            }
                        }
                        for row in 0..tile.rows.max(1) {
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
