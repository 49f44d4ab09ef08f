// A curvature for rules that ask for one: the diagonal of the empirical Fisher matrix, estimated
// from the gradient of the batch's mean loss as rows·g². It costs no further pass through the
// network.

struct Batch { first: u32, rows: u32, unused0: u32, unused1: u32 }
struct Range { count: u32, unused0: u32, unused1: u32, unused2: u32 }

@group(0) @binding(0) var<storage, read> batch: Batch;
@group(1) @binding(0) var<storage, read> range: Range;
@group(1) @binding(1) var<storage, read> gradient: array<f32>;
@group(1) @binding(2) var<storage, read_write> curvature: array<f32>;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let rows = f32(batch.rows);
    for (var i = workgroup.x * 256u + lane; i < range.count; i += grid.x * 256u) {
        curvature[i] = rows * gradient[i] * gradient[i];
    }
}
