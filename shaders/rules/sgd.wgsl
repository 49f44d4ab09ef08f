// SGD with momentum. Sutskever et al. 2013 as in torch.optim.SGD; the textbook's exponential
// average too. Twin: src/rules/sgd.rs

fn direction(g: vec4<f32>, s: ptr<function, State>, h: Hyper, now: Step) -> vec4<f32> {
    // classic: b ← μb + (1 - d)g, first b ← g; average: b ← b + (1 - μ)(g - b)
    let b = held(ema((*s).momentum_buffer, vec4<f32>(0.0), now.at.x) + now.at.y * g);
    (*s).momentum_buffer = b;
    if NESTEROV {
        return g + h.momentum * b;
    }
    return b;
}
