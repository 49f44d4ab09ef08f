// (1 − x)² + 100(y − x²)²
fn derivatives(p: vec2<f32>) -> Derivatives {
    let a = 1.0 - p.x;
    let b = p.y - p.x * p.x;
    let gradient = vec2(-2.0 * a - 400.0 * p.x * b, 200.0 * b);
    let hessian = vec3(2.0 - 400.0 * b + 800.0 * p.x * p.x, -400.0 * p.x, 200.0);
    return Derivatives(a * a + 100.0 * b * b, gradient, hessian);
}
