// x² − y²
fn derivatives(p: vec2<f32>) -> Derivatives {
    return Derivatives(p.x * p.x - p.y * p.y, vec2(2.0 * p.x, -2.0 * p.y), vec3(2.0, 0.0, -2.0));
}
