// Newton's method with a dense Hessian. Nocedal & Wright 2006, section 3.4. Twin: src/rules/newton_dense.rs

fn prepare(p: vec4<f32>, g: vec4<f32>, s: ptr<function, State>, h: Hyper, now: Step) {
    (*s).direction = g;
}

fn update(p: vec4<f32>, g: vec4<f32>, s: ptr<function, State>, h: Hyper, now: Step) -> vec4<f32> {
    return p - now.lr * (*s).direction;
}
