// Newton with a diagonal Hessian from the caller. Twin: src/rules/newton.rs

fn update(p: vec4<f32>, g: vec4<f32>, s: ptr<function, State>, h: Hyper, now: Step) -> vec4<f32> {
    return p - now.lr * g / (abs((*s).hessian) + h.damping);
}
