// The state of the row and of the column that each element is in.

@group(0) @binding(11) var<storage, read> lines: array<f32>;

struct Gathered {
    factor: vec4<f32>,
    column: vec4<f32>,
}

fn gather(place: Place) -> Gathered {
    let tensor = row_of(place);
    let count = tensors[tensor];
    let rows = tensors[tensor + 1u];
    let columns = tensors[tensor + 2u];
    let factors = tensors[tensor + 4u];
    let first_column = tensors[tensor + 5u];
    // Padding uses the last element's.
    let element = min(UNIT * window.y + place.state - tensors[tensor + 3u], count - 1u);
    let last = count - 1u - element;
    var row = element / columns;
    var column = element - row * columns;
    let matrix = row / rows;
    var columns_at = first_column + matrix * columns;
    var row_end = (matrix + 1u) * rows;
    var gathered = Gathered();
    for (var i = 0u; i < 4u; i++) {
        gathered.factor[i] = lines[factors + row];
        gathered.column[i] = lines[columns_at + column];
        if i < last {
            column += 1u;
        }
        if column == columns {
            column = 0u;
            row += 1u;
        }
        if row == row_end {
            row_end += rows;
            columns_at += columns;
        }
    }
    return gathered;
}
