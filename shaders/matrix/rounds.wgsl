// Newton–Schulz for Muon where matrices are small: all rounds of a matrix in one dispatch, within the
// workgroup's memory. One product after another, as in multiply.wgsl, is mostly loads and stores there. A
// workgroup has 64 threads, each with 4×4 elements of a matrix, so it holds MATRICES matrices of SIDE² each.
// The host puts `const SIDE` (16 or 32), `const ROUNDS`, `const OF_X`, `const OF_GRAM` and `const OF_SQUARE`
// before this. Host side: src/gpu/matrix/rounds.rs. Twin: src/matrix/orthogonalize.rs.

// One matrix in the wide form: it has no more rows than columns, and at most SIDE columns.
struct SmallMatrix {
    first: u32,             // its first element
    row: u32,               // from one row to the next
    column: u32,            // from one column to the next
    rows: u32,
    columns: u32,
}

@group(0) @binding(0) var<storage, read_write> x: array<f32>;
@group(0) @binding(1) var<storage, read> matrices: array<SmallMatrix>;

const QUADS: u32 = SIDE / 4u;
const THREADS: u32 = QUADS * QUADS;
const MATRICES: u32 = 64u / THREADS;

// Each matrix has SIDE lines of QUADS quads. Lines of `x_rows` are rows, and those of `x_columns` are
// columns. The square is X Xᵀ and then b X Xᵀ + c (X Xᵀ)²; both are symmetric.
var<workgroup> x_rows: array<vec4<f32>, 256>;
var<workgroup> x_columns: array<vec4<f32>, 256>;
var<workgroup> square: array<vec4<f32>, 256>;

// What a thread has: its matrix's first quad, and its own quad among the rows and the columns.
struct Block {
    first: u32,
    row: u32,
    column: u32,
}

// Four rows times four columns, row by row.
fn outer(rows: vec4<f32>, columns: vec4<f32>) -> mat4x4<f32> {
    return mat4x4<f32>(rows.x * columns, rows.y * columns, rows.z * columns, rows.w * columns);
}

fn quad(block: Block, line: u32, quad: u32) -> u32 {
    return block.first + line * QUADS + quad;
}

// X Xᵀ at k.
fn gram_at(block: Block, k: u32) -> mat4x4<f32> {
    return outer(x_columns[quad(block, k, block.row)], x_columns[quad(block, k, block.column)]);
}

fn gram(block: Block) -> mat4x4<f32> {
    var sum = mat4x4<f32>();
    for (var k = 0u; k < SIDE; k += 4u) {
        sum += gram_at(block, k);
        sum += gram_at(block, k + 1u);
        sum += gram_at(block, k + 2u);
        sum += gram_at(block, k + 3u);
    }
    return sum;
}

// The square of the square at k.
fn squared_at(block: Block, k: u32) -> mat4x4<f32> {
    return outer(square[quad(block, k, block.row)], square[quad(block, k, block.column)]);
}

fn squared(block: Block) -> mat4x4<f32> {
    var sum = mat4x4<f32>();
    for (var k = 0u; k < SIDE; k += 4u) {
        sum += squared_at(block, k);
        sum += squared_at(block, k + 1u);
        sum += squared_at(block, k + 2u);
        sum += squared_at(block, k + 3u);
    }
    return sum;
}

// The square times X at k.
fn moved_at(block: Block, k: u32) -> mat4x4<f32> {
    return outer(square[quad(block, k, block.row)], x_rows[quad(block, k, block.column)]);
}

fn moved(block: Block) -> mat4x4<f32> {
    var sum = mat4x4<f32>();
    for (var k = 0u; k < SIDE; k += 4u) {
        sum += moved_at(block, k);
        sum += moved_at(block, k + 1u);
        sum += moved_at(block, k + 2u);
        sum += moved_at(block, k + 3u);
    }
    return sum;
}

fn keep_x(block: Block, value: mat4x4<f32>) {
    let in_row = quad(block, 4u * block.row, block.column);
    x_rows[in_row] = value[0];
    x_rows[in_row + QUADS] = value[1];
    x_rows[in_row + 2u * QUADS] = value[2];
    x_rows[in_row + 3u * QUADS] = value[3];
    let across = transpose(value);
    let in_column = quad(block, 4u * block.column, block.row);
    x_columns[in_column] = across[0];
    x_columns[in_column + QUADS] = across[1];
    x_columns[in_column + 2u * QUADS] = across[2];
    x_columns[in_column + 3u * QUADS] = across[3];
}

fn keep_square(block: Block, value: mat4x4<f32>) {
    let first = quad(block, 4u * block.row, block.column);
    square[first] = value[0];
    square[first + QUADS] = value[1];
    square[first + 2u * QUADS] = value[2];
    square[first + 3u * QUADS] = value[3];
}

fn element(m: SmallMatrix, row: u32, column: u32) -> f32 {
    // Zeros around a matrix change nothing in it.
    if row >= m.rows || column >= m.columns {
        return 0.0;
    }
    return x[m.first + row * m.row + column * m.column];
}

fn load_row(m: SmallMatrix, row: u32, column: u32) -> vec4<f32> {
    return vec4<f32>(
        element(m, row, column),
        element(m, row, column + 1u),
        element(m, row, column + 2u),
        element(m, row, column + 3u),
    );
}

fn store(m: SmallMatrix, row: u32, column: u32, value: f32) {
    if row < m.rows && column < m.columns {
        x[m.first + row * m.row + column * m.column] = value;
    }
}

fn store_row(m: SmallMatrix, row: u32, column: u32, values: vec4<f32>) {
    store(m, row, column, values.x);
    store(m, row, column + 1u, values.y);
    store(m, row, column + 2u, values.z);
    store(m, row, column + 3u, values.w);
}

@compute @workgroup_size(64)
fn orthogonalize(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let member = lane / THREADS;
    let index = (workgroup.y * grid.x + workgroup.x) * MATRICES + member;
    // Where the table ends, a matrix without elements.
    var m = SmallMatrix();
    if index < arrayLength(&matrices) {
        m = matrices[index];
    }
    let thread = lane % THREADS;
    let block = Block(member * SIDE * QUADS, thread / QUADS, thread % QUADS);
    let row = 4u * block.row;
    let column = 4u * block.column;
    var own = mat4x4<f32>(
        load_row(m, row, column),
        load_row(m, row + 1u, column),
        load_row(m, row + 2u, column),
        load_row(m, row + 3u, column),
    );
    for (var round = 0u; round < ROUNDS; round++) {
        keep_x(block, own);
        workgroupBarrier();
        let of_gram = gram(block);
        keep_square(block, of_gram);
        workgroupBarrier();
        let polynomial = OF_GRAM * of_gram + OF_SQUARE * squared(block);
        workgroupBarrier();
        keep_square(block, polynomial);
        workgroupBarrier();
        own = OF_X * own + moved(block);
        workgroupBarrier();
    }
    store_row(m, row, column, own[0]);
    store_row(m, row + 1u, column, own[1]);
    store_row(m, row + 2u, column, own[2]);
    store_row(m, row + 3u, column, own[3]);
}
