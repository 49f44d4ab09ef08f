// ASGD. Polyak & Juditsky 1992. Twin: src/rules/asgd.rs

fn update(p: vec4<f32>, grad: vec4<f32>, s: ptr<function, State>, h: Hyper, now: Step) -> vec4<f32> {
    let g = grad + h.weight_decay * p;
    // at: η, what it decays the parameter by, what 1 - μ pulls.
    let updated = p - (now.at.y * p + now.at.x * g);
    (*s).ax = ema((*s).ax, held(updated), now.at.z);
    return updated;
}
