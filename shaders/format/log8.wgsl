// Eight bits that say how far an element lies below the largest of its block of 16, in octaves. All of
// it is done on integers. l is 4 for signed values, which have 7 bits for that, and 8 for others. Four
// elements are a word. Twin: src/format/int8.rs

// The magnitudes' bits. Subnormals count as zero.
fn magnitudes(value: vec4<f32>) -> vec4<u32> {
    let bits = bitcast<vec4<u32>>(value) & vec4<u32>(0x7fffffffu);
    return select(vec4<u32>(), bits, bits >= vec4<u32>(0x800000u));
}

// The largest of a block.
fn top(a: vec4<f32>, b: vec4<f32>, c: vec4<f32>, d: vec4<f32>) -> u32 {
    let most = max(max(magnitudes(a), magnitudes(b)), max(magnitudes(c), magnitudes(d)));
    return max(max(most.x, most.y), max(most.z, most.w));
}

// The codes of magnitudes, without their signs, in a block whose largest is `top`. A distance lies in one
// of three ranges, each with half the steps of the one before.
fn codes(magnitude: vec4<u32>, top: u32, random: vec4<u32>, l: u32, last: u32) -> vec4<u32> {
    let distance = vec4<u32>(top) - magnitude;
    let range = min(distance / (l << 23u), vec4<u32>(2u));
    let added = (2u * random + 1u) << (range + 2u);
    let code = 8u * l * range + ((distance + added) >> (range + 19u));
    return select(min(code, vec4<u32>(last)), vec4<u32>(32u * l - 1u), magnitude == vec4<u32>());
}

// The magnitudes of codes, in a block whose largest is `top`.
fn magnitudes_of(code: vec4<u32>, top: u32, l: u32) -> vec4<u32> {
    let range = max(code / (8u * l), vec4<u32>(1u)) - 1u;
    let distance = (code - 8u * l * range) << (range + 19u);
    let bits = max(vec4<i32>(vec4<u32>(top) - distance), vec4<i32>(0x800000));
    let is_zero = (code == vec4<u32>(32u * l - 1u)) | vec4<bool>(top < 0x800000u);
    return select(vec4<u32>(bits), vec4<u32>(), is_zero);
}

fn bytes_of(word: u32) -> vec4<u32> {
    return (vec4<u32>(word) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(0xffu);
}

fn word_of(bytes: vec4<u32>) -> u32 {
    return bytes.x | (bytes.y << 8u) | (bytes.z << 16u) | (bytes.w << 24u);
}
