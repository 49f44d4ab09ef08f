// Adafactor. Shazeer & Stern 2018, arXiv:1804.04235, as in torch.optim.Adafactor.
// Twin: src/rules/adafactor.rs

fn line(g: f32, h: Hyper) -> f32 {
    return g * g;
}

fn move_line(kept: f32, mean: f32, h: Hyper, now: Step) -> f32 {
    // at: how far V moves, and the most that lr may be.
    return scalar_ema(kept, mean, now.at.x);
}

fn row_factor(row: f32, mean: f32, h: Hyper) -> f32 {
    return row / max(mean, h.eps1);
}

fn direction(g: vec4<f32>, s: State, h: Hyper) -> vec4<f32> {
    let variance = s.row_factor * s.col_var;
    return g / sqrt(max(variance, vec4<f32>(h.eps1_squared)));
}

fn measure(p: vec4<f32>, g: vec4<f32>, s: State, h: Hyper, now: Step, tensor: OfTensor) -> Sums {
    let u = direction(g, s, h);
    return Sums(p * p, u * u);
}

fn conclude(sums: Totals, tensor: ptr<function, OfTensor>, shape: Shape, h: Hyper, now: Step) {
    let p_rms = sqrt(sums.p_squared / shape.count);
    let u_rms = sqrt(sums.u_squared / shape.count);
    let alpha = max(h.eps2, p_rms) * min(now.lr, now.at.y);
    (*tensor).alpha = alpha / max(u_rms / h.d, 1.0);
}

fn update(
    p: vec4<f32>,
    g: vec4<f32>,
    s: ptr<function, State>,
    h: Hyper,
    now: Step,
    tensor: OfTensor,
) -> vec4<f32> {
    let u = direction(g, *s, h);
    return p - (now.decay * p + tensor.alpha * u);
}
