// Gradients are scaled, and clipped by the norm of all.

fn scaled(g: vec4<f32>, place: Place) -> vec4<f32> {
    return now.grad_scale * (now.grad_unit * g);
}
