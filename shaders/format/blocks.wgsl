// 64 elements that are stored in eight bits: the scales of four blocks of 16, and then their codes.
struct Unit {
    scales: array<u32, 4>,
    codes: array<vec4<u32>, 4>,
}

// The unit that an element lies in, and its block there.
fn unit_of(place: Place) -> u32 {
    return place.state / 64u;
}

fn block_of(place: Place) -> u32 {
    return place.state / 16u % 4u;
}

// The codes of a block, a quad to a word, and its scale.
struct Codes {
    quads: vec4<u32>,
    top: u32,
}
