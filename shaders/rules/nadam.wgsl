// NAdam: Adam with Nesterov momentum on a schedule. Dozat 2016, openreview.net/forum?id=OM0jvwB8jIp57ZJjtNEZ,
// as in torch.optim.NAdam. Twin: src/rules/nadam.rs

fn direction(g: vec4<f32>, s: ptr<function, State>, h: Hyper, now: Step) -> vec4<f32> {
    (*s).exp_avg = ema((*s).exp_avg, g, h.pull_beta1);
    (*s).exp_avg_sq = ema((*s).exp_avg_sq, g * g, h.pull_beta2);
    // at: μ₊/(1 - Pμ₊), (1 - μ)/(1 - P), 1/c2, with μ₊ the momentum of the step to come.
    let m_hat = now.at.x * (*s).exp_avg + now.at.y * g;
    let v_hat = now.at.z * (*s).exp_avg_sq;
    return m_hat / root(v_hat, h.eps);
}
