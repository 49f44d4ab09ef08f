// The largest number of each square of size × size pixels, channel by channel.
// image: [rows, height, width, channels], pooled: [rows, height/size, width/size, channels].

struct Batch { first: u32, rows: u32, unused0: u32, unused1: u32 }
struct Image { height: u32, width: u32, channels: u32, size: u32 }

@group(0) @binding(0) var<storage, read> batch: Batch;
@group(1) @binding(0) var<storage, read> shape: Image;
@group(1) @binding(1) var<storage, read> image: array<f32>;
@group(1) @binding(2) var<storage, read_write> pooled: array<f32>;

@compute @workgroup_size(16, 16)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let width = shape.width / shape.size;
    let count = shape.height / shape.size * width * shape.channels;
    let row = id.y;
    if id.x >= count || row >= batch.rows {
        return;
    }
    let channel = id.x % shape.channels;
    let square = id.x / shape.channels;
    let top = square / width * shape.size;
    let left = square % width * shape.size;
    let corner = (row * shape.height + top) * shape.width + left;
    var largest = image[corner * shape.channels + channel];
    for (var tap = 1u; tap < shape.size * shape.size; tap++) {
        let pixel = corner + tap / shape.size * shape.width + tap % shape.size;
        largest = max(largest, image[pixel * shape.channels + channel]);
    }
    pooled[row * count + id.x] = largest;
}
