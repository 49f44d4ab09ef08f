// The loss gradient with respect to the layer below's z: (δ·W) ⊙ activation'(z).
// δ: [rows, outputs], W: [outputs, inputs], z: [rows, inputs].

const TRANSPOSE_LEFT = false;
const TRANSPOSE_RIGHT = false;

@group(1) @binding(3) var<storage, read> before: array<f32>;
@group(1) @binding(4) var<storage, read_write> delta_below: array<f32>;

fn extents() -> Extents {
    return Extents(batch.rows, layer.inputs, layer.outputs);
}

fn store(index: u32, row: u32, column: u32, value: f32) {
    delta_below[index] = value * derivative(before[index]);
}
