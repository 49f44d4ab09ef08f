// The patch of kernel × kernel pixels around each pixel, with zeros beyond the edges: what a
// convolution multiplies by its filters. image: [rows, height, width, channels], patches:
// [rows·height·width, channels·kernel·kernel].

struct Batch { first: u32, rows: u32, unused0: u32, unused1: u32 }
struct Image { height: u32, width: u32, channels: u32, kernel: u32 }

@group(0) @binding(0) var<storage, read> batch: Batch;
@group(1) @binding(0) var<storage, read> shape: Image;
@group(1) @binding(1) var<storage, read> image: array<f32>;
@group(1) @binding(2) var<storage, read_write> patches: array<f32>;

// A workgroup fills 16 columns of 64 patches.
const LANES = 16u;
const TILE = 64u;

@compute @workgroup_size(16, LANES)
fn main(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let area = shape.kernel * shape.kernel;
    let length = shape.channels * area;
    let column = id.x;
    if column >= length {
        return;
    }
    let channel = column / area;
    let tap = column % area;
    let middle = i32(shape.kernel / 2u);
    let down = i32(tap / shape.kernel) - middle;
    let right = i32(tap % shape.kernel) - middle;
    let pixels = shape.height * shape.width;
    let end = min((workgroup.y + 1u) * TILE, batch.rows * pixels);
    for (var position = workgroup.y * TILE + local.y; position < end; position += LANES) {
        let row = position / pixels;
        let y = i32(position % pixels / shape.width) + down;
        let x = i32(position % pixels % shape.width) + right;
        var value = 0.0;
        if y >= 0 && y < i32(shape.height) && x >= 0 && x < i32(shape.width) {
            let pixel = row * pixels + u32(y) * shape.width + u32(x);
            value = image[pixel * shape.channels + channel];
        }
        patches[position * length + column] = value;
    }
}
