// Per sample of the batch, one thread: its loss, whether the largest output is the target's, and
// the batch's loss gradient with respect to its outputs. outputs, targets, delta: [rows, outputs].
//
// A sample's score goes to its place in the epoch, so that nothing has to be added up before the
// epoch's end.

struct Batch { first: u32, rows: u32, unused0: u32, unused1: u32 }
struct Layer { inputs: u32, outputs: u32, unused0: u32, unused1: u32 }
struct Score { loss: f32, hit: f32 }

@group(0) @binding(0) var<storage, read> batch: Batch;
@group(1) @binding(0) var<storage, read> layer: Layer;
@group(1) @binding(1) var<storage, read> answers: array<f32>;
@group(1) @binding(2) var<storage, read> targets: array<f32>;
@group(1) @binding(3) var<storage, read_write> delta: array<f32>;
@group(1) @binding(4) var<storage, read_write> scores: array<Score>;
// Lies with the optimizer, which changes it on the device. The gradient is multiplied by it, the
// score is not.
@group(1) @binding(5) var<storage, read> loss_scale: f32;

@compute @workgroup_size(1, 64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let row = id.y;
    if row >= batch.rows {
        return;
    }
    let begin = row * layer.outputs;
    let end = begin + layer.outputs;
    var best = begin;
    var wanted = begin;
    for (var i = begin + 1u; i < end; i++) {
        if answers[i] > answers[best] {
            best = i;
        }
        if targets[i] > targets[wanted] {
            wanted = i;
        }
    }
    let loss = row_loss(begin, end, f32(batch.rows));
    scores[batch.first + row] = Score(loss, f32(best == wanted));
}
