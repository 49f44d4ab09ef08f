// Eight neighbouring threads add up what the rule measures in a tile. No thread waits for another.

@group(0) @binding(0) var<uniform> hyper: Hyper;
@group(0) @binding(1) var<uniform> now: Step;
// Two entries per tile: its span, and in x its first partial sum.
@group(0) @binding(4) var<storage, read> spans: array<vec4<u32>>;
@group(0) @binding(12) var<storage, read_write> partials: array<vec4<f32>>;

fn grad_at(place: Place) -> vec4<f32> {
    let found = scaled(load_grad(place), place);
    return limited(found, is_finite(found));
}

// What four elements add to the sums of a tile.
fn measured_at(place: Place, gathered: Gathered, tensor: OfTensor) -> Sums {
    let p = load_param(place);
    return measure(p, grad_at(place), load_state(place, gathered), hyper, now, tensor);
}

@compute @workgroup_size(64)
fn measure_matrices(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = 2u * tile_of(workgroup, grid, lane);
    if index >= arrayLength(&spans) {
        return;
    }
    let tile = find_tile(spans[index]);
    let tensor = load_tensor(tile.first);
    var sums = Sums();
    let in_pairs = tile.rows - tile.rows % 2u;
    for (var row = 0u; row < in_pairs; row += 2u) {
        let upper = factor_of(tile, row);
        let lower = factor_of(tile, row + 1u);
        for (var column = first_column(lane); column < tile.columns; column += NEXT_QUAD) {
            let columns = columns_of(tile, column);
            let a = measured_at(place_in(tile, row, column), Gathered(upper, columns), tensor);
            let b = measured_at(place_in(tile, row + 1u, column), Gathered(lower, columns), tensor);
            add(&sums, a);
            add(&sums, b);
        }
    }
    for (var row = in_pairs; row < tile.rows; row++) {
        let factor = factor_of(tile, row);
        for (var column = first_column(lane); column < tile.columns; column += NEXT_QUAD) {
            let gathered = Gathered(factor, columns_of(tile, column));
            add(&sums, measured_at(place_in(tile, row, column), gathered, tensor));
        }
    }
    partials[spans[index + 1u].x + lane % TILE_THREADS] = total(sums);
}

// A vector has no mean to wait for. So the state of its columns is updated here, where it is read.
@compute @workgroup_size(64)
fn measure_vectors(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = 2u * tile_of(workgroup, grid, lane);
    if index >= arrayLength(&spans) {
        return;
    }
    let tile = find_tile(spans[index]);
    let tensor = load_tensor(tile.first);
    let factor = factor_of(tile, 0u);
    var sums = Sums();
    for (var column = first_column(lane); column < tile.columns; column += NEXT_QUAD) {
        let place = place_in(tile, 0u, column);
        let p = load_param(place);
        let g = grad_at(place);
        let columns = moved_lines(columns_of(tile, column), lines_of(g));
        lines[(tile.kept + column) / 4u] = columns;
        let state = load_state(place, Gathered(factor, columns));
        add(&sums, measure(p, g, state, hyper, now, tensor));
    }
    partials[spans[index + 1u].x + lane % TILE_THREADS] = total(sums);
}
