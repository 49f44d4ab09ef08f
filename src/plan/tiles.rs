//! Matrices cut into tiles, and vectors into parts, for shaders that walk down columns. Host side of
//! `shaders/lines/tile.wgsl`.

use std::ops::Range;

use super::limits::{DispatchLimits, LEAST_BLOCKS};
use crate::{
    format::{BINDING_ALIGNMENT, QUAD, Storage},
    shape::Matrices,
};

/// Threads that have a tile together.
pub(crate) const TILE_THREADS: u64 = 8;

/// The shaders have 64 threads in a workgroup.
pub(super) const TILES_PER_WORKGROUP: u64 = 64 / TILE_THREADS;

/// Columns of which each thread has a quad.
const PANEL: usize = (TILE_THREADS * QUAD) as usize;

/// A group has about as many tiles, if they are neither too large nor too small for it.
const TILES: u64 = 512;

/// Rows of a tile, in a wide matrix that has as many. Threads walk along two at a time.
const ROWS: usize = 8;

/// Whether rows begin and end at quads, and leave none of the threads without any.
pub(crate) fn has_tiles(matrices: &Matrices) -> bool {
    matrices.columns >= PANEL && matrices.columns.is_multiple_of(QUAD as usize)
}

/// Most elements of a tile, in a group of `elements`. Large tiles leave few partial sums and look up little;
/// small ones occupy more threads.
pub(super) fn most_in_tile(elements: u64) -> usize {
    let in_tile = elements.div_ceil(TILES).next_power_of_two();
    in_tile.clamp(1024, 8192) as usize
}

/// The tiles of a tensor, each from its first element to its last and of up to `most` elements. None has
/// elements of two matrices.
pub(super) fn tiles(
    matrices: Matrices,
    most: usize,
    storage: &Storage,
    limits: &DispatchLimits,
) -> impl Iterator<Item = Range<u64>> + use<> {
    let Matrices {
        count,
        rows,
        columns,
        ..
    } = matrices;
    // A window can hold one at any offset.
    let room = limits.binding_bytes / LEAST_BLOCKS - BINDING_ALIGNMENT;
    let longest = room / storage.most_bytes(QUAD) * QUAD;
    let longest = usize::try_from(longest).unwrap_or(usize::MAX);
    let widest = (most / rows.min(ROWS)).min(longest) / PANEL * PANEL;
    // All of a matrix's tiles are about as wide.
    let width = columns.div_ceil(columns.div_ceil(widest));
    let width = columns.min(width.next_multiple_of(PANEL));
    let fitting = (longest - width) / columns + 1;
    let height = (most / width).min(fitting);
    let height = match height < rows {
        true => (height - height % 2).max(1),
        false => rows,
    };
    (0..count).flat_map(move |matrix| {
        (0..rows).step_by(height).flat_map(move |top| {
            (0..columns).step_by(width).map(move |left| {
                let first = (matrix * rows + top) * columns + left;
                let below = height.min(rows - top) - 1;
                let last_row = first + below * columns;
                first as u64..(last_row + width.min(columns - left)) as u64
            })
        })
    })
}

#[cfg(test)]
mod tests {
    use super::super::samples::{TINY, WIDE};
    use super::*;

    fn tiles_of(shape: &[usize], most: usize, limits: &DispatchLimits) -> Vec<Range<u64>> {
        tiles(Matrices::of(shape), most, &Storage::default(), limits).collect()
    }

    /// What the shader makes of a tile: rows and columns.
    fn size(tile: &Range<u64>, matrices: &Matrices) -> [u64; 2] {
        let stride = matrices.columns as u64;
        let below = (tile.end - tile.start - 1) / stride;
        [below + 1, tile.end - tile.start - below * stride]
    }

    #[test]
    fn tiles_cover_every_element_once_within_one_matrix() {
        let shapes: [&[usize]; 13] = [
            &[32],
            &[64],
            &[4096],
            &[100_000],
            &[1, 64],
            &[3, 5000],
            &[192, 192],
            &[768, 192],
            &[99, 36],
            &[100, 260],
            &[3, 40, 68],
            &[2, 3, 7, 128],
            &[5, 20_000],
        ];
        for (limits, most) in [(TINY, 8192), (WIDE, 8192), (TINY, 1024), (WIDE, 1024)] {
            for shape in shapes {
                let matrices = Matrices::of(shape);
                assert!(has_tiles(&matrices), "{shape:?}");
                let mut times = vec![0; shape.iter().product()];
                for tile in tiles_of(shape, most, &limits) {
                    let [rows, columns] = size(&tile, &matrices);
                    assert_eq!([tile.start % QUAD, columns % QUAD], [0, 0]);
                    assert!(rows * columns <= most as u64);
                    let bytes = 4 * (tile.end - tile.start) + BINDING_ALIGNMENT;
                    assert!(bytes <= limits.binding_bytes / LEAST_BLOCKS);
                    let of_matrix = (matrices.rows * matrices.columns) as u64;
                    assert_eq!(tile.start / of_matrix, (tile.end - 1) / of_matrix);
                    let stride = matrices.columns as u64;
                    assert!(tile.start % stride + columns <= stride);
                    let below = tile.end.next_multiple_of(stride) % of_matrix;
                    assert!(rows == 1 || rows % 2 == 0 || below == 0, "{shape:?}");
                    for row in 0..rows {
                        let start = (tile.start + row * stride) as usize;
                        let of_row = &mut times[start..][..columns as usize];
                        of_row.iter_mut().for_each(|times| *times += 1);
                    }
                }
                assert!(times.iter().all(|times| *times == 1), "{shape:?}");
            }
        }
    }

    #[test]
    fn a_tile_has_about_as_many_elements_whatever_the_rows() {
        for (shape, count) in [
            (&[1 << 20][..], 256),
            (&[1024, 1024], 256),
            (&[4, 1 << 18], 256),
            // Of 20 rows, since 21 are not even.
            (&[768, 192], 39),
            // Twice 384 columns, which leave ten rows.
            (&[192, 768], 40),
            (&[192], 1),
        ] {
            assert_eq!(tiles_of(shape, 4096, &WIDE).len(), count, "{shape:?}");
        }
    }

    #[test]
    fn a_large_group_has_large_tiles_and_a_small_one_has_many() {
        for (elements, most) in [
            (1, 1024),
            (1 << 19, 1024),
            ((1 << 19) + 1, 2048),
            (1 << 22, 8192),
            (1 << 40, 8192),
        ] {
            assert_eq!(most_in_tile(elements), most);
        }
    }

    #[test]
    fn rows_that_are_narrow_or_not_in_quads_have_no_tiles() {
        for shape in [
            &[][..],
            &[28],
            &[63],
            &[28, 28],
            &[3, 3, 16, 16],
            &[192, 66],
        ] {
            assert!(!has_tiles(&Matrices::of(shape)), "{shape:?}");
        }
    }
}
