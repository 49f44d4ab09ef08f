//! Limits and sizes to test with.

use super::limits::DispatchLimits;

pub(super) const TINY: DispatchLimits = DispatchLimits {
    binding_bytes: 16 * 1024,
    offset_alignment: 256,
    workgroups_per_dimension: 3,
};

pub(super) const WIDE: DispatchLimits = DispatchLimits {
    binding_bytes: 128 << 20,
    offset_alignment: 256,
    workgroups_per_dimension: 65_535,
};

pub(super) const COUNTS: [u64; 11] = [1, 3, 4, 5, 255, 256, 257, 1023, 1024, 1025, 9001];
