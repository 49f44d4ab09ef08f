// Adagrad. Duchi et al. 2011, jmlr.org/papers/v12/duchi11a.html. Twin: src/rules/adagrad.rs

fn update(p: vec4<f32>, grad: vec4<f32>, s: ptr<function, State>, h: Hyper, now: Step) -> vec4<f32> {
    var g = grad;
    if WEIGHT_DECAY {
        g += h.weight_decay * p;
    }
    let sum = min((*s).sum + g * g, vec4<f32>(3.4028234e38));
    (*s).sum = sum;
    let lr = now.lr * now.at.x;
    return p - lr * g / root(sum, h.eps);
}
