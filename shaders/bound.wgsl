// What gradients and parameters are held to. Twin: src/rule/bound.rs

// These look at bits, because compilers may assume that there is no NaN and no infinity.
fn is_finite(x: vec4<f32>) -> vec4<bool> {
    return (bitcast<vec4<u32>>(x) & vec4<u32>(0x7f800000u)) != vec4<u32>(0x7f800000u);
}

fn is_nan(x: vec4<f32>) -> vec4<bool> {
    return (bitcast<vec4<u32>>(x) & vec4<u32>(0x7fffffffu)) > vec4<u32>(0x7f800000u);
}

// A variable, since WGSL refuses a constant that is NaN.
var<private> nan_bits: u32 = 0x7fc00000u;

fn held(x: vec4<f32>) -> vec4<f32> {
    return clamp(x, vec4<f32>(-MOST_GRAD), vec4<f32>(MOST_GRAD));
}

// The gradient as a rule gets it: none of its squares and sums overflows. One that is not finite is
// NaN.
fn limited(g: vec4<f32>, finite: vec4<bool>) -> vec4<f32> {
    return select(vec4<f32>(bitcast<f32>(nan_bits)), held(g), finite);
}

// The parameter after an update. It is NaN if the gradient was not finite, whatever the rule made of
// that.
fn outcome(updated: vec4<f32>, finite: vec4<bool>) -> vec4<f32> {
    var bounded = updated;
    if !SQUARES_GRADS {
        // NaN stays NaN.
        bounded = select(updated, held(updated), abs(updated) > vec4<f32>(MOST_GRAD));
    }
    if !UPDATES_BY_GRADS {
        return bounded;
    }
    return select(vec4<f32>(bitcast<f32>(nan_bits)), bounded, finite);
}
