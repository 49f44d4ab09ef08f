// Yogi. Zaheer et al. 2018, as in optax.yogi. Twin: src/rules/yogi.rs

fn direction(g: vec4<f32>, s: ptr<function, State>, h: Hyper, now: Step) -> vec4<f32> {
    (*s).exp_avg = ema((*s).exp_avg, g, h.pull_beta1);
    let towards = sign((*s).exp_avg_sq - g * g);
    (*s).exp_avg_sq -= h.one_minus_beta2 * towards * (g * g);
    let m_hat = now.at.x * (*s).exp_avg;
    let v_hat = now.at.y * (*s).exp_avg_sq;
    return m_hat / (sqrt(v_hat) + h.eps);
}
