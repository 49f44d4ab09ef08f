// RAdam: Adam with a rectified learning rate. Liu et al. 2020, arXiv:1908.03265, as in
// torch.optim.RAdam. Twin: src/rules/radam.rs

struct Hyper {
    weight_decay: f32,
    one_minus_beta1: f32,
    one_minus_beta2: f32,
    eps: f32,
}

struct State {
    exp_avg: vec4<f32>,
    exp_avg_sq: vec4<f32>,
}

fn direction(g: vec4<f32>, s: ptr<function, State>, h: Hyper, now: Step) -> vec4<f32> {
    (*s).exp_avg += h.one_minus_beta1 * (g - (*s).exp_avg);
    (*s).exp_avg_sq += h.one_minus_beta2 * (g * g - (*s).exp_avg_sq);
    // at: 1/c1, the correction of v, the rectification, and 1 while the variance is intractable.
    let m_hat = now.at.x * (*s).exp_avg;
    let v_hat = now.at.y * (*s).exp_avg_sq;
    return m_hat * (now.at.z / root(v_hat, h.eps) + now.at.w);
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
