// Prodigy. Mishchenko & Defazio 2024, arXiv:2306.06101, as in optax.contrib.prodigy; options of
// prodigyopt. Twin: src/rules/prodigy.rs

fn s_moved(s: vec4<f32>, g: vec4<f32>, d: f32, h: Hyper, now: Step) -> vec4<f32> {
    // at: what dlr is d·lr times.
    let rate = select(now.lr * now.at.x, 1.0, SAFEGUARD_WARMUP);
    return ema(s, vec4<f32>(0.0), h.pull_beta3) + d / h.d0 * (d * rate) * g;
}

fn measure(p: vec4<f32>, g: vec4<f32>, s: State, h: Hyper, now: Step, tensor: OfTensor) -> Sums {
    let p0 = select(s.p0, p, now.t == 1u);
    // By the rate of its own group: d is that of all groups, whatever their rates are.
    let rate = now.lr * now.at.x;
    return Sums(rate * (g * (p0 - p)), abs(s_moved(s.s, g, tensor.d, h, now)));
}

fn conclude(sums: Totals, tensor: ptr<function, OfTensor>, shape: Shape, h: Hyper, now: Step) {
    let dlr = (*tensor).d * now.lr * now.at.x;
    let faded = scalar_ema((*tensor).d_numerator, 0.0, h.pull_beta3);
    (*tensor).d_numerator = faded + (*tensor).d / h.d0 * ((*tensor).d * sums.correlation);
    (*tensor).d_before = (*tensor).d;
    if sums.s_magnitude > 0.0 {
        let d_hat = h.d_coef * (*tensor).d_numerator / sums.s_magnitude;
        (*tensor).d_max = max((*tensor).d_max, d_hat);
        if LIMITED {
            let first = select((*tensor).d, max((*tensor).d, d_hat), (*tensor).d == h.d0);
            (*tensor).d = min((*tensor).d_max, first * h.growth_rate);
        } else {
            (*tensor).d = (*tensor).d_max;
        }
        (*tensor).dlr = dlr;
    } else {
        // There was no gradient yet: nothing moves.
        (*tensor).dlr = 0.0;
    }
}

fn update(
    p: vec4<f32>,
    grad: vec4<f32>,
    s: ptr<function, State>,
    h: Hyper,
    now: Step,
    tensor: OfTensor,
) -> vec4<f32> {
    (*s).p0 = select((*s).p0, p, now.t == 1u);
    let g = tensor.d_before * grad;
    (*s).exp_avg = ema((*s).exp_avg, g, h.pull_beta1);
    (*s).exp_avg_sq = ema((*s).exp_avg_sq, g * g, h.pull_beta2);
    (*s).s = s_moved((*s).s, grad, tensor.d_before, h, now);
    // A normal number, or padding would divide zero by zero.
    let eps = max(tensor.d * h.eps, 1.1754944e-38);
    return p - (h.weight_decay * tensor.dlr * p + tensor.dlr * (*s).exp_avg / (sqrt((*s).exp_avg_sq) + eps));
}
