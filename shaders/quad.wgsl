// Four elements: what is loaded of them but their state, and what is stored once all is loaded.

struct Quad {
    place: Place,
    p: vec4<f32>,
    found: vec4<f32>,
    average: vec4<f32>,
}

fn load_quad(place: Place) -> Quad {
    return Quad(place, load_param(place), scaled(load_grad(place), place), load_average(place));
}

fn store_quad(quad: Quad, p: vec4<f32>) {
    store_param(quad.place, p);
    store_copy(quad.place, p);
    store_average(quad.place, quad.p, p, quad.average);
    if ZERO_GRAD {
        zero_grad(quad.place);
    }
}
