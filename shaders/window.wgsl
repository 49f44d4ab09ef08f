// Where a dispatch's part of the state begins, in units of UNIT elements: x in that of all groups,
// y in that of its own. Every tensor starts at a unit.
@group(0) @binding(14) var<uniform> window: vec4<u32>;
