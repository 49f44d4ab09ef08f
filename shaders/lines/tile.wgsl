// A tile of a matrix, or a part of a vector. Eight neighbouring threads have a tile, and each of them has one
// quad of every 32 columns. They walk along two rows at a time, so that memory is read in order, and what is
// kept of columns is loaded once for both.

// Each span reaches from the first element of its tile to the last. Host side: src/plan/tiles.rs.
const TILE_THREADS: u32 = 8u;

// From a thread's quad to its next one.
const NEXT_QUAD: u32 = 32u;

struct Tile {
    first: Place,       // its first four elements
    rows: u32,
    columns: u32,
    stride: u32,        // elements from one row to the next
    factors: u32,       // where its first row's factor is kept
    kept: u32,          // where its first column is kept
}

fn find_tile(span: vec4<u32>) -> Tile {
    let first = Place(span.x, span.y, span.z, 4u);
    let entry = row_of(first) / 4u;
    let size = tensors[entry];
    let starts = tensors[entry + 1u];
    let stride = size.z;
    let element = UNIT * window.y + first.state - size.w;
    let row = element / stride;
    let column = element - row * stride;
    let matrix = row / size.y;
    // No tile is wider than its matrix.
    let below = (span.w - 1u) / stride;
    return Tile(
        first,
        below + 1u,
        span.w - below * stride,
        stride,
        starts.x + row,
        starts.y + matrix * stride + column,
    );
}

// The number of a thread's tile.
fn tile_of(workgroup: vec3<u32>, grid: vec3<u32>, lane: u32) -> u32 {
    return 64u / TILE_THREADS * (workgroup.y * grid.x + workgroup.x) + lane / TILE_THREADS;
}

fn first_column(lane: u32) -> u32 {
    return 4u * (lane % TILE_THREADS);
}

// The four elements from `column` on.
fn place_in(tile: Tile, row: u32, column: u32) -> Place {
    let offset = row * tile.stride + column;
    let first = tile.first;
    return Place(first.param + offset, first.grad + offset, first.state + offset, 4u);
}

// The state of the row and of the columns of four elements.
struct Gathered {
    factor: vec4<f32>,
    column: vec4<f32>,
}

fn factor_of(tile: Tile, row: u32) -> vec4<f32> {
    let i = tile.factors + row;
    return vec4<f32>(lines[i / 4u][i % 4u]);
}

fn columns_of(tile: Tile, column: u32) -> vec4<f32> {
    return lines[(tile.kept + column) / 4u];
}
