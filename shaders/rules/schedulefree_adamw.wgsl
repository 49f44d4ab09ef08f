// Schedule-free AdamW. Defazio et al. 2024, arXiv:2405.15682. Twin: src/rules/schedulefree_adamw.rs

fn update(y: vec4<f32>, g: vec4<f32>, s: ptr<function, State>, h: Hyper, now: Step) -> vec4<f32> {
    let z = select((*s).z, y, now.t == 1u);
    // at: c, the multiples of the rate for y and for z, the correction of v.
    let c = now.at.x;
    (*s).exp_avg_sq = ema((*s).exp_avg_sq, g * g, h.pull_beta2);
    let v_hat = now.at.w * (*s).exp_avg_sq;
    let d = g / (sqrt(v_hat) + h.eps) + h.weight_decay * y;
    (*s).z = z - now.lr * now.at.z * d;
    return y + (c * (z - y) - now.lr * now.at.y * d);
}

fn evaluated(y: vec4<f32>, s: State, h: Hyper) -> vec4<f32> {
    return y + h.to_x * (s.z - y);
}

fn trained(x: vec4<f32>, s: State, h: Hyper) -> vec4<f32> {
    return x + h.to_y * (s.z - x);
}
