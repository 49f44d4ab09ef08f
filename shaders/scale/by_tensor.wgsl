// Gradients are scaled, and clipped by the norm of their tensor.

// Where this dispatch's part of the state begins in all of it, in units of 64 elements.
@group(0) @binding(14) var<uniform> window: vec4<u32>;
// The root of a factor for each unit of 64 elements of all groups: a tensor starts at a whole one.
@group(0) @binding(15) var<storage, read> root_factors: array<f32>;

fn scaled(g: vec4<f32>, place: Place) -> vec4<f32> {
    let root = root_factors[window.x + place.state / 64u];
    return now.grad_scale * (root * (root * g));
}
