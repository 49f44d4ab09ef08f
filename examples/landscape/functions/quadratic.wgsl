// ½(x² + K·y²)
override CONDITION: f32;

fn derivatives(p: vec2<f32>) -> Derivatives {
    let curvature = vec2(1.0, CONDITION);
    let gradient = curvature * p;
    return Derivatives(0.5 * dot(gradient, p), gradient, vec3(1.0, 0.0, CONDITION));
}
