// Adan. Xie et al. 2022, arXiv:2208.06677. Twin: src/rules/adan.rs

fn direction(g: vec4<f32>, s: ptr<function, State>, h: Hyper, now: Step) -> vec4<f32> {
    // at: 1/(1 - β1ᵗ), β2/(1 - β2ᵗ), 1/(1 - β3ᵗ), 0 at the first step, which has no gradient before.
    let d = now.at.w * (g - (*s).prev_grad);
    (*s).prev_grad = g;
    (*s).exp_avg = ema((*s).exp_avg, g, h.pull_beta1);
    (*s).exp_avg_diff = ema((*s).exp_avg_diff, d, h.pull_beta2);
    let ahead = g + h.beta2 * d;
    (*s).exp_avg_sq = ema((*s).exp_avg_sq, ahead * ahead, h.pull_beta3);
    let m_hat = now.at.x * (*s).exp_avg + now.at.y * (*s).exp_avg_diff;
    return m_hat / (sqrt(now.at.z * (*s).exp_avg_sq) + h.eps);
}

// The learning rate times u and the decay, as a division or beside it.
fn stepped(p: vec4<f32>, u: vec4<f32>, now: Step) -> vec4<f32> {
    let change = now.decay * p + now.lr * u;
    if DECOUPLED {
        return p - change;
    }
    return p - change / (1.0 + now.decay);
}
