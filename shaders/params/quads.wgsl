// Parameters in their format, four at a time.

@group(0) @binding(2) var<storage, read_write> params: array<ParamQuad>;

fn load_param(place: Place) -> vec4<f32> {
    return decode_param(params[place.param / 4u], place);
}

fn store_param(place: Place, p: vec4<f32>) {
    params[place.param / 4u] = encode_param(p, place);
}
