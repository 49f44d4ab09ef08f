// Copies the rows of a batch, in the epoch's order, out of one page of the data set.
//
// A data set beyond the device's binding limit lies in several pages. Each page is gathered by a
// dispatch of its own, which leaves alone the rows that lie elsewhere.

struct Batch { first: u32, rows: u32, unused0: u32, unused1: u32 }
struct Page { columns: u32, first: u32, rows: u32, unused0: u32 }

@group(0) @binding(0) var<storage, read> batch: Batch;
@group(1) @binding(0) var<storage, read> page: Page;
@group(1) @binding(1) var<storage, read> order: array<u32>;
@group(1) @binding(2) var<storage, read> samples: array<f32>;
@group(1) @binding(3) var<storage, read_write> gathered: array<f32>;

// A workgroup copies 16 rows, each by 16 threads: what they read to find the row, they read once.
const LANES = 16u;

@compute @workgroup_size(LANES, 16)
fn main(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let row = id.y;
    if row >= batch.rows {
        return;
    }
    let chosen = order[batch.first + row];
    if chosen < page.first || chosen - page.first >= page.rows {
        return;
    }
    let columns = page.columns;
    let source = (chosen - page.first) * columns;
    for (var column = local.x; column < columns; column += LANES) {
        gathered[row * columns + column] = samples[source + column];
    }
}
