// Gradients are scaled, and each is clamped to CLIP_VALUE. NaN stays NaN.

fn scaled(g: vec4<f32>, place: Place) -> vec4<f32> {
    let x = now.grad_scale * g;
    return select(clamp(x, vec4<f32>(-CLIP_VALUE), vec4<f32>(CLIP_VALUE)), x, is_nan(x));
}
