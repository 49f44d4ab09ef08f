// The nearest bf16, two to a word; of two equally near the even one. Twin: src/format/bf16.rs
fn nearest_half(value: vec4<f32>) -> vec2<u32> {
    let bits = bitcast<vec4<u32>>(value);
    let magnitude = bits & vec4<u32>(0x7fffffffu);
    let is_odd = (bits >> vec4<u32>(16u)) & vec4<u32>(1u);
    let rounded = bits + vec4<u32>(0x7fffu) + is_odd;
    // An infinity stays one, and a NaN keeps a bit of its mantissa.
    let is_nan = magnitude > vec4<u32>(0x7f800000u);
    let special = bits | select(vec4<u32>(), vec4<u32>(0x400000u), is_nan);
    let halves = select(special, rounded, magnitude < vec4<u32>(0x7f800000u));
    return (halves.xz >> vec2<u32>(16u)) | (halves.yw & vec2<u32>(0xffff0000u));
}
