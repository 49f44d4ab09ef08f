// The eight bits of signed values: the sign is the highest. See log8.wgsl.

alias Quad_int8 = u32;

fn decode_int8(word: Quad_int8, top: u32) -> vec4<f32> {
    let bytes = bytes_of(word);
    let signs = (bytes >> vec4<u32>(7u)) << vec4<u32>(31u);
    return bitcast<vec4<f32>>(magnitudes_of(bytes & vec4<u32>(127u), top, 4u) | signs);
}

fn encode_int8(value: vec4<f32>, top: u32, random: vec4<u32>) -> Quad_int8 {
    let signs = (bitcast<vec4<u32>>(value) >> vec4<u32>(31u)) << vec4<u32>(7u);
    return word_of(codes(magnitudes(value), top, random, 4u, 127u) | signs);
}
