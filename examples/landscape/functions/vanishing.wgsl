// tanh(x)
fn derivatives(p: vec2<f32>) -> Derivatives {
    // Beyond ±40 there is no slope that an f32 holds, and some devices' tanh is no number.
    let x = clamp(p.x, -40.0, 40.0);
    let height = tanh(x);
    // 1 − tanh² would lose all its digits.
    let root = 1.0 / cosh(x);
    let slope = root * root;
    return Derivatives(height, vec2(slope, 0.0), vec3(-2.0 * height * slope, 0.0, 0.0));
}
