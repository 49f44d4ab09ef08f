// Where a dispatch's part of the state begins, in units of UNIT elements: x in that of all groups,
// y in that of its own. Every tensor starts at a unit. z is what the random bits of rounding begin from.
@group(0) @binding(14) var<uniform> window: vec4<u32>;
