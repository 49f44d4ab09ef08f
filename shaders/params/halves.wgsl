// Parameters of two to a word, from any word on. Nothing past the last is touched, since a neighbour
// may be in the same word.

@group(0) @binding(2) var<storage, read_write> params: array<u32>;

fn param_half(index: u32) -> u32 {
    return (params[index / 2u] >> (16u * (index % 2u))) & 0xffffu;
}

fn load_param(place: Place) -> vec4<f32> {
    var halves = vec4<u32>(param_half(place.param), 0u, 0u, 0u);
    if place.count > 1u {
        halves.y = param_half(place.param + 1u);
    }
    if place.count > 2u {
        halves.z = param_half(place.param + 2u);
    }
    if place.count > 3u {
        halves.w = param_half(place.param + 3u);
    }
    return decode_param(halves.xz | (halves.yw << vec2<u32>(16u)), place);
}

// The word with the upper half of what is there, if that is no element of the place.
fn beside(word: u32, index: u32, is_half: bool) -> u32 {
    if is_half {
        return (word & 0xffffu) | (params[index] & 0xffff0000u);
    }
    return word;
}

fn store_param(place: Place, p: vec4<f32>) {
    let words = encode_param(p, place);
    let first = place.param / 2u;
    params[first] = beside(words.x, first, place.count == 1u);
    if place.count > 2u {
        params[first + 1u] = beside(words.y, first + 1u, place.count == 3u);
    }
}
