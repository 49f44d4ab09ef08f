// The random bits of stochastic rounding. They follow from a seed, a step, a slot and an element, so
// that every device and the twin draw the same. Twin: src/format/random.rs

// O'Neill's permuted congruential generator, as a hash.
fn pcg(x: u32) -> u32 {
    let s = x * 747796405u + 2891336453u;
    let w = ((s >> ((s >> 28u) + 4u)) ^ s) * 277803737u;
    return (w >> 22u) ^ w;
}

// 16 bits for each of four elements, of the performed step now.t. window.z is the hash of the group's
// seed.
fn random(place: Place, slot: u32) -> vec4<u32> {
    return random_from(place, 0u, slot);
}

// The same for the four that are `further` fours behind.
fn random_from(place: Place, further: u32, slot: u32) -> vec4<u32> {
    let quad = window.y * (UNIT / 4u) + place.state / 4u + further;
    let step = pcg(window.z ^ now.t);
    let a = pcg(quad ^ pcg(step + 2u * slot));
    let b = pcg(quad ^ pcg(step + 2u * slot + 1u));
    return vec4<u32>(a & 0xffffu, a >> 16u, b & 0xffffu, b >> 16u);
}
