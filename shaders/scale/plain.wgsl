// Gradients are scaled: by the loss scale, by the number of micro-batches, by the sign.

fn scaled(g: vec4<f32>, place: Place) -> vec4<f32> {
    return now.grad_scale * g;
}
