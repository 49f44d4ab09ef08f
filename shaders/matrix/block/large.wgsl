// What a thread computes: 8×8 elements, as four blocks, so that it uses each quad it loads twice.

const QUADS: u32 = 2u;

struct Block {
    c00: mat4x4<f32>,
    c01: mat4x4<f32>,
    c10: mat4x4<f32>,
    c11: mat4x4<f32>,
}

fn add_products(block: ptr<function, Block>, left: u32, right: u32) {
    let l0 = left_slice[left];
    let l1 = left_slice[left + SIDE];
    let r0 = right_slice[right];
    let r1 = right_slice[right + SIDE];
    (*block).c00 += outer(l0, r0);
    (*block).c01 += outer(l0, r1);
    (*block).c10 += outer(l1, r0);
    (*block).c11 += outer(l1, r1);
}

// The blocks, row by row.
fn part(block: Block, index: u32) -> mat4x4<f32> {
    if index == 0u { return block.c00; }
    if index == 1u { return block.c01; }
    if index == 2u { return block.c10; }
    return block.c11;
}
