// Elements in IEEE half precision, two to a word. They are only read. It is done on integers, since
// devices may flush what is subnormal and make anything of infinities. Twin: src/format/f16.rs

alias Quad_f16 = vec2<u32>;

fn decode_f16(quad: Quad_f16) -> vec4<f32> {
    let low = quad & vec2<u32>(0xffffu);
    let high = quad >> vec2<u32>(16u);
    let halves = vec4<u32>(low.x, high.x, low.y, high.y);
    let signs = (halves & vec4<u32>(0x8000u)) << vec4<u32>(16u);
    let magnitudes = halves & vec4<u32>(0x7fffu);
    // The exponents' biases are 15 and 127.
    let normal = (magnitudes << vec4<u32>(13u)) + vec4<u32>(112u << 23u);
    let subnormal = bitcast<vec4<u32>>(vec4<f32>(magnitudes) * 5.9604645e-8);
    let special = (magnitudes << vec4<u32>(13u)) | vec4<u32>(0x7f800000u);
    let finite = select(normal, subnormal, magnitudes < vec4<u32>(0x400u));
    let bits = select(finite, special, magnitudes >= vec4<u32>(0x7c00u));
    return bitcast<vec4<f32>>(bits | signs);
}
