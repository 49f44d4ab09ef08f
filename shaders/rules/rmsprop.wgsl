// RMSprop. Hinton 2012, lecture 6e; centred: Graves 2013, arXiv:1308.0850. Twin: src/rules/rmsprop.rs

struct Hyper {
    weight_decay: f32,
    one_minus_alpha: f32,
    eps: f32,
    momentum: f32,
}

struct State {
    square_avg: vec4<f32>,
    grad_avg: vec4<f32>,
    momentum_buffer: vec4<f32>,
}

fn direction(g: vec4<f32>, s: ptr<function, State>, h: Hyper, now: Step) -> vec4<f32> {
    (*s).square_avg += h.one_minus_alpha * (g * g - (*s).square_avg);
    var variance = (*s).square_avg;
    if CENTERED {
        (*s).grad_avg += h.one_minus_alpha * (g - (*s).grad_avg);
        // Rounding can take it below zero where gradients hardly vary.
        variance = max(variance - (*s).grad_avg * (*s).grad_avg, vec4<f32>(0.0));
    }
    let u = g / root(variance, h.eps);
    let b = h.momentum * (*s).momentum_buffer + u;
    (*s).momentum_buffer = b;
    return b;
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
