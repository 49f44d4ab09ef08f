// Gradients in 16 bits, two to a word, from those that the layers' shaders left. The program appends
// `nearest_half`, which is the optimizer's own.

struct Batch { first: u32, rows: u32, unused0: u32, unused1: u32 }
struct Sizes { count: u32, unused0: u32, unused1: u32, unused2: u32 }

@group(0) @binding(0) var<storage, read> batch: Batch;
@group(1) @binding(0) var<storage, read> sizes: Sizes;
@group(1) @binding(1) var<storage, read> numbers: array<f32>;
@group(1) @binding(2) var<storage, read_write> halves: array<u32>;

// Beyond the last, zero.
fn at(place: u32) -> f32 {
    if place < sizes.count {
        return numbers[place];
    }
    return 0.0;
}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let step = 1024u * grid.x;
    for (var place = 1024u * workgroup.x + 4u * thread; place < sizes.count; place += step) {
        let quad = vec4<f32>(at(place), at(place + 1u), at(place + 2u), at(place + 3u));
        let words = nearest_half(quad);
        halves[place / 2u] = words.x;
        if place + 2u < sizes.count {
            halves[place / 2u + 1u] = words.y;
        }
    }
}
