// Lion. Chen et al. 2023, arXiv:2302.06675. Twin: src/rules/lion.rs

struct Hyper {
    one_minus_beta1: f32,
    one_minus_beta2: f32,
}

struct State {
    exp_avg: vec4<f32>,
}

fn direction(g: vec4<f32>, s: ptr<function, State>, h: Hyper, now: Step) -> vec4<f32> {
    let u = sign((*s).exp_avg + h.one_minus_beta1 * (g - (*s).exp_avg));
    (*s).exp_avg += h.one_minus_beta2 * (g - (*s).exp_avg);
    return u;
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
