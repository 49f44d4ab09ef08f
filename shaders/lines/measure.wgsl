// Adds up what the rule computes from the gradient, along the rows and the columns of a tile of a
// matrix. Eight neighbouring threads have a tile, of up to 256 columns and any number of rows. Each of
// them has four of every 32 columns, and no thread waits for another. A vector needs no sums: the
// state of its columns is updated at once.

@group(0) @binding(0) var<uniform> hyper: Hyper;
@group(0) @binding(1) var<uniform> now: Step;

// Host side: src/gpu/lines/tiling.rs.
struct LineTile {
    grad: u32,          // its first element in the gradients
    state: u32,         // and in the state
    stride: u32,        // elements from one row to the next
    rows: u32,          // 0 if it is part of a vector
    columns: u32,
    row_sums: u32,      // where the first thread's sums of rows go
    apart: u32,         // from there to the next thread's
    column_sums: u32,   // where the sums of columns go or, of a vector, where its columns are kept
}

@group(0) @binding(4) var<storage, read> tiles: array<LineTile>;
@group(0) @binding(11) var<storage, read_write> lines: array<vec4<f32>>;
@group(0) @binding(12) var<storage, read_write> partials: array<f32>;

// From four columns of a thread to its next four.
const NEXT_QUAD = 32u;

// Which of the four columns from `column` on the tile has.
fn has_columns(tile: LineTile, column: u32) -> vec4<bool> {
    return vec4<u32>(column) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(tile.columns);
}

// Of the four columns from `column` on, in the row that begins at `start`. Columns that the tile does
// not have are zero; the first is read in their place, since a branch costs llvmpipe more.
fn values_at(tile: LineTile, start: u32, column: u32) -> vec4<f32> {
    let is_within = column < tile.columns;
    let offset = start + select(0u, column, is_within);
    let count = select(1u, min(tile.columns - column, 4u), is_within);
    let place = Place(0u, tile.grad + offset, tile.state + offset, count);
    let found = scaled(load_grad(place), place);
    let g = limited(found, is_finite(found));
    return select(vec4<f32>(), lines_of(g), has_columns(tile, column));
}

fn keep_columns(tile: LineTile, column: u32, sums: vec4<f32>) {
    for (var i = 0u; i < 4u && column + i < tile.columns; i++) {
        partials[tile.column_sums + column + i] = sums[i];
    }
}

fn measure_matrix(tile: LineTile, thread: u32) {
    let first = 4u * thread;
    var sums = array<vec4<f32>, 8>();
    for (var row = 0u; row < tile.rows; row++) {
        let start = row * tile.stride;
        let a = values_at(tile, start, first);
        sums[0] += a;
        var in_row = a;
        if tile.columns > NEXT_QUAD {
            let b = values_at(tile, start, first + NEXT_QUAD);
            let c = values_at(tile, start, first + 2u * NEXT_QUAD);
            let d = values_at(tile, start, first + 3u * NEXT_QUAD);
            sums[1] += b;
            sums[2] += c;
            sums[3] += d;
            in_row += b + (c + d);
        }
        if tile.columns > 4u * NEXT_QUAD {
            let e = values_at(tile, start, first + 4u * NEXT_QUAD);
            let f = values_at(tile, start, first + 5u * NEXT_QUAD);
            sums[4] += e;
            sums[5] += f;
            in_row += e + f;
        }
        if tile.columns > 6u * NEXT_QUAD {
            let g = values_at(tile, start, first + 6u * NEXT_QUAD);
            let h = values_at(tile, start, first + 7u * NEXT_QUAD);
            sums[6] += g;
            sums[7] += h;
            in_row += g + h;
        }
        if first < tile.columns {
            partials[tile.row_sums + thread * tile.apart + row] = dot(in_row, vec4<f32>(1.0));
        }
    }
    keep_columns(tile, first, sums[0]);
    keep_columns(tile, first + NEXT_QUAD, sums[1]);
    keep_columns(tile, first + 2u * NEXT_QUAD, sums[2]);
    keep_columns(tile, first + 3u * NEXT_QUAD, sums[3]);
    keep_columns(tile, first + 4u * NEXT_QUAD, sums[4]);
    keep_columns(tile, first + 5u * NEXT_QUAD, sums[5]);
    keep_columns(tile, first + 6u * NEXT_QUAD, sums[6]);
    keep_columns(tile, first + 7u * NEXT_QUAD, sums[7]);
}

// measure_matrix where no thread has more than four columns, since llvmpipe loads what is not there too.
fn measure_panel(tile: LineTile, thread: u32) {
    let first = 4u * thread;
    var sums = vec4<f32>();
    for (var row = 0u; row < tile.rows; row++) {
        let values = values_at(tile, row * tile.stride, first);
        sums += values;
        if first < tile.columns {
            partials[tile.row_sums + thread * tile.apart + row] = dot(values, vec4<f32>(1.0));
        }
    }
    keep_columns(tile, first, sums);
}

fn move_vector(tile: LineTile, thread: u32) {
    for (var column = 4u * thread; column < tile.columns; column += NEXT_QUAD) {
        let at = (tile.column_sums + column) / 4u;
        let kept = lines[at];
        let next = moved_lines(kept, values_at(tile, 0u, column));
        lines[at] = select(kept, next, has_columns(tile, column));
    }
}

@compute @workgroup_size(64)
fn measure_lines(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = 8u * (workgroup.y * grid.x + workgroup.x) + lane / 8u;
    if index >= arrayLength(&tiles) {
        return;
    }
    let tile = tiles[index];
    if tile.rows > 0u {
        measure_matrix(tile, lane % 8u);
    } else {
        move_vector(tile, lane % 8u);
    }
}

// The same of matrices with up to 32 columns.
@compute @workgroup_size(64)
fn measure_narrow(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = 8u * (workgroup.y * grid.x + workgroup.x) + lane / 8u;
    if index < arrayLength(&tiles) {
        measure_panel(tiles[index], lane % 8u);
    }
}
