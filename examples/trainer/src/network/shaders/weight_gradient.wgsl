// The loss gradient with respect to the weights: δᵀ·x, summed over the batch and the positions, and
// over batches if ADDS, which the program appends.
// δ: [rows·positions, outputs], x: [rows·positions, inputs], gradient: [pieces, outputs, inputs].

const TRANSPOSE_LEFT = true;
const TRANSPOSE_RIGHT = false;

@group(1) @binding(3) var<storage, read_write> gradient: array<f32>;

fn extents() -> Extents {
    return Extents(layer.outputs, layer.inputs, batch.rows * layer.positions);
}

fn store(index: u32, row: u32, column: u32, value: f32) {
    if ADDS {
        gradient[index] += value;
    } else {
        gradient[index] = value;
    }
}
