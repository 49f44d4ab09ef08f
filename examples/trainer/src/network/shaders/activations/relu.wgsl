fn activation(z: f32) -> f32 {
    return max(z, 0.0);
}

fn derivative(z: f32) -> f32 {
    return select(0.0, 1.0, z > 0.0);
}
