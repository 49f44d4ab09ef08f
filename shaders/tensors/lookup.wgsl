// The state of each tensor, as a table of words. Host side: src/gpu/tensors.rs. The first four
// words say where the rows begin, how long a row is, how many rows there are, and how many of them
// conclude together. Then comes, for each UNIT of elements of the group, the place of its tensor's
// row. Then come the rows. A row has the number of elements, rows, columns, first element in the
// group, where its lines begin (two words), two words of padding, and then the values of the slots.

fn row_of(place: Place) -> u32 {
    return tensor_word(4u + window.y + place.state / UNIT);
}
