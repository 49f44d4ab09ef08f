// Adadelta. Zeiler 2012, arXiv:1212.5701. Twin: src/rules/adadelta.rs

fn update(p: vec4<f32>, grad: vec4<f32>, s: ptr<function, State>, h: Hyper, now: Step) -> vec4<f32> {
    let g = grad + h.weight_decay * p;
    (*s).square_avg = ema((*s).square_avg, g * g, h.pull_rho);
    let delta = sqrt((*s).acc_delta + h.eps) / sqrt((*s).square_avg + h.eps) * g;
    (*s).acc_delta = ema((*s).acc_delta, min(delta * delta, vec4<f32>(3.4028234e38)), h.pull_rho);
    return p - now.lr * delta;
}
