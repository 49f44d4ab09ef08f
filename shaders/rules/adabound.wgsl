// AdaBound. Luo et al. 2019, arXiv:1902.09843. Twin: src/rules/adabound.rs

struct Hyper {
    weight_decay: f32,
    one_minus_beta1: f32,
    one_minus_beta2: f32,
    eps: f32,
    final_ratio: f32,   // final_lr over the lr of the rule
}

struct State {
    exp_avg: vec4<f32>,
    exp_avg_sq: vec4<f32>,
    max_exp_avg_sq: vec4<f32>,
}

fn direction(g: vec4<f32>, s: ptr<function, State>, h: Hyper, now: Step) -> vec4<f32> {
    (*s).exp_avg += h.one_minus_beta1 * (g - (*s).exp_avg);
    (*s).exp_avg_sq += h.one_minus_beta2 * (g * g - (*s).exp_avg_sq);
    var v = (*s).exp_avg_sq;
    if AMSBOUND {
        v = max((*s).max_exp_avg_sq, v);
        (*s).max_exp_avg_sq = v;
    }
    // at: √c2/c1, the lower and the upper bound over the final learning rate.
    let final_lr = h.final_ratio * now.lr;
    let lowest = vec4<f32>(final_lr * now.at.y);
    let highest = vec4<f32>(final_lr * now.at.z);
    let eta = min(max(now.lr * now.at.x / (sqrt(v) + h.eps), lowest), highest);
    return eta * (*s).exp_avg;
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
    return p - (now.decay * p + u);
}
