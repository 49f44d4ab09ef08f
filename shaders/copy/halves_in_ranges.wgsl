// A copy of the parameters in 16 bits, for forward passes, in a caller's ranges from any word on. Nothing
// past the last element is changed, since something else may be in the same word.

@group(0) @binding(16) var<storage, read_write> copies: array<u32>;

// The word with the upper half of what is there, if that is no element of the place.
fn beside_copy(word: u32, index: u32, is_half: bool) -> u32 {
    if is_half {
        return (word & 0xffffu) | (copies[index] & 0xffff0000u);
    }
    return word;
}

fn store_copy(place: Place, p: vec4<f32>) {
    let words = nearest_half(p);
    let first = place.copy / 2u;
    copies[first] = beside_copy(words.x, first, place.count == 1u);
    if place.count > 2u {
        copies[first + 1u] = beside_copy(words.y, first + 1u, place.count == 3u);
    }
}
