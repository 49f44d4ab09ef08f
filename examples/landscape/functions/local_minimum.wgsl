// x·cos(πx)
fn derivatives(p: vec2<f32>) -> Derivatives {
    // WGSL promises sines and cosines up to ±π alone.
    let angle = PI * (p.x - 2.0 * round(0.5 * p.x));
    let s = sin(angle);
    let c = cos(angle);
    return Derivatives(
        p.x * c,
        vec2(c - PI * p.x * s, 0.0),
        vec3(-2.0 * PI * s - PI * PI * p.x * c, 0.0, 0.0),
    );
}
