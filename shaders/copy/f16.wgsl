// The nearest f16, two to a word; of two equally near the even one. It is done on integers, since
// devices may flush what is subnormal and round as they like. Twin: src/format/f16.rs
fn nearest_half(value: vec4<f32>) -> vec2<u32> {
    let bits = bitcast<vec4<u32>>(value);
    let sign = (bits >> vec4<u32>(16u)) & vec4<u32>(0x8000u);
    let magnitude = bits & vec4<u32>(0x7fffffffu);
    // The exponents' biases are 127 and 15. What rounds beyond the largest carries into an infinity.
    let rebased = magnitude - vec4<u32>(112u << 23u);
    let is_odd = (rebased >> vec4<u32>(13u)) & vec4<u32>(1u);
    let normal = (rebased + vec4<u32>(0xfffu) + is_odd) >> vec4<u32>(13u);
    // Below 2⁻¹⁴ the mantissa counts units of 2⁻²⁴.
    let mantissa = (magnitude & vec4<u32>(0x7fffffu)) | vec4<u32>(0x800000u);
    let exponent = magnitude >> vec4<u32>(23u);
    let shift = min(vec4<u32>(126u) - min(exponent, vec4<u32>(112u)), vec4<u32>(25u));
    let whole = mantissa >> shift;
    let rest = mantissa - (whole << shift);
    let tie = vec4<u32>(1u) << (shift - vec4<u32>(1u));
    let is_up = (rest > tie) | ((rest == tie) & ((whole & vec4<u32>(1u)) == vec4<u32>(1u)));
    let subnormal = whole + select(vec4<u32>(), vec4<u32>(1u), is_up);
    // A NaN keeps the upper bits of its mantissa, and is quiet.
    let payload = (magnitude >> vec4<u32>(13u)) & vec4<u32>(0x3ffu);
    let is_nan = magnitude > vec4<u32>(0x7f800000u);
    let special = vec4<u32>(0x7c00u) | select(vec4<u32>(), payload | vec4<u32>(0x200u), is_nan);
    let finite = select(normal, subnormal, magnitude < vec4<u32>(0x38800000u));
    let halves = sign | select(finite, special, magnitude >= vec4<u32>(0x47800000u));
    return halves.xz | (halves.yw << vec2<u32>(16u));
}
