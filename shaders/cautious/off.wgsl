// Without caution: the rule's own update.

fn cautious(u: vec4<f32>, g: vec4<f32>, tensor: OfTensor) -> vec4<f32> {
    return u;
}
