// The state of the row and of the column that each element is in.

@group(0) @binding(11) var<storage, read> lines: array<vec4<f32>>;

// A tensor's size, and where its lines begin.
struct TensorLines {
    count: u32,
    rows: u32,
    columns: u32,
    first: u32,         // its first element in the group
    factors: u32,
    first_column: u32,
}

fn find_lines(place: Place) -> TensorLines {
    let row = row_of(place) / 4u;
    let size = tensors[row];
    let starts = tensors[row + 1u];
    return TensorLines(size.x, size.y, size.z, size.w, starts.x, starts.y);
}

fn line_at(i: u32) -> f32 {
    return lines[i / 4u][i % 4u];
}

struct Gathered {
    factor: vec4<f32>,
    column: vec4<f32>,
}

fn gather(tensor: TensorLines, place: Place) -> Gathered {
    // Padding uses the last element's.
    let element = min(UNIT * window.y + place.state - tensor.first, tensor.count - 1u);
    let last = tensor.count - 1u - element;
    var row = element / tensor.columns;
    var column = element - row * tensor.columns;
    let matrix = row / tensor.rows;
    var columns_at = tensor.first_column + matrix * tensor.columns;
    var row_end = (matrix + 1u) * tensor.rows;
    if LINES_IN_QUADS {
        // All four are in one row, and their columns are a quad too.
        let factor = vec4<f32>(line_at(tensor.factors + row));
        return Gathered(factor, lines[(columns_at + column) / 4u]);
    }
    var gathered = Gathered();
    for (var i = 0u; i < 4u; i++) {
        gathered.factor[i] = line_at(tensor.factors + row);
        gathered.column[i] = line_at(columns_at + column);
        if i < last {
            column += 1u;
        }
        if column == tensor.columns {
            column = 0u;
            row += 1u;
        }
        if row == row_end {
            row_end += tensor.rows;
            columns_at += tensor.columns;
        }
    }
    return gathered;
}
