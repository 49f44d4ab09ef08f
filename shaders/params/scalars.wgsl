// Parameters as f32 at any element, one at a time. Nothing past the last is touched, since a
// neighbour may be there.

@group(0) @binding(2) var<storage, read_write> params: array<f32>;

fn load_param(place: Place) -> vec4<f32> {
    var p = vec4<f32>(params[place.param], 0.0, 0.0, 0.0);
    if place.count > 1u {
        p.y = params[place.param + 1u];
    }
    if place.count > 2u {
        p.z = params[place.param + 2u];
    }
    if place.count > 3u {
        p.w = params[place.param + 3u];
    }
    return p;
}

fn store_param(place: Place, p: vec4<f32>) {
    params[place.param] = p.x;
    if place.count > 1u {
        params[place.param + 1u] = p.y;
    }
    if place.count > 2u {
        params[place.param + 2u] = p.z;
    }
    if place.count > 3u {
        params[place.param + 3u] = p.w;
    }
}
