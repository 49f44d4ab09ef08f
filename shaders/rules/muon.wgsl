// Muon. Jordan et al. 2024, https://kellerjordan.github.io/posts/muon, as in torch.optim.Muon.
// Twin: src/rules/muon.rs

fn direction(g: vec4<f32>, s: ptr<function, State>, h: Hyper) -> vec4<f32> {
    let b = ema((*s).momentum_buffer, g, h.pull_momentum);
    (*s).momentum_buffer = b;
    if NESTEROV {
        return ema(b, g, h.pull_momentum);
    }
    return b;
}

fn measure(p: vec4<f32>, g: vec4<f32>, s: State, h: Hyper, now: Step, tensor: OfTensor) -> Sums {
    var moved = s;
    let u = direction(g, &moved, h);
    return Sums(u * u);
}

fn conclude(sums: Totals, tensor: ptr<function, OfTensor>, shape: Shape, h: Hyper, now: Step) {
    (*tensor).inverse_norm = 1.0 / max(sqrt(sums.u_squared), h.eps);
    if MATCH_RMS_ADAMW {
        (*tensor).scale = 0.2 * sqrt(max(shape.rows, shape.columns));
    } else if SPECTRAL_UNCLAMPED {
        (*tensor).scale = sqrt(shape.rows / shape.columns);
    } else {
        (*tensor).scale = sqrt(max(shape.rows / shape.columns, 1.0));
    }
}

fn prepare(
    p: vec4<f32>,
    g: vec4<f32>,
    s: ptr<function, State>,
    h: Hyper,
    now: Step,
    tensor: OfTensor,
) {
    (*s).orthogonal = tensor.inverse_norm * direction(g, s, h);
}

fn update(
    p: vec4<f32>,
    g: vec4<f32>,
    s: ptr<function, State>,
    h: Hyper,
    now: Step,
    tensor: OfTensor,
) -> vec4<f32> {
    return p - (now.decay * p + now.lr * tensor.scale * (*s).orthogonal);
}
