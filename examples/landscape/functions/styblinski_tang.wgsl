// ½ Σ (x⁴ − 16x² + 5x)
fn derivatives(p: vec2<f32>) -> Derivatives {
    let squares = p * p;
    let terms = squares * squares - 16.0 * squares + 5.0 * p;
    let bends = 6.0 * squares - 16.0;
    return Derivatives(
        0.5 * (terms.x + terms.y),
        2.0 * squares * p - 16.0 * p + 2.5,
        vec3(bends.x, 0.0, bends.y),
    );
}
