// Sophia. Liu et al. 2023, arXiv:2305.14342. Twin: src/rules/sophia.rs

fn direction(g: vec4<f32>, s: ptr<function, State>, h: Hyper, now: Step) -> vec4<f32> {
    let one = vec4<f32>(1.0);
    let moved = (*s).hessian + h.one_minus_beta2 * ((*s).hessian_estimate - (*s).hessian);
    (*s).hessian = select((*s).hessian, moved, now.refreshed > 0.0);
    (*s).exp_avg += h.one_minus_beta1 * (g - (*s).exp_avg);
    return min(max((*s).exp_avg / max(h.rho * (*s).hessian, vec4<f32>(h.eps)), -one), one);
}
