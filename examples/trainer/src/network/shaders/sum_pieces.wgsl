// A gradient from its pieces, each the sum over some of the rows: [pieces, count] to [count]. If ADDS,
// which the program appends, it adds to the gradient that is there.

struct Batch { first: u32, rows: u32, unused0: u32, unused1: u32 }
struct Pieces { count: u32, positions: u32, piece: u32, unused0: u32 }

@group(0) @binding(0) var<storage, read> batch: Batch;
@group(1) @binding(0) var<storage, read> sizes: Pieces;
@group(1) @binding(1) var<storage, read> pieces: array<f32>;
@group(1) @binding(2) var<storage, read_write> gradient: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let place = id.x;
    if place >= sizes.count {
        return;
    }
    let end = (batch.rows * sizes.positions + sizes.piece - 1u) / sizes.piece;
    var sum = 0.0;
    for (var piece = 0u; piece < end; piece++) {
        sum += pieces[piece * sizes.count + place];
    }
    if ADDS {
        sum += gradient[place];
    }
    gradient[place] = sum;
}
