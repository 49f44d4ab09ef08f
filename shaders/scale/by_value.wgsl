// Gradients are scaled, and each is clamped to CLIP_VALUE.

fn scaled(g: vec4<f32>, place: Place) -> vec4<f32> {
    return clamp(now.grad_scale * g, vec4<f32>(-CLIP_VALUE), vec4<f32>(CLIP_VALUE));
}
