// In place of an activation's, where none follows a layer.
fn derivative(z: f32) -> f32 {
    return 1.0;
}
