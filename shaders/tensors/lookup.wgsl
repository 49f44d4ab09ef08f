// What is kept of each tensor: a table of words. Host side: src/gpu/tensors.rs.
// First where the rows begin, their length, how many there are, and how many conclude together;
// then for each UNIT of elements of the group where its tensor's row is; then the rows: number of
// elements, rows, columns, first element in the group, where its lines begin, padding, and from the
// ninth word on the values.

@group(0) @binding(13) var<storage, read> tensors: array<u32>;

fn row_of(place: Place) -> u32 {
    return tensors[4u + window.y + place.state / UNIT];
}
