// RMSprop. Hinton 2012, lecture 6e; centred: Graves 2013, arXiv:1308.0850. Twin: src/rules/rmsprop.rs

fn direction(g: vec4<f32>, s: ptr<function, State>, h: Hyper, now: Step) -> vec4<f32> {
    (*s).square_avg = ema((*s).square_avg, g * g, h.pull_alpha);
    var variance = (*s).square_avg;
    if CENTERED {
        (*s).grad_avg = ema((*s).grad_avg, g, h.pull_alpha);
        // Rounding can take it below zero where gradients hardly vary.
        variance = max(variance - (*s).grad_avg * (*s).grad_avg, vec4<f32>(0.0));
    }
    let u = g / root(variance, h.eps);
    let b = ema((*s).momentum_buffer, vec4<f32>(0.0), h.pull_momentum) + u;
    (*s).momentum_buffer = b;
    return b;
}
