// There is no state of rows and columns.

alias TensorLines = u32;

fn find_lines(place: Place) -> TensorLines {
    return 0u;
}
