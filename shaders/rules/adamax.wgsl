// Adamax. Kingma & Ba 2015, arXiv:1412.6980, section 7.1. Twin: src/rules/adamax.rs

struct Hyper {
    weight_decay: f32,
    one_minus_beta1: f32,
    one_minus_beta2: f32,
    eps_in_state: f32,
    eps: f32,
}

struct State {
    exp_avg: vec4<f32>,
    exp_inf: vec4<f32>,
}

fn direction(g: vec4<f32>, s: ptr<function, State>, h: Hyper, now: Step) -> vec4<f32> {
    (*s).exp_avg += h.one_minus_beta1 * (g - (*s).exp_avg);
    (*s).exp_inf = max((*s).exp_inf - h.one_minus_beta2 * (*s).exp_inf, abs(g) + h.eps_in_state);
    let m_hat = now.at.x * (*s).exp_avg;
    return m_hat / ((*s).exp_inf + h.eps);
}

fn update(
    p: vec4<f32>,
    grad: vec4<f32>,
    s: ptr<function, State>,
    h: Hyper,
    now: Step,
    tensor: OfTensor,
) -> vec4<f32> {
    let g = decayed(p, grad, h);
    let u = cautious(direction(g, s, h, now), g, tensor);
    return p - now.lr * u;
}
