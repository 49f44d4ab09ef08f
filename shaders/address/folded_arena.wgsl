// An arena of more workgroups than fit along x. Reading the grid costs 4 % on lavapipe, so smaller
// arenas do without.

fn locate(workgroup: vec3<u32>, grid: vec3<u32>, lane: u32) -> Place {
    let block = workgroup.y * grid.x + workgroup.x;
    let first = (block * 256u + lane) * 4u;
    return Place(first, first, first, 4u);
}
