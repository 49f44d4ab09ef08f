// Weights for the layers' shaders, from bf16 two to a word.

struct Batch { first: u32, rows: u32, unused0: u32, unused1: u32 }
struct Sizes { count: u32, unused0: u32, unused1: u32, unused2: u32 }

@group(0) @binding(0) var<storage, read> batch: Batch;
@group(1) @binding(0) var<storage, read> sizes: Sizes;
@group(1) @binding(1) var<storage, read> halves: array<u32>;
@group(1) @binding(2) var<storage, read_write> numbers: array<f32>;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let step = 512u * grid.x;
    for (var place = 512u * workgroup.x + 2u * thread; place < sizes.count; place += step) {
        let word = halves[place / 2u];
        numbers[place] = bitcast<f32>(word << 16u);
        if place + 1u < sizes.count {
            numbers[place + 1u] = bitcast<f32>(word & 0xffff0000u);
        }
    }
}
