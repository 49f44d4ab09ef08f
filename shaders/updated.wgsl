// The update of a quad, for entry points with several quads.

struct Updated {
    p: vec4<f32>,
    state: State,
}

fn updated(quad: Quad, before: State, tensor: OfTensor) -> Updated {
    let finite = is_finite(quad.found);
    let g = limited(quad.found, finite);
    var state = before;
    let p = update_at(quad.p, g, &state, tensor);
    return Updated(outcome(p, finite), state);
}

fn store_updated(quad: Quad, updated: Updated) {
    if quad.place.count > 0u {
        store_state(quad.place, updated.state);
        store_quad(quad, updated.p);
    }
}
