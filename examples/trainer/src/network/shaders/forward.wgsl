// z = x·Wᵀ + b and activation(z). x: [rows, inputs], W: [outputs, inputs], z: [rows, outputs].
// The last layer has no activation: the loss reads its z.

const TRANSPOSE_LEFT = false;
const TRANSPOSE_RIGHT = true;

@group(1) @binding(3) var<storage, read> bias: array<f32>;
@group(1) @binding(4) var<storage, read_write> before: array<f32>;
@group(1) @binding(5) var<storage, read_write> after: array<f32>;

fn extents() -> Extents {
    return Extents(batch.rows, layer.outputs, layer.inputs);
}

fn store(index: u32, row: u32, column: u32, value: f32) {
    let z = value + bias[column];
    before[index] = z;
    after[index] = activation(z);
}
