// Sign SGD and Signum. Bernstein et al. 2018, arXiv:1802.04434. Twin: src/rules/signsgd.rs

fn update(p: vec4<f32>, g: vec4<f32>, s: ptr<function, State>, h: Hyper, now: Step) -> vec4<f32> {
    let b = ema((*s).momentum_buffer, g, h.pull_momentum);
    (*s).momentum_buffer = b;
    return p - now.lr * sign(b);
}
