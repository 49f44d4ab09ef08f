// What the bits of the parameters lack. It lies beside them, as the state does.

@group(0) @binding(16) var<storage, read_write> residuals: array<u32>;

alias ParamQuad = Quad_bf16_plus_8;

fn decode_param(quad: ParamQuad, place: Place) -> vec4<f32> {
    return decode_bf16_plus_8(quad, residuals[place.state / 4u]);
}

fn encode_param(value: vec4<f32>, place: Place) -> ParamQuad {
    let rounded = rounded_bf16_plus_8(value);
    residuals[place.state / 4u] = residual_bf16_plus_8(rounded);
    return encode_bf16_plus_8(rounded);
}
