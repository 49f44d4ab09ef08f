// Rprop. Riedmiller & Braun 1993, as in torch.optim.Rprop. Twin: src/rules/rprop.rs

fn update(p: vec4<f32>, grad: vec4<f32>, s: ptr<function, State>, h: Hyper, now: Step) -> vec4<f32> {
    // Of the signs, since the product of small gradients underflows.
    let agreement = sign(grad) * sign((*s).prev);
    var factor = vec4<f32>(1.0);
    factor = select(factor, vec4<f32>(h.etaplus), agreement > vec4<f32>(0.0));
    factor = select(factor, vec4<f32>(h.etaminus), agreement < vec4<f32>(0.0));
    let largest = vec4<f32>(h.step_size_max);
    (*s).step_size = min(max((*s).step_size * factor, vec4<f32>(h.step_size_min)), largest);
    let g = select(grad, vec4<f32>(0.0), agreement < vec4<f32>(0.0));
    (*s).prev = g;
    return p - sign(g) * (*s).step_size;
}
