// Beyond ±15 tanh is ±1 in f32, and a driver may compute it from exponentials that overflow.
fn activation(z: f32) -> f32 {
    return tanh(clamp(z, -15.0, 15.0));
}

fn derivative(z: f32) -> f32 {
    let t = activation(z);
    return 1.0 - t * t;
}
