// The sum of all scores, by one workgroup in an order that never changes.

const THREADS = 256u;

struct Range { count: u32, unused0: u32, unused1: u32, unused2: u32 }
struct Score { loss: f32, hit: f32 }

@group(1) @binding(0) var<storage, read> range: Range;
@group(1) @binding(1) var<storage, read> scores: array<Score>;
@group(1) @binding(2) var<storage, read_write> total: array<f32>;

var<workgroup> partial: array<vec2<f32>, THREADS>;

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) thread: u32) {
    var sum = vec2<f32>();
    for (var i = thread; i < range.count; i += THREADS) {
        sum += vec2<f32>(scores[i].loss, scores[i].hit);
    }
    partial[thread] = sum;
    workgroupBarrier();
    for (var half = THREADS / 2u; half > 0u; half /= 2u) {
        if thread < half {
            partial[thread] += partial[thread + half];
        }
        workgroupBarrier();
    }
    if thread == 0u {
        total[0] = partial[0].x;
        total[1] = partial[0].y;
    }
}
