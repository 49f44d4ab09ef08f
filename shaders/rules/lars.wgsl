// LARS. You et al. 2017, arXiv:1708.03888, as in optax.lars. Twin: src/rules/lars.rs

fn measure(p: vec4<f32>, g: vec4<f32>, s: State, h: Hyper, now: Step, tensor: OfTensor) -> Sums {
    let decayed = g + h.weight_decay * p;
    return Sums(p * p, decayed * decayed);
}

fn conclude(sums: Totals, tensor: ptr<function, OfTensor>, shape: Shape, h: Hyper, now: Step) {
    let is_zero = sums.p_squared == 0.0 || sums.g_squared == 0.0;
    let ratio = h.trust_coefficient * sqrt(sums.p_squared) / (sqrt(sums.g_squared) + h.eps);
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
    let u = now.lr * tensor.trust_ratio * (g + h.weight_decay * p);
    let b = ema((*s).momentum_buffer, vec4<f32>(0.0), h.pull_momentum) + u;
    (*s).momentum_buffer = b;
    if NESTEROV {
        return p - (u + h.momentum * b);
    }
    return p - b;
}
