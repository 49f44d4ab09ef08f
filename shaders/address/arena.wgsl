// An arena: parameters, gradients and state share one indexing, padded to whole workgroups.

fn locate(block: u32, lane: u32) -> Place {
    let first = (block * 256u + lane) * 4u;
    return Place(first, first, first, 4u);
}
