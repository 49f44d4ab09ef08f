// Lion. Chen et al. 2023, arXiv:2302.06675. Twin: src/rules/lion.rs

fn direction(g: vec4<f32>, s: ptr<function, State>, h: Hyper, now: Step) -> vec4<f32> {
    let u = sign((*s).exp_avg + h.one_minus_beta1 * (g - (*s).exp_avg));
    (*s).exp_avg += h.one_minus_beta2 * (g - (*s).exp_avg);
    return u;
}
