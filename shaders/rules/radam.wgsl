// RAdam: Adam with a rectified learning rate. Liu et al. 2020, arXiv:1908.03265, as in
// torch.optim.RAdam. Twin: src/rules/radam.rs

fn direction(g: vec4<f32>, s: ptr<function, State>, h: Hyper, now: Step) -> vec4<f32> {
    (*s).exp_avg = ema((*s).exp_avg, g, h.pull_beta1);
    (*s).exp_avg_sq = ema((*s).exp_avg_sq, g * g, h.pull_beta2);
    // at: 1/c1, the correction of v, the rectification, and 1 while the variance is intractable.
    let m_hat = now.at.x * (*s).exp_avg;
    let v_hat = now.at.y * (*s).exp_avg_sq;
    return m_hat * (now.at.z / root(v_hat, h.eps) + now.at.w);
}
