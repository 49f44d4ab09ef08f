// Schedule-free SGD. Defazio et al. 2024, arXiv:2405.15682. Twin: src/rules/schedulefree_sgd.rs

fn update(y: vec4<f32>, g: vec4<f32>, s: ptr<function, State>, h: Hyper, now: Step) -> vec4<f32> {
    let z = select((*s).z, y, now.t == 1u);
    // at: c, the multiples of the rate for y and for z.
    let c = now.at.x;
    let d = g + h.weight_decay * y;
    (*s).z = held(z - now.lr * now.at.z * d);
    return y + (c * (z - y) - now.lr * now.at.y * d);
}

fn evaluated(y: vec4<f32>, s: State, h: Hyper) -> vec4<f32> {
    return y + h.to_x * (s.z - y);
}

fn trained(x: vec4<f32>, s: State, h: Hyper) -> vec4<f32> {
    return x + h.to_y * (s.z - x);
}
