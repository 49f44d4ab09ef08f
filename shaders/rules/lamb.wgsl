// LAMB. You et al. 2020, arXiv:1904.00962, as in optax.lamb. Twin: src/rules/lamb.rs

fn direction(p: vec4<f32>, g: vec4<f32>, s: ptr<function, State>, h: Hyper, now: Step) -> vec4<f32> {
    (*s).exp_avg = ema((*s).exp_avg, g, h.pull_beta1);
    (*s).exp_avg_sq = ema((*s).exp_avg_sq, g * g, h.pull_beta2);
    // at: the corrections of m and of v.
    let m_hat = now.at.x * (*s).exp_avg;
    let v_hat = now.at.y * (*s).exp_avg_sq;
    return m_hat / (sqrt(v_hat) + h.eps) + h.weight_decay * p;
}

fn measure(p: vec4<f32>, g: vec4<f32>, s: State, h: Hyper, now: Step, tensor: OfTensor) -> Sums {
    var moved = s;
    let u = direction(p, g, &moved, h, now);
    return Sums(p * p, u * u);
}

fn conclude(sums: Totals, tensor: ptr<function, OfTensor>, shape: Shape, h: Hyper, now: Step) {
    let is_zero = sums.p_squared == 0.0 || sums.u_squared == 0.0;
    let ratio = sqrt(sums.p_squared) / sqrt(sums.u_squared);
    (*tensor).trust_ratio = select(ratio, 1.0, is_zero);
}

fn update(
    p: vec4<f32>,
    g: vec4<f32>,
    s: ptr<function, State>,
    h: Hyper,
    now: Step,
    tensor: OfTensor,
) -> vec4<f32> {
    let u = direction(p, g, s, h, now);
    return p - now.lr * tensor.trust_ratio * u;
}
