// Gradients in their format, four at a time. Zero bits are zero in every format.

alias StoredGrad = GradQuad;

fn load_grad(place: Place) -> vec4<f32> {
    return decode_grad(stored_grad(place.grad / 4u));
}

fn zero_grad(place: Place) {
    store_grad(place.grad / 4u, StoredGrad());
}
