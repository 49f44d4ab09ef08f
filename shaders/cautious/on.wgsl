// Leaves out elements whose update and gradient point different ways, and scales the others up for
// them. Liang et al. 2024, arXiv:2411.16085. Twin: src/rules/cautious.rs

// This compares signs, because a product could underflow.
fn agrees(u: vec4<f32>, g: vec4<f32>) -> vec4<bool> {
    let zero = vec4<f32>(0.0);
    return ((u > zero) & (g > zero)) | ((u < zero) & (g < zero));
}

fn cautious(u: vec4<f32>, g: vec4<f32>, tensor: OfTensor) -> vec4<f32> {
    return tensor.mask_scale * select(vec4<f32>(0.0), u, agrees(u, g));
}

fn measure(p: vec4<f32>, grad: vec4<f32>, s: State, h: Hyper, now: Step, tensor: OfTensor) -> Sums {
    var moved = s;
    let g = decayed(p, grad, h);
    let u = direction(g, &moved, h, now);
    return Sums(select(vec4<f32>(0.0), vec4<f32>(1.0), agrees(u, g)));
}

fn conclude(sums: Totals, tensor: ptr<function, OfTensor>, shape: Shape, h: Hyper, now: Step) {
    (*tensor).mask_scale = 1.0 / max(sums.agreeing / shape.count, 1e-3);
}
