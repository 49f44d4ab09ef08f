// Lion. Chen et al. 2023, arXiv:2302.06675. Twin: src/rules/lion.rs

fn direction(g: vec4<f32>, s: ptr<function, State>, h: Hyper, now: Step) -> vec4<f32> {
    let u = sign(ema((*s).exp_avg, g, h.pull_beta1));
    (*s).exp_avg = ema((*s).exp_avg, g, h.pull_beta2);
    return u;
}
