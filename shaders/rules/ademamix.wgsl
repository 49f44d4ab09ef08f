// AdEMAMix. Pagliardini et al. 2024, arXiv:2409.03137. Twin: src/rules/ademamix.rs

fn direction(g: vec4<f32>, s: ptr<function, State>, h: Hyper, now: Step) -> vec4<f32> {
    // at: 1/c1, α, 1 - β3 and 1/c2 of this step.
    (*s).exp_avg += h.one_minus_beta1 * (g - (*s).exp_avg);
    (*s).exp_avg_slow += now.at.z * (g - (*s).exp_avg_slow);
    (*s).exp_avg_sq += h.one_minus_beta2 * (g * g - (*s).exp_avg_sq);
    let m_hat = now.at.x * (*s).exp_avg + now.at.y * (*s).exp_avg_slow;
    let v_hat = now.at.w * (*s).exp_avg_sq;
    return m_hat / (sqrt(v_hat) + h.eps);
}
