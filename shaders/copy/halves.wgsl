// A copy of the parameters in 16 bits, for forward passes. It lies where the state does.

@group(0) @binding(16) var<storage, read_write> copies: array<vec2<u32>>;

fn store_copy(place: Place, p: vec4<f32>) {
    copies[place.state / 4u] = nearest_half(p);
}
