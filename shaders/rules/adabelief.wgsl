// AdaBelief. Zhuang et al. 2020, arXiv:2010.07468. Twin: src/rules/adabelief.rs

fn direction(g: vec4<f32>, s: ptr<function, State>, h: Hyper, now: Step) -> vec4<f32> {
    // g - m by the new m.
    let surprise = h.beta1 * (g - (*s).exp_avg);
    (*s).exp_avg = ema((*s).exp_avg, g, h.pull_beta1);
    (*s).exp_avg_var = ema((*s).exp_avg_var, surprise * surprise, h.pull_beta2) + h.eps_in_state;
    let m_hat = now.at.x * (*s).exp_avg;
    let s_hat = now.at.y * (*s).exp_avg_var;
    return m_hat / root(s_hat, h.eps);
}
