// 20 + Σ (x² − 10·cos(2πx))
fn derivatives(p: vec2<f32>) -> Derivatives {
    // WGSL promises sines and cosines up to ±π alone.
    let angle = 2.0 * PI * (p - round(p));
    let waves = cos(angle);
    let terms = p * p - 10.0 * waves;
    let bends = 2.0 + 40.0 * PI * PI * waves;
    return Derivatives(
        20.0 + terms.x + terms.y,
        2.0 * p + 20.0 * PI * sin(angle),
        vec3(bends.x, 0.0, bends.y),
    );
}
