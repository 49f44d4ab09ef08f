// Σ (cᵢ − x + x·yⁱ)² of c = 1.5, 2.25, 2.625
fn derivatives(p: vec2<f32>) -> Derivatives {
    let x = p.x;
    let y = p.y;
    let c = vec3(1.5, 2.25, 2.625);
    let powers = vec3(y, y * y, y * y * y);
    let residual = c - x + x * powers;
    // Of each residual: by x, by y, by x and y, by y twice.
    let by_x = powers - 1.0;
    let slopes = vec3(1.0, 2.0 * y, 3.0 * y * y);
    let by_y = x * slopes;
    let by_yy = x * vec3(0.0, 2.0, 6.0 * y);
    let gradient = 2.0 * vec2(dot(residual, by_x), dot(residual, by_y));
    let hessian = 2.0 * vec3(
        dot(by_x, by_x),
        dot(by_x, by_y) + dot(residual, slopes),
        dot(by_y, by_y) + dot(residual, by_yy),
    );
    return Derivatives(dot(residual, residual), gradient, hessian);
}
