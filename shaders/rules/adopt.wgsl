// ADOPT. Taniguchi et al. 2024, arXiv:2411.02853. Twin: src/rules/adopt.rs

fn direction(g: vec4<f32>, s: ptr<function, State>, h: Hyper, now: Step) -> vec4<f32> {
    // at: how far m and v move, the bound on u. The first step moves only v, all the way.
    let bound = vec4<f32>(now.at.z);
    let u = min(max(g / max(sqrt((*s).exp_avg_sq), vec4<f32>(h.eps)), -bound), bound);
    (*s).exp_avg = ema((*s).exp_avg, u, now.at.x);
    (*s).exp_avg_sq = ema((*s).exp_avg_sq, g * g, now.at.y);
    return (*s).exp_avg;
}
