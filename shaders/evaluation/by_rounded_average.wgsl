// The running mean and the parameters are swapped, where parameters lack the bits of LOWER. They become
// the mean, rounded. The mean's place has their bits, and below them those that the mean has lost. The
// twin says why both come back. Twin: src/format/swap.rs

// The nearest that a parameter can be; of two equally near, the larger magnitude.
fn shown(average: vec4<u32>) -> vec4<u32> {
    let magnitude = average & vec4<u32>(0x7fffffffu);
    let rounded = average + vec4<u32>(LOWER / 2u + 1u);
    let quiet = average | vec4<u32>(0x400000u);
    let is_nan = magnitude > vec4<u32>(0x7f800000u);
    return select(rounded, quiet, is_nan) & vec4<u32>(~LOWER);
}

// The mean that was shown like this, and whose lower bits are these.
fn whole(shown: vec4<u32>, lower: vec4<u32>) -> vec4<u32> {
    let magnitude = shown & vec4<u32>(0x7fffffffu);
    // The highest of the lower bits says whether it was rounded up.
    let up = (lower << vec4<u32>(1u)) & vec4<u32>(LOWER + 1u);
    let may_be_up = (magnitude > vec4<u32>()) & (magnitude <= vec4<u32>(0x7f800000u));
    return (shown - select(vec4<u32>(), up, may_be_up)) | lower;
}

fn to_evaluate(place: Place) {
    let p = bitcast<vec4<u32>>(load_param(place));
    let average = slot_average[place.state / 4u];
    store_param(place, bitcast<vec4<f32>>(shown(average)));
    slot_average[place.state / 4u] = p | (average & vec4<u32>(LOWER));
}

fn to_train(place: Place) {
    let evaluated = bitcast<vec4<u32>>(load_param(place));
    let word = slot_average[place.state / 4u];
    store_param(place, bitcast<vec4<f32>>(word & vec4<u32>(~LOWER)));
    slot_average[place.state / 4u] = whole(evaluated, word & vec4<u32>(LOWER));
}
