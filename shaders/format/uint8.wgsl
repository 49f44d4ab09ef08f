// The eight bits of values that are not negative. Only zero has the code of zero. See log8.wgsl.

alias Quad_uint8 = u32;

fn decode_uint8(word: Quad_uint8, top: u32) -> vec4<f32> {
    return bitcast<vec4<f32>>(magnitudes_of(bytes_of(word), top, 8u));
}

fn encode_uint8(value: vec4<f32>, top: u32, random: vec4<u32>) -> Quad_uint8 {
    return word_of(codes(magnitudes(value), top, random, 8u, 254u));
}
