// Elements as f32 in two halves: the nearest bf16, two to a word, and beside it 16 bits, two to a word.
// Twin: src/format/bf16_plus_16.rs

alias ParamQuad = vec2<u32>;

alias Residual = vec2<u32>;

fn completed_param(quad: ParamQuad, residual: Residual) -> vec4<f32> {
    let halves = vec4<u32>(quad.x << 16u, quad.x, quad.y << 16u, quad.y) & vec4<u32>(0xffff0000u);
    let words = vec4<u32>(residual.x << 16u, residual.x, residual.y << 16u, residual.y);
    let signed = bitcast<vec4<i32>>(words) >> vec4<u32>(16u);
    // A zero that others wrote may lie beside what is left of another number.
    let is_zero = (halves & vec4<u32>(0x7fffffffu)) == vec4<u32>();
    let completing = select(signed, max(signed, vec4<i32>()), is_zero);
    return bitcast<vec4<f32>>(halves + bitcast<vec4<u32>>(completing));
}

// All bits. A NaN has a mantissa that a half can have.
fn kept_of_param(value: vec4<f32>) -> vec4<u32> {
    let bits = bitcast<vec4<u32>>(value);
    let is_nan = (bits & vec4<u32>(0x7fffffffu)) > vec4<u32>(0x7f800000u);
    let nan = (bits & vec4<u32>(0xff800000u)) | vec4<u32>(0x400000u);
    return select(bits, nan, is_nan);
}

// The nearest bf16; of two equally near, the larger magnitude.
fn nearest_halves(kept: vec4<u32>) -> vec4<u32> {
    return (kept + vec4<u32>(0x8000u)) >> vec4<u32>(16u);
}

fn halves_of_param(kept: vec4<u32>) -> ParamQuad {
    let halves = nearest_halves(kept);
    return halves.xz | (halves.yw << vec2<u32>(16u));
}

fn residual_of_param(kept: vec4<u32>) -> Residual {
    let rest = (kept - (nearest_halves(kept) << vec4<u32>(16u))) & vec4<u32>(0xffffu);
    return rest.xz | (rest.yw << vec2<u32>(16u));
}
