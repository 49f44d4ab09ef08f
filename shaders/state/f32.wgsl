// State as f32, four at a time. The glue that names a rule's slots is generated around this.

alias StateQuad = vec4<f32>;

fn decode_state(quad: StateQuad) -> vec4<f32> {
    return quad;
}

fn encode_state(value: vec4<f32>) -> StateQuad {
    return value;
}
