// The loss gradient with respect to the biases: the column sums of δ. δ: [rows·positions, outputs],
// gradient: [pieces, outputs].
//
// A workgroup sums layer.piece rows of 16 columns. Of each column 16 threads take every 16th row, and the first adds up
// what they found. If ADDS, which the program appends, a gradient adds to the one that is there.

const COLUMNS = 16u;
const LANES = 16u;

struct Batch { first: u32, rows: u32, unused0: u32, unused1: u32 }
struct Layer { inputs: u32, outputs: u32, positions: u32, piece: u32 }

@group(0) @binding(0) var<storage, read> batch: Batch;
@group(1) @binding(0) var<storage, read> layer: Layer;
@group(1) @binding(1) var<storage, read> delta: array<f32>;
@group(1) @binding(2) var<storage, read_write> gradient: array<f32>;

var<workgroup> partial: array<f32, 256>;

@compute @workgroup_size(16, 16)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let column = workgroup.x * COLUMNS + local.x;
    let begin = workgroup.y * layer.piece;
    let end = begin + min(layer.piece, batch.rows * layer.positions - begin);
    var sum = 0.0;
    if column < layer.outputs {
        for (var row = begin + local.y; row < end; row += LANES) {
            sum += delta[row * layer.outputs + column];
        }
    }
    partial[local.y * COLUMNS + local.x] = sum;
    workgroupBarrier();
    if local.y == 0u && column < layer.outputs {
        var total = 0.0;
        for (var lane = 0u; lane < LANES; lane++) {
            total += partial[lane * COLUMNS + local.x];
        }
        let place = workgroup.y * layer.outputs + column;
        if ADDS {
            total += gradient[place];
        }
        gradient[place] = total;
    }
}
