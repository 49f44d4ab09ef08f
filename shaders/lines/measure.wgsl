// Adds up what the rule computes from the gradient, along the rows and the columns of a tile of a
// matrix. A tile has up to 64 columns and any number of rows. A thread first has a column of the
// tile, then a row. A vector needs no sums: the state of its columns is updated at once.

@group(0) @binding(0) var<uniform> hyper: Hyper;
@group(0) @binding(1) var<uniform> now: Step;

// One tile per workgroup. Host side: src/gpu/lines.rs.
struct LineTile {
    grad: u32,          // its first element in the gradients
    state: u32,         // and in the state
    stride: u32,        // elements from one row to the next
    rows: u32,
    columns: u32,
    row_sums: u32,      // where its first sums go
    column_sums: u32,   // or, of a vector, where its columns are kept
    is_vector: u32,     // if 1, it has one row and any number of columns
}

@group(0) @binding(4) var<storage, read> tiles: array<LineTile>;
@group(0) @binding(11) var<storage, read_write> lines: array<f32>;
@group(0) @binding(12) var<storage, read_write> partials: array<f32>;

const HEIGHT = 32u;
var<workgroup> values: array<f32, 2048>;

fn value_at(tile: LineTile, offset: u32) -> f32 {
    let place = Place(0u, tile.grad + offset, tile.state + offset, 1u);
    let found = scaled(load_grad(place), place);
    return line(limited(found, is_finite(found)).x, hyper);
}

@compute @workgroup_size(64)
fn measure_lines(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = workgroup.y * grid.x + workgroup.x;
    if index >= arrayLength(&tiles) {
        return;
    }
    let tile = tiles[index];
    if tile.is_vector == 1u {
        for (var column = lane; column < tile.columns; column += 64u) {
            let at = tile.column_sums + column;
            lines[at] = move_line(lines[at], bounded(value_at(tile, column)), hyper, now);
        }
        return;
    }
    var column_sum = 0.0;
    for (var top = 0u; top < tile.rows; top += HEIGHT) {
        let height = min(tile.rows - top, HEIGHT);
        for (var row = 0u; row < height; row++) {
            var value = 0.0;
            if lane < tile.columns {
                value = value_at(tile, (top + row) * tile.stride + lane);
            }
            column_sum += value;
            values[row * 64u + lane] = value;
        }
        workgroupBarrier();
        if lane < height {
            var row_sum = 0.0;
            for (var column = 0u; column < 64u; column++) {
                row_sum += values[lane * 64u + column];
            }
            partials[tile.row_sums + top + lane] = row_sum;
        }
        workgroupBarrier();
    }
    if lane < tile.columns {
        partials[tile.column_sums + lane] = column_sum;
    }
}
