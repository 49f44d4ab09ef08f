// The gradient as the rule sees it: with the weight decay in it.
fn decayed(p: vec4<f32>, g: vec4<f32>, h: Hyper) -> vec4<f32> {
    return g + h.weight_decay * p;
}
