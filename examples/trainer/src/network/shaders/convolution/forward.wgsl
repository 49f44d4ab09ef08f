// z = patches·Wᵀ + b and activation(z). patches: [rows·positions, inputs], W: [outputs, inputs],
// z: [rows·positions, outputs].
//
// The product is computed as W·patchesᵀ: filters are few, and a tile's idle rows cost less than idle
// columns.

const TRANSPOSE_LEFT = false;
const TRANSPOSE_RIGHT = true;

@group(1) @binding(3) var<storage, read> bias: array<f32>;
@group(1) @binding(4) var<storage, read_write> before: array<f32>;
@group(1) @binding(5) var<storage, read_write> after: array<f32>;

fn extents() -> Extents {
    return Extents(layer.outputs, batch.rows * layer.positions, layer.inputs);
}

fn store(index: u32, row: u32, column: u32, value: f32) {
    let place = column * layer.outputs + row;
    let z = value + bias[row];
    before[place] = z;
    after[place] = activation(z);
}
