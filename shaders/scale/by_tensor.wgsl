// Gradients are scaled, and clipped by the norm of their tensor.

// The root of a factor for each UNIT of elements of all groups.
@group(0) @binding(15) var<storage, read> root_factors: array<f32>;

fn scaled(g: vec4<f32>, place: Place) -> vec4<f32> {
    let root = root_factors[window.x + place.state / UNIT];
    return now.grad_scale * (root * (root * g));
}
