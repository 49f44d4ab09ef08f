// AdEMAMix. Pagliardini et al. 2024, arXiv:2409.03137. Twin: src/rules/ademamix.rs

fn direction(g: vec4<f32>, s: ptr<function, State>, h: Hyper, now: Step) -> vec4<f32> {
    // at: 1/c1, α, what β3 pulls and 1/c2 of this step.
    (*s).exp_avg = ema((*s).exp_avg, g, h.pull_beta1);
    (*s).exp_avg_slow = ema((*s).exp_avg_slow, g, now.at.z);
    (*s).exp_avg_sq = ema((*s).exp_avg_sq, g * g, h.pull_beta2);
    let m_hat = now.at.x * (*s).exp_avg + now.at.y * (*s).exp_avg_slow;
    let v_hat = now.at.w * (*s).exp_avg_sq;
    return m_hat / (sqrt(v_hat) + h.eps);
}
