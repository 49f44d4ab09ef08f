// The parameter after a step along u, and after the decay beside it.
fn stepped(p: vec4<f32>, u: vec4<f32>, now: Step) -> vec4<f32> {
    return p - (now.decay * p + now.lr * u);
}
