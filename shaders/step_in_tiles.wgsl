// The entry point of an update by tiles of matrices: step.wgsl with two rows at a time.

@group(0) @binding(0) var<uniform> hyper: Hyper;
@group(0) @binding(1) var<uniform> now: Step;
@group(0) @binding(4) var<storage, read> spans: array<vec4<u32>>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = tile_of(workgroup, grid, lane);
    if index >= arrayLength(&spans) {
        return;
    }
    let tile = find_tile(spans[index]);
    let tensor = load_tensor(tile.first);
    let in_pairs = tile.rows - tile.rows % 2u;
    for (var row = 0u; row < in_pairs; row += 2u) {
        let upper = factor_of(tile, row);
        let lower = factor_of(tile, row + 1u);
        for (var column = first_column(lane); column < tile.columns; column += NEXT_QUAD) {
            let columns = columns_of(tile, column);
            let a = load_quad(place_in(tile, row, column));
            let b = load_quad(place_in(tile, row + 1u, column));
            let state_a = load_state(a.place, Gathered(upper, columns));
            let state_b = load_state(b.place, Gathered(lower, columns));
            store_updated(a, updated(a, state_a, tensor));
            store_updated(b, updated(b, state_b, tensor));
        }
    }
    for (var row = in_pairs; row < tile.rows; row++) {
        let factor = factor_of(tile, row);
        for (var column = first_column(lane); column < tile.columns; column += NEXT_QUAD) {
            let quad = load_quad(place_in(tile, row, column));
            let state = load_state(quad.place, Gathered(factor, columns_of(tile, column)));
            store_updated(quad, updated(quad, state, tensor));
        }
    }
}
