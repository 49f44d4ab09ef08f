// The loss gradient with respect to the layer below's z: the first of the largest numbers of a square
// gets all of its gradient, the others none, ⊙ activation'(z).
// image, z: [rows, height, width, channels], delta: [rows, height/size, width/size, channels].
//
// A thread goes through one square of one channel; those at the edge may be incomplete, and get no
// gradient.

struct Batch { first: u32, rows: u32, unused0: u32, unused1: u32 }
struct Image { height: u32, width: u32, channels: u32, size: u32 }

@group(0) @binding(0) var<storage, read> batch: Batch;
@group(1) @binding(0) var<storage, read> shape: Image;
@group(1) @binding(1) var<storage, read> delta: array<f32>;
@group(1) @binding(2) var<storage, read> image: array<f32>;
@group(1) @binding(3) var<storage, read> before: array<f32>;
@group(1) @binding(4) var<storage, read_write> delta_below: array<f32>;

@compute @workgroup_size(16, 16)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let squares_down = (shape.height + shape.size - 1u) / shape.size;
    let squares_across = (shape.width + shape.size - 1u) / shape.size;
    let row = id.y;
    if id.x >= squares_down * squares_across * shape.channels || row >= batch.rows {
        return;
    }
    let channel = id.x % shape.channels;
    let y = id.x / shape.channels / squares_across;
    let x = id.x / shape.channels % squares_across;
    let corner = (row * shape.height + y * shape.size) * shape.width + x * shape.size;
    let down = min(shape.size, shape.height - y * shape.size);
    let across = min(shape.size, shape.width - x * shape.size);

    var best = corner * shape.channels + channel;
    for (var tap = 1u; tap < down * across; tap++) {
        let pixel = corner + tap / across * shape.width + tap % across;
        let place = pixel * shape.channels + channel;
        if image[place] > image[best] {
            best = place;
        }
    }
    var gradient = 0.0;
    if down == shape.size && across == shape.size {
        let height = shape.height / shape.size;
        let width = shape.width / shape.size;
        let square = (row * height + y) * width + x;
        gradient = delta[square * shape.channels + channel];
    }
    for (var tap = 0u; tap < down * across; tap++) {
        let pixel = corner + tap / across * shape.width + tap % across;
        let place = pixel * shape.channels + channel;
        let passed = select(0.0, gradient, place == best);
        delta_below[place] = passed * derivative(before[place]);
    }
}
