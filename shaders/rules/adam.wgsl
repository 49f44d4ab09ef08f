// Adam and AdamW. Kingma & Ba 2015, arXiv:1412.6980; Loshchilov & Hutter 2019, arXiv:1711.05101;
// AMSGrad: Reddi et al. 2018, arXiv:1904.09237; Nesterov: Dozat 2016. Twin: src/rules/adam.rs

fn direction(g: vec4<f32>, s: ptr<function, State>, h: Hyper, now: Step) -> vec4<f32> {
    (*s).exp_avg = ema((*s).exp_avg, g, h.pull_beta1);
    (*s).exp_avg_sq = ema((*s).exp_avg_sq, g * g, h.pull_beta2);
    // at: the weights of m and of g in m̂, the correction of v before and after the maximum.
    var m_hat = now.at.x * (*s).exp_avg;
    if NESTEROV {
        m_hat += now.at.y * g;
    }
    var v = (*s).exp_avg_sq;
    if AMSGRAD {
        v = max((*s).max_exp_avg_sq, now.at.z * v);
        (*s).max_exp_avg_sq = v;
    }
    let v_hat = now.at.w * v;
    return m_hat / root(v_hat, h.eps);
}
