// Which elements a thread of a workgroup measures. A tile has four quads for each thread: of every
// 128 neighbouring elements, eight threads have each eighth quad. So a workgroup reads a tile without
// a gap, and each eight threads read it cache line by cache line. What that gains over one quad per
// thread is in benches/README.md.

const TILE: u32 = 16u * MEASURING_THREADS;

// From a thread's quad to its next one.
const NEXT_QUAD: u32 = 32u;

fn first_in_tile(lane: u32) -> u32 {
    return 4u * NEXT_QUAD * (lane / 8u) + 4u * (lane % 8u);
}
