// An arena: parameters, gradients and state share one indexing, padded to whole workgroups.

fn locate(workgroup: vec3<u32>, grid: vec3<u32>, lane: u32) -> Place {
    let first = (workgroup.x * 256u + lane) * 4u;
    return Place(first, first, first, 4u);
}
