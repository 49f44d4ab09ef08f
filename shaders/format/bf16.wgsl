// Elements as the upper halves of f32, two to a word, rounded stochastically. Twin: src/format/bf16.rs

alias Quad_bf16 = vec2<u32>;

fn decode_bf16(quad: Quad_bf16) -> vec4<f32> {
    let low = quad << vec2<u32>(16u);
    let high = quad & vec2<u32>(0xffff0000u);
    return bitcast<vec4<f32>>(vec4<u32>(low.x, high.x, low.y, high.y));
}

fn encode_bf16(value: vec4<f32>, random: vec4<u32>) -> Quad_bf16 {
    let bits = bitcast<vec4<u32>>(value);
    let magnitude = bits & vec4<u32>(0x7fffffffu);
    // An infinity stays one, and a NaN keeps a bit of its mantissa.
    let is_nan = magnitude > vec4<u32>(0x7f800000u);
    let special = bits | select(vec4<u32>(), vec4<u32>(0x400000u), is_nan);
    let halves = select(special, bits + random, magnitude < vec4<u32>(0x7f800000u));
    return (halves.xz >> vec2<u32>(16u)) | (halves.yw & vec2<u32>(0xffff0000u));
}
