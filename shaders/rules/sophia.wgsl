// Sophia. Liu et al. 2023, arXiv:2305.14342. Twin: src/rules/sophia.rs

fn direction(g: vec4<f32>, s: ptr<function, State>, h: Hyper, now: Step) -> vec4<f32> {
    let one = vec4<f32>(1.0);
    let moved = ema((*s).hessian, (*s).hessian_estimate, h.pull_beta2);
    (*s).hessian = select((*s).hessian, moved, now.refreshed > 0.0);
    (*s).exp_avg = ema((*s).exp_avg, g, h.pull_beta1);
    return min(max((*s).exp_avg / max(h.rho * (*s).hessian, vec4<f32>(h.eps)), -one), one);
}
