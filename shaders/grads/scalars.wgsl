// Gradients as f32 at any element, one at a time. Nothing past the last is touched, since a
// neighbour may be there.

alias StoredGrad = f32;

fn load_grad(place: Place) -> vec4<f32> {
    var g = vec4<f32>(stored_grad(place.grad), 0.0, 0.0, 0.0);
    if place.count > 1u {
        g.y = stored_grad(place.grad + 1u);
    }
    if place.count > 2u {
        g.z = stored_grad(place.grad + 2u);
    }
    if place.count > 3u {
        g.w = stored_grad(place.grad + 3u);
    }
    return g;
}

fn zero_grad(place: Place) {
    for (var i = 0u; i < place.count; i++) {
        store_grad(place.grad + i, 0.0);
    }
}
