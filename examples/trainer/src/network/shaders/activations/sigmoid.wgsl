// exp only of numbers up to 0, where it cannot overflow.
fn activation(z: f32) -> f32 {
    let e = exp(max(-abs(z), -80.0));
    return select(e, 1.0, z >= 0.0) / (1.0 + e);
}

fn derivative(z: f32) -> f32 {
    let s = activation(z);
    return s * (1.0 - s);
}
