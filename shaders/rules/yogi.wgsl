// Yogi. Zaheer et al. 2018, as in optax.yogi. Twin: src/rules/yogi.rs

struct Hyper {
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
    let towards = sign((*s).exp_avg_sq - g * g);
    (*s).exp_avg_sq -= h.one_minus_beta2 * towards * (g * g);
    let m_hat = now.at.x * (*s).exp_avg;
    let v_hat = now.at.y * (*s).exp_avg_sq;
    return m_hat / (sqrt(v_hat) + h.eps);
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
