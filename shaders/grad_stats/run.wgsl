// Gradients that have one norm: those of a parameter group, or of a tensor. Host side:
// src/gpu/records.rs.
struct Run {
    first: u32,         // its partial sums
    count: u32,
    group: u32,
    first_unit: u32,    // its units of elements in the group, if it is a tensor
    units: u32,
    largest: u32,       // bits of the largest magnitude
    squares: f32,       // sum of squares, each divided by 2^exponent before
    exponent: i32,      // 0 unless squares would overflow or vanish
}

// 2^exponent for -126 … 127, exactly.
fn power_of_two(exponent: i32) -> f32 {
    return bitcast<f32>(u32(exponent + 127) << 23u);
}
