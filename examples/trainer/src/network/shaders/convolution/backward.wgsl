// The loss gradient with respect to the patches: δ·W, computed as Wᵀ·δᵀ.
// δ: [rows·positions, outputs], W: [outputs, inputs], patches: [rows·positions, inputs].

const TRANSPOSE_LEFT = true;
const TRANSPOSE_RIGHT = true;

@group(1) @binding(3) var<storage, read_write> patches: array<f32>;

fn extents() -> Extents {
    return Extents(layer.inputs, batch.rows * layer.positions, layer.outputs);
}

fn store(index: u32, row: u32, column: u32, value: f32) {
    patches[column * layer.inputs + row] = value;
}
