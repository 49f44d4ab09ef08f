// AdaBelief. Zhuang et al. 2020, arXiv:2010.07468. Twin: src/rules/adabelief.rs

struct Hyper {
    one_minus_beta1: f32,
    one_minus_beta2: f32,
    eps_in_state: f32,
    eps: f32,
}

struct State {
    exp_avg: vec4<f32>,
    exp_avg_var: vec4<f32>,
}

fn direction(g: vec4<f32>, s: ptr<function, State>, h: Hyper, now: Step) -> vec4<f32> {
    (*s).exp_avg += h.one_minus_beta1 * (g - (*s).exp_avg);
    let surprise = g - (*s).exp_avg;
    (*s).exp_avg_var += h.one_minus_beta2 * (surprise * surprise - (*s).exp_avg_var) + h.eps_in_state;
    let m_hat = now.at.x * (*s).exp_avg;
    let s_hat = now.at.y * (*s).exp_avg_var;
    return m_hat / root(s_hat, h.eps);
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
    return p - (now.decay * p + now.lr * u);
}
