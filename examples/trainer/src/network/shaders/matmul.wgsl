// C = op(A)·op(B), tile by tile: a workgroup of 8×8 threads computes 64×64 elements of C, a thread
// 8×8 of them, as four 4×4 blocks.
//
// The file that is appended says which product it is:
//   TRANSPOSE_LEFT, TRANSPOSE_RIGHT   whether A is stored [depth, rows] and B is stored [columns, depth]
//   extents()                         the size of the product
//   store(index, row, column, value)  what becomes of an element of C, the index-th row by row
//
// A workgroup in z sums up layer.piece of the depth, and C is [pieces, rows, columns].

const TILE = 64u;
const QUADS = TILE / 4u;
const DEPTH = 32u;
const THREADS = 64u;

struct Batch { first: u32, rows: u32, unused0: u32, unused1: u32 }
struct Layer { inputs: u32, outputs: u32, positions: u32, piece: u32 }
struct Extents { rows: u32, columns: u32, depth: u32 }

@group(0) @binding(0) var<storage, read> batch: Batch;
@group(1) @binding(0) var<storage, read> layer: Layer;
@group(1) @binding(1) var<storage, read> left: array<f32>;
@group(1) @binding(2) var<storage, read> right: array<f32>;

// [DEPTH][QUADS]: four neighbouring rows of A per vector; from RIGHT on, columns of B. At the end
// [TILE][QUADS]: C. That is all the workgroup memory that WebGPU promises.
var<workgroup> tiles: array<vec4<f32>, 1024>;
const RIGHT = DEPTH * QUADS;

// Outside the matrix, whatever a read out of bounds gives: it reaches only elements of C that are
// outside too.
fn left_at(size: Extents, row: u32, k: u32) -> f32 {
    return left[select(row * size.depth + k, k * size.rows + row, TRANSPOSE_LEFT)];
}

fn right_at(size: Extents, k: u32, column: u32) -> f32 {
    return right[select(k * size.columns + column, column * size.depth + k, TRANSPOSE_RIGHT)];
}

// The place in a tile (x: k, y: quad) that a thread fills. Neighbouring threads read neighbouring
// memory: along k where k is the fastest index in memory, along the quads where it is the slowest.
fn place(index: u32, k_is_fastest: bool) -> vec2<u32> {
    if k_is_fastest {
        return vec2<u32>(index % DEPTH, index / DEPTH);
    }
    return vec2<u32>(index / QUADS, index % QUADS);
}

// Four rows of A times four columns of B at one k, row by row.
fn outer(a: vec4<f32>, b: vec4<f32>) -> mat4x4<f32> {
    return mat4x4<f32>(a.x * b, a.y * b, a.z * b, a.w * b);
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
    // A thread's columns lie in both halves of the tile, so that neighbouring threads read
    // neighbouring vectors; its rows lie together, so that a small matrix leaves whole threads idle.
    let row_quads = vec2<u32>(2u * local.y, 2u * local.y + 1u);
    let column_quads = vec2<u32>(local.x, local.x + QUADS / 2u);
    let begin = tile.z * layer.piece;
    let end = begin + min(layer.piece, size.depth - begin);
    let is_idle = first_row + 8u * local.y >= size.rows || first_column + 4u * local.x >= size.columns;
    var c00 = mat4x4<f32>();
    var c01 = mat4x4<f32>();
    var c10 = mat4x4<f32>();
    var c11 = mat4x4<f32>();
    for (var first_k = begin; first_k < end; first_k += DEPTH) {
        for (var index = thread; index < RIGHT; index += THREADS) {
            let a = place(index, !TRANSPOSE_LEFT);
            let row = first_row + 4u * a.y;
            tiles[a.x * QUADS + a.y] = vec4<f32>(
                left_at(size, row, first_k + a.x),
                left_at(size, row + 1u, first_k + a.x),
                left_at(size, row + 2u, first_k + a.x),
                left_at(size, row + 3u, first_k + a.x),
            );
            let b = place(index, TRANSPOSE_RIGHT);
            let column = first_column + 4u * b.y;
            tiles[RIGHT + b.x * QUADS + b.y] = vec4<f32>(
                right_at(size, first_k + b.x, column),
                right_at(size, first_k + b.x, column + 1u),
                right_at(size, first_k + b.x, column + 2u),
                right_at(size, first_k + b.x, column + 3u),
            );
        }
        workgroupBarrier();
        // Mesa's software drivers end every loop, and say nothing, once a thread has gone through 65535
        // rounds of loops: MOST_DEPTH in limits.rs.
        let depth = select(min(DEPTH, end - first_k), 0u, is_idle);
        for (var k = 0u; k < depth; k++) {
            let a0 = tiles[k * QUADS + row_quads.x];
            let a1 = tiles[k * QUADS + row_quads.y];
            let b0 = tiles[RIGHT + k * QUADS + column_quads.x];
            let b1 = tiles[RIGHT + k * QUADS + column_quads.y];
            c00 += outer(a0, b0);
            c01 += outer(a0, b1);
            c10 += outer(a1, b0);
            c11 += outer(a1, b1);
        }
        workgroupBarrier();
    }
    // Through memory, so that one place in the code stores elements: a software driver takes long to
    // compile sixty-four.
    keep(row_quads.x, column_quads.x, c00);
    keep(row_quads.x, column_quads.y, c01);
    keep(row_quads.y, column_quads.x, c10);
    keep(row_quads.y, column_quads.y, c11);
    workgroupBarrier();
    for (var index = thread; index < TILE * TILE; index += THREADS) {
        let row = first_row + index / TILE;
        let column = first_column + index % TILE;
        if row < size.rows && column < size.columns {
            let place = (tile.z * size.rows + row) * size.columns + column;
            store(place, row, column, tiles[index / 4u][index % 4u]);
        }
    }
}

fn keep(row_quad: u32, column_quad: u32, block: mat4x4<f32>) {
    let first = 4u * row_quad * QUADS + column_quad;
    tiles[first] = block[0];
    tiles[first + QUADS] = block[1];
    tiles[first + 2u * QUADS] = block[2];
    tiles[first + 3u * QUADS] = block[3];
}
