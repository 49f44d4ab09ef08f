// What a thread computes: 4×4 elements, for matrices of at most 32 rows or columns.

const QUADS: u32 = 1u;

struct Block {
    c: mat4x4<f32>,
}

fn add_products(block: ptr<function, Block>, left: u32, right: u32) {
    (*block).c += outer(left_slice[left], right_slice[right]);
}

fn part(block: Block, index: u32) -> mat4x4<f32> {
    return block.c;
}
