// A copy of the parameters in 16 bits, for forward passes, in a caller's ranges on the quads.

@group(0) @binding(16) var<storage, read_write> copies: array<vec2<u32>>;

fn store_copy(place: Place, p: vec4<f32>) {
    copies[place.copy / 4u] = nearest_half(p);
}
