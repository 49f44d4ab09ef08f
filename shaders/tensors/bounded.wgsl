// A sum that overflowed becomes the largest f32. Otherwise an infinity would stay in the state for
// good. NaN stays NaN. Twin: bounded in src/rule/twin.rs
fn bounded(sum: f32) -> f32 {
    return select(clamp(sum, -3.4e38, 3.4e38), sum, is_nan(vec4<f32>(sum)).x);
}
