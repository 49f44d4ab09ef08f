// NovoGrad. Ginsburg et al. 2019, arXiv:1905.11286, as in optax.novograd. Twin: src/rules/novograd.rs

fn measure(p: vec4<f32>, g: vec4<f32>, s: State, h: Hyper, now: Step, tensor: OfTensor) -> Sums {
    return Sums(g * g);
}

fn conclude(sums: Totals, tensor: ptr<function, OfTensor>, shape: Shape, h: Hyper, now: Step) {
    // at: the weight of the new norm, and that of the momentum so far.
    (*tensor).exp_avg_sq = scalar_ema((*tensor).exp_avg_sq, sums.g_squared, now.at.x);
}

fn update(
    p: vec4<f32>,
    g: vec4<f32>,
    s: ptr<function, State>,
    h: Hyper,
    now: Step,
    tensor: OfTensor,
) -> vec4<f32> {
    let denominator = sqrt(tensor.exp_avg_sq) + h.eps;
    let a = g / denominator + h.weight_decay * p;
    (*s).exp_avg = ema((*s).exp_avg, vec4<f32>(0.0), now.at.y) + a;
    return p - now.lr * (*s).exp_avg;
}
