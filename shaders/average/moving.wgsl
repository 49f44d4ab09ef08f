// The running mean of the parameters moves in the same pass.

fn load_average(place: Place) -> vec4<f32> {
    return bitcast<vec4<f32>>(slot_average[place.state / 4u]);
}

fn store_average(place: Place, p: vec4<f32>, updated: vec4<f32>, average: vec4<f32>) {
    let start = select(average, p, now.t == 1u);
    let moved = ema(start, updated, now.average_weight);
    slot_average[place.state / 4u] = bitcast<vec4<u32>>(moved);
}
