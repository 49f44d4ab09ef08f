
// Where an element lies that is stored in eight bits. 64 elements are 20 words: the scales of four
// blocks of 16, and then their codes.

fn scale_at(place: Place) -> u32 {
    return place.state / 64u * 20u + place.state / 16u % 4u;
}

fn code_at(place: Place) -> u32 {
    return place.state / 64u * 20u + 4u + place.state / 4u % 16u;
}
