// Adadelta. Zeiler 2012, arXiv:1212.5701. Twin: src/rules/adadelta.rs

fn update(p: vec4<f32>, grad: vec4<f32>, s: ptr<function, State>, h: Hyper, now: Step) -> vec4<f32> {
    let g = grad + h.weight_decay * p;
    (*s).square_avg += h.one_minus_rho * (g * g - (*s).square_avg);
    let delta = sqrt((*s).acc_delta + h.eps) / sqrt((*s).square_avg + h.eps) * g;
    (*s).acc_delta += h.one_minus_rho * (delta * delta - (*s).acc_delta);
    return p - now.lr * delta;
}
