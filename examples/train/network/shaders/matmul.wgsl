// C = op(A)·op(B), tile by tile: a workgroup of 8×8 threads computes 32×32 elements of C, a thread
// 4×4 of them.
//
// The file that is appended says which product it is:
//   TRANSPOSE_LEFT, TRANSPOSE_RIGHT   whether A is stored [depth, rows] and B is stored [columns, depth]
//   extents()                         the size of the product
//   store(index, column, value)       what becomes of an element of C, the index-th row by row

const TILE = 32u;
const DEPTH = 16u;
const THREADS = 64u;

struct Batch { first: u32, rows: u32, unused0: u32, unused1: u32 }
struct Layer { inputs: u32, outputs: u32, unused0: u32, unused1: u32 }
struct Extents { rows: u32, columns: u32, depth: u32 }

@group(0) @binding(0) var<storage, read> batch: Batch;
@group(1) @binding(0) var<storage, read> layer: Layer;
@group(1) @binding(1) var<storage, read> left: array<f32>;
@group(1) @binding(2) var<storage, read> right: array<f32>;

// [DEPTH][TILE / 4]: four neighbouring rows of A per vector; from RIGHT on, columns of B. At the end
// [TILE][TILE / 4]: C.
var<workgroup> tiles: array<vec4<f32>, 256>;
const RIGHT = DEPTH * TILE / 4u;

// Zero outside the matrix. The read comes first, since a branch around it costs more than a read
// that is not used.
fn left_at(size: Extents, row: u32, k: u32) -> f32 {
    let value = left[select(row * size.depth + k, k * size.rows + row, TRANSPOSE_LEFT)];
    return select(0.0, value, row < size.rows && k < size.depth);
}

fn right_at(size: Extents, k: u32, column: u32) -> f32 {
    let value = right[select(k * size.columns + column, column * size.depth + k, TRANSPOSE_RIGHT)];
    return select(0.0, value, column < size.columns && k < size.depth);
}

// The place in a tile (x: k, y: quad) that a thread fills. Neighbouring threads read neighbouring
// memory: along k where k is the fastest index in memory, along the quads where it is the slowest.
fn place(index: u32, k_is_fastest: bool) -> vec2<u32> {
    if k_is_fastest {
        return vec2<u32>(index % DEPTH, index / DEPTH);
    }
    return vec2<u32>(index / (TILE / 4u), index % (TILE / 4u));
}

@compute @workgroup_size(8, 8)
fn main(
    @builtin(workgroup_id) tile: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let size = extents();
    let first_row = tile.y * TILE;
    let first_column = tile.x * TILE;
    var sum0 = vec4<f32>();
    var sum1 = vec4<f32>();
    var sum2 = vec4<f32>();
    var sum3 = vec4<f32>();
    for (var first_k = 0u; first_k < size.depth; first_k += DEPTH) {
        for (var index = thread; index < DEPTH * TILE / 4u; index += THREADS) {
            let a = place(index, !TRANSPOSE_LEFT);
            let row = first_row + 4u * a.y;
            tiles[a.x * (TILE / 4u) + a.y] = vec4<f32>(
                left_at(size, row, first_k + a.x),
                left_at(size, row + 1u, first_k + a.x),
                left_at(size, row + 2u, first_k + a.x),
                left_at(size, row + 3u, first_k + a.x),
            );
            let b = place(index, TRANSPOSE_RIGHT);
            let column = first_column + 4u * b.y;
            tiles[RIGHT + b.x * (TILE / 4u) + b.y] = vec4<f32>(
                right_at(size, first_k + b.x, column),
                right_at(size, first_k + b.x, column + 1u),
                right_at(size, first_k + b.x, column + 2u),
                right_at(size, first_k + b.x, column + 3u),
            );
        }
        workgroupBarrier();
        for (var k = 0u; k < DEPTH; k++) {
            let a = tiles[k * (TILE / 4u) + local.y];
            let b = tiles[RIGHT + k * (TILE / 4u) + local.x];
            sum0 += a.x * b;
            sum1 += a.y * b;
            sum2 += a.z * b;
            sum3 += a.w * b;
        }
        workgroupBarrier();
    }
    // Through memory, so that one place in the code stores elements: a software driver takes long to
    // compile sixteen.
    let quad = 4u * local.y * (TILE / 4u) + local.x;
    tiles[quad] = sum0;
    tiles[quad + TILE / 4u] = sum1;
    tiles[quad + 2u * (TILE / 4u)] = sum2;
    tiles[quad + 3u * (TILE / 4u)] = sum3;
    workgroupBarrier();
    for (var index = thread; index < TILE * TILE; index += THREADS) {
        let row = first_row + index / TILE;
        let column = first_column + index % TILE;
        if row < size.rows && column < size.columns {
            store(row * size.columns + column, column, tiles[index / 4u][index % 4u]);
        }
    }
}
