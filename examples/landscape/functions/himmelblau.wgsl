// (x² + y − 11)² + (x + y² − 7)²
fn derivatives(p: vec2<f32>) -> Derivatives {
    let a = p.x * p.x + p.y - 11.0;
    let b = p.x + p.y * p.y - 7.0;
    let gradient = vec2(4.0 * p.x * a + 2.0 * b, 2.0 * a + 4.0 * p.y * b);
    let hessian = vec3(
        4.0 * a + 8.0 * p.x * p.x + 2.0,
        4.0 * (p.x + p.y),
        2.0 + 4.0 * b + 8.0 * p.y * p.y,
    );
    return Derivatives(a * a + b * b, gradient, hessian);
}
