// The loss gradient with respect to the layer below's z, from that with respect to the patches: the
// sum over the patches that a pixel lies in, ⊙ activation'(z).
// patches: [rows·height·width, channels·kernel·kernel], z: [rows, height, width, channels].

struct Batch { first: u32, rows: u32, unused0: u32, unused1: u32 }
struct Image { height: u32, width: u32, channels: u32, kernel: u32 }

@group(0) @binding(0) var<storage, read> batch: Batch;
@group(1) @binding(0) var<storage, read> shape: Image;
@group(1) @binding(1) var<storage, read> patches: array<f32>;
@group(1) @binding(2) var<storage, read> before: array<f32>;
@group(1) @binding(3) var<storage, read_write> delta_below: array<f32>;

@compute @workgroup_size(16, 16)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let pixels = shape.height * shape.width;
    let row = id.y;
    if id.x >= pixels * shape.channels || row >= batch.rows {
        return;
    }
    let channel = id.x % shape.channels;
    let pixel = id.x / shape.channels;
    let area = shape.kernel * shape.kernel;
    let length = shape.channels * area;
    let middle = shape.kernel / 2u;
    var sum = 0.0;
    for (var tap = 0u; tap < area; tap++) {
        // Above or left of the image, the subtraction wraps around to a large number.
        let y = pixel / shape.width + middle - tap / shape.kernel;
        let x = pixel % shape.width + middle - tap % shape.kernel;
        if y < shape.height && x < shape.width {
            let position = row * pixels + y * shape.width + x;
            sum += patches[position * length + channel * area + tap];
        }
    }
    let place = row * pixels * shape.channels + id.x;
    delta_below[place] = sum * derivative(before[place]);
}
