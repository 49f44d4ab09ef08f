// Momentum with a learning rate for each tensor, by the agreement of its gradients. A textbook's custom
// optimizer; per weight it is Jacobs 1988. Twin: src/rules/gradient_agreement.rs

fn measure(p: vec4<f32>, g: vec4<f32>, s: State, h: Hyper, now: Step, tensor: OfTensor) -> Sums {
    return Sums(g * s.prev_grad);
}

fn conclude(sums: Totals, tensor: ptr<function, OfTensor>, shape: Shape, h: Hyper, now: Step) {
    let factor = select(-h.factor, h.factor, sums.agreement > 0.0);
    let scale = (*tensor).lr_scale + factor * (*tensor).lr_scale;
    (*tensor).lr_scale = min(max(scale, h.least), 1e18);
}

fn update(
    p: vec4<f32>,
    g: vec4<f32>,
    s: ptr<function, State>,
    h: Hyper,
    now: Step,
    tensor: OfTensor,
) -> vec4<f32> {
    (*s).prev_grad = g;
    (*s).momentum_buffer = ema((*s).momentum_buffer, vec4<f32>(0.0), h.pull_momentum) - now.lr * tensor.lr_scale * g;
    return p + (*s).momentum_buffer;
}
