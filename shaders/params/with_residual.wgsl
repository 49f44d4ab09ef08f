// What the bits of the parameters lack. It lies beside them, as the state does.

@group(0) @binding(16) var<storage, read_write> residuals: array<Residual>;

fn decode_param(quad: ParamQuad, place: Place) -> vec4<f32> {
    return completed_param(quad, residuals[place.state / 4u]);
}

fn encode_param(value: vec4<f32>, place: Place) -> ParamQuad {
    let kept = kept_of_param(value);
    residuals[place.state / 4u] = residual_of_param(kept);
    return halves_of_param(kept);
}
