// Four elements, for entry points that update several times four: what is loaded of them first, and what
// is stored once all of that is loaded.

struct Quad {
    place: Place,
    p: vec4<f32>,
    found: vec4<f32>,
    average: vec4<f32>,
}

struct Updated {
    p: vec4<f32>,
    state: State,
}

fn load_quad(place: Place) -> Quad {
    return Quad(place, load_param(place), scaled(load_grad(place), place), load_average(place));
}

fn store_quad(quad: Quad, updated: Updated) {
    if quad.place.count == 0u {
        return;
    }
    store_param(quad.place, updated.p);
    store_copy(quad.place, updated.p);
    store_state(quad.place, updated.state);
    store_average(quad.place, quad.p, updated.p, quad.average);
    if ZERO_GRAD {
        zero_grad(quad.place);
    }
}
