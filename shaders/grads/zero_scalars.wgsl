// Gradients are left as zeros, one at a time.

fn leave_grad(place: Place) {
    for (var i = 0u; i < place.count; i++) {
        store_grad(place.grad + i, 0.0);
    }
}
