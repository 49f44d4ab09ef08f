// AdaBound. Luo et al. 2019, arXiv:1902.09843. Twin: src/rules/adabound.rs

fn direction(g: vec4<f32>, s: ptr<function, State>, h: Hyper, now: Step) -> vec4<f32> {
    (*s).exp_avg = ema((*s).exp_avg, g, h.pull_beta1);
    (*s).exp_avg_sq = ema((*s).exp_avg_sq, g * g, h.pull_beta2);
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

// The learning rate is in u.
fn stepped(p: vec4<f32>, u: vec4<f32>, now: Step) -> vec4<f32> {
    return p - (now.decay * p + u);
}
