// Elements as floats of 24 bits, rounded to the nearest: the nearest bf16, two to a word, and beside it
// 8 bits, four to a word. Twin: src/format/bf16_plus_8.rs

alias ParamQuad = vec2<u32>;

alias Residual = u32;

fn completed_param(quad: ParamQuad, residual: Residual) -> vec4<f32> {
    let halves = vec4<u32>(quad.x & 0xffffu, quad.x >> 16u, quad.y & 0xffffu, quad.y >> 16u);
    let bytes = vec4<u32>(residual << 24u, residual << 16u, residual << 8u, residual);
    let signed = bitcast<vec4<i32>>(bytes) >> vec4<u32>(24u);
    // A zero that others wrote may lie beside what is left of another number.
    let is_zero = (halves & vec4<u32>(0x7fffu)) == vec4<u32>();
    let completing = select(signed, max(signed, vec4<i32>()), is_zero);
    let kept = (halves << vec4<u32>(8u)) + bitcast<vec4<u32>>(completing);
    return bitcast<vec4<f32>>(kept << vec4<u32>(8u));
}

// The upper 24 bits of the nearest float that has no others; of two equally near, the larger magnitude.
fn kept_of_param(value: vec4<f32>) -> vec4<u32> {
    let bits = bitcast<vec4<u32>>(value);
    let magnitude = bits & vec4<u32>(0x7fffffffu);
    // An infinity stays one, and a NaN has a mantissa that rounding leaves alone.
    let is_nan = magnitude > vec4<u32>(0x7f800000u);
    let mantissa = select(vec4<u32>(), vec4<u32>(0x400000u), is_nan);
    let special = (bits & vec4<u32>(0xff800000u)) | mantissa;
    let is_finite = magnitude < vec4<u32>(0x7f800000u);
    return select(special, bits + vec4<u32>(0x80u), is_finite) >> vec4<u32>(8u);
}

// The nearest bf16; of two equally near, the larger magnitude.
fn nearest_halves(kept: vec4<u32>) -> vec4<u32> {
    return (kept + vec4<u32>(0x80u)) >> vec4<u32>(8u);
}

fn halves_of_param(kept: vec4<u32>) -> ParamQuad {
    let halves = nearest_halves(kept);
    return halves.xz | (halves.yw << vec2<u32>(16u));
}

fn residual_of_param(kept: vec4<u32>) -> Residual {
    let rest = kept - (nearest_halves(kept) << vec4<u32>(8u));
    let bytes = rest & vec4<u32>(0xffu);
    return bytes.x | (bytes.y << 8u) | (bytes.z << 16u) | (bytes.w << 24u);
}
