// Gradients of two to a word, at any element. Nothing past the last is touched, since a neighbour may
// be in the same word.

alias StoredGrad = u32;

fn grad_half(index: u32) -> u32 {
    return (stored_grad(index / 2u) >> (16u * (index % 2u))) & 0xffffu;
}

fn load_grad(place: Place) -> vec4<f32> {
    var halves = vec4<u32>(grad_half(place.grad), 0u, 0u, 0u);
    if place.count > 1u {
        halves.y = grad_half(place.grad + 1u);
    }
    if place.count > 2u {
        halves.z = grad_half(place.grad + 2u);
    }
    if place.count > 3u {
        halves.w = grad_half(place.grad + 3u);
    }
    return decode_grad(halves.xz | (halves.yw << vec2<u32>(16u)));
}

fn zero_grad(place: Place) {
    for (var i = place.grad; i < place.grad + place.count; i++) {
        let others = 0xffff0000u >> (16u * (i % 2u));
        store_grad(i / 2u, stored_grad(i / 2u) & others);
    }
}
