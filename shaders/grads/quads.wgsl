// Gradients as f32, four at a time.

alias StoredGrad = vec4<f32>;

fn load_grad(place: Place) -> vec4<f32> {
    return stored_grad(place.grad / 4u);
}

fn zero_grad(place: Place) {
    store_grad(place.grad / 4u, StoredGrad());
}
