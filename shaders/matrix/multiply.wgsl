// Newton–Schulz for Muon: products of many matrices at once. Each workgroup computes one tile of
// one product. It has SIDE² threads, SIDE being 4 or 8. Each thread has QUADS times four rows and
// columns of the tile, as defined in block/. Host side: src/gpu/matrix/orthogonalize.rs. Twin:
// src/matrix/orthogonalize.rs.

// result = product · left × right + addend · right, where the last term takes `right` at the
// position of the result. Matrices may lie anywhere in their buffers and have any strides, so none
// need be transposed.
struct View {
    first: u32,             // its first element
    row: u32,               // from one row to the next
    column: u32,            // from one column to the next
}

struct Product {
    left: View,
    right: View,
    result: View,
    rows: u32,              // of left and result
    columns: u32,           // of right and result
    inner: u32,             // columns of left, rows of right
    product: f32,
    addend: f32,
    symmetric: u32,         // if 1, tiles below the diagonal are written by those above it
    padding: u32,
}

struct ProductTile {
    product: u32,
    row: u32,
    column: u32,
    padding: u32,
}

@group(0) @binding(0) var<storage, read> left: array<f32>;
@group(0) @binding(1) var<storage, read> right: array<f32>;
@group(0) @binding(2) var<storage, read_write> result: array<f32>;
@group(0) @binding(3) var<storage, read> products: array<Product>;
@group(0) @binding(4) var<storage, read> tiles: array<ProductTile>;

const DEPTH: u32 = 16u;
// One more than needed, so that neighbouring threads write to different banks.
const PITCH: u32 = QUADS * SIDE + 1u;

// A quad holds 4 rows of `left` or 4 columns of `right`, SIDE apart. Neighbouring threads then read
// and write neighbouring elements.
var<workgroup> left_slice: array<vec4<f32>, DEPTH * PITCH>;
var<workgroup> right_slice: array<vec4<f32>, DEPTH * PITCH>;

fn at(view: View, row: u32, column: u32) -> u32 {
    return view.first + row * view.row + column * view.column;
}

// Other matrices' elements lie beyond the edge. Along k, zeros keep them out of the sums. In the
// other direction their sums are never stored.
fn left_quad(p: Product, row: u32, k: u32) -> vec4<f32> {
    var quad = vec4<f32>();
    if k < p.inner {
        let first = at(p.left, row, k);
        let apart = SIDE * p.left.row;
        if row < p.rows { quad.x = left[first]; }
        if row + SIDE < p.rows { quad.y = left[first + apart]; }
        if row + 2u * SIDE < p.rows { quad.z = left[first + 2u * apart]; }
        if row + 3u * SIDE < p.rows { quad.w = left[first + 3u * apart]; }
    }
    return quad;
}

fn right_quad(p: Product, k: u32, column: u32) -> vec4<f32> {
    var quad = vec4<f32>();
    if k < p.inner {
        let first = at(p.right, k, column);
        let apart = SIDE * p.right.column;
        if column < p.columns { quad.x = right[first]; }
        if column + SIDE < p.columns { quad.y = right[first + apart]; }
        if column + 2u * SIDE < p.columns { quad.z = right[first + 2u * apart]; }
        if column + 3u * SIDE < p.columns { quad.w = right[first + 3u * apart]; }
    }
    return quad;
}

// The quad of a slice that a thread loads: (along the side, along the depth). Neighbouring threads
// load neighbouring elements, whichever way these lie.
fn quad_of(index: u32, along_depth: bool) -> vec2<u32> {
    if along_depth {
        return vec2<u32>(index / DEPTH, index % DEPTH);
    }
    return vec2<u32>(index % (QUADS * SIDE), index / (QUADS * SIDE));
}

// The first row or column of a quad.
fn first_of(quad: u32) -> u32 {
    return quad / SIDE * (4u * SIDE) + quad % SIDE;
}

fn load_quads(p: Product, tile: ProductTile, first: u32, index: u32) {
    let l = quad_of(index, p.left.column == 1u);
    left_slice[l.y * PITCH + l.x] = left_quad(p, tile.row + first_of(l.x), first + l.y);
    let r = quad_of(index, p.right.row == 1u);
    right_slice[r.y * PITCH + r.x] = right_quad(p, first + r.y, tile.column + first_of(r.x));
}

fn load_slices(p: Product, tile: ProductTile, first: u32, lane: u32) {
    // A slice has DEPTH · QUADS · SIDE quads, two or four for each thread.
    load_quads(p, tile, first, lane);
    load_quads(p, tile, first, lane + SIDE * SIDE);
    if QUADS * DEPTH / SIDE == 4u {
        load_quads(p, tile, first, lane + 2u * SIDE * SIDE);
        load_quads(p, tile, first, lane + 3u * SIDE * SIDE);
    }
}

// Four rows of the result times four of its columns, for one column of `left` and one row of
// `right`.
fn outer(l: vec4<f32>, r: vec4<f32>) -> mat4x4<f32> {
    return mat4x4<f32>(l.x * r, l.y * r, l.z * r, l.w * r);
}

fn add_four(block: ptr<function, Block>, k: u32, row: u32, column: u32) {
    add_products(block, k * PITCH + row, k * PITCH + column);
    add_products(block, (k + 1u) * PITCH + row, (k + 1u) * PITCH + column);
    add_products(block, (k + 2u) * PITCH + row, (k + 2u) * PITCH + column);
    add_products(block, (k + 3u) * PITCH + row, (k + 3u) * PITCH + column);
}

fn store(p: Product, row: u32, column: u32, sum: f32) {
    if row >= p.rows || column >= p.columns {
        return;
    }
    let value = p.product * sum
        + p.addend * right[at(p.right, row, column)];
    result[at(p.result, row, column)] = value;
    if p.symmetric == 1u {
        result[at(p.result, column, row)] = value;
    }
}

fn store_row(p: Product, row: u32, column: u32, sums: vec4<f32>) {
    store(p, row, column, sums.x);
    store(p, row, column + SIDE, sums.y);
    store(p, row, column + 2u * SIDE, sums.z);
    store(p, row, column + 3u * SIDE, sums.w);
}

@compute @workgroup_size(SIDE * SIDE)
fn multiply(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = workgroup.y * grid.x + workgroup.x;
    if index >= arrayLength(&tiles) {
        return;
    }
    let tile = tiles[index];
    let p = products[tile.product];
    let row = lane / SIDE;
    let column = lane % SIDE;
    var block = Block();
    for (var first = 0u; first < p.inner; first += DEPTH) {
        load_slices(p, tile, first, lane);
        workgroupBarrier();
        // The loop takes eight at a time, and the loads need no loop. On Mesa's software drivers, a
        // thread silently leaves its loops after 65535 rounds in total, and each loop's end counts
        // as one. This is enough for 260 000 columns.
        for (var k = 0u; k < DEPTH; k += 8u) {
            add_four(&block, k, row, column);
            add_four(&block, k + 4u, row, column);
        }
        workgroupBarrier();
    }
    for (var i = 0u; i < QUADS * QUADS; i++) {
        let sums = part(block, i);
        let first_row = tile.row + row + i / QUADS * (4u * SIDE);
        let first_column = tile.column + column + i % QUADS * (4u * SIDE);
        store_row(p, first_row, first_column, sums[0]);
        store_row(p, first_row + SIDE, first_column, sums[1]);
        store_row(p, first_row + 2u * SIDE, first_column, sums[2]);
        store_row(p, first_row + 3u * SIDE, first_column, sums[3]);
    }
}

// result = right, in the same tiles.
@compute @workgroup_size(SIDE * SIDE)
fn copy(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = workgroup.y * grid.x + workgroup.x;
    if index >= arrayLength(&tiles) {
        return;
    }
    let tile = tiles[index];
    let p = products[tile.product];
    for (var i = 0u; i < 16u * QUADS * QUADS; i++) {
        let row = tile.row + lane / SIDE + i / (4u * QUADS) * SIDE;
        let column = tile.column + lane % SIDE + i % (4u * QUADS) * SIDE;
        if row < p.rows && column < p.columns {
            let value = right[at(p.right, row, column)];
            result[at(p.result, row, column)] = value;
        }
    }
}
