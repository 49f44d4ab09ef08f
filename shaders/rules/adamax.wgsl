// Adamax. Kingma & Ba 2015, arXiv:1412.6980, section 7.1. Twin: src/rules/adamax.rs

fn direction(g: vec4<f32>, s: ptr<function, State>, h: Hyper, now: Step) -> vec4<f32> {
    (*s).exp_avg = ema((*s).exp_avg, g, h.pull_beta1);
    let faded = ema((*s).exp_inf, vec4<f32>(0.0), h.pull_beta2);
    (*s).exp_inf = max(faded, abs(g) + h.eps_in_state);
    let m_hat = now.at.x * (*s).exp_avg;
    return m_hat / ((*s).exp_inf + h.eps);
}
