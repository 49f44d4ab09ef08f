//! The limits of a dispatch.

use std::ops::Range;

use crate::{
    Error,
    format::{BINDING_ALIGNMENT, BINDING_STEP, Encoding},
};

/// Elements that one workgroup updates.
pub(crate) const BLOCK: u64 = 1024;

/// A binding must hold at least this many blocks. A window takes at least a quarter of a binding,
/// wherever it begins.
pub(super) const LEAST_BLOCKS: u64 = 4;

/// The limits of a dispatch. [`Options::limits`](crate::Options::limits) can set them below the
/// device's own. Tests do so, to get many seams in small buffers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DispatchLimits {
    /// Most bytes of one storage binding. At least 16 KiB.
    pub binding_bytes: u64,
    /// A binding's offset is a multiple of this many bytes. It is a power of two, at most 256.
    pub offset_alignment: u64,
    /// Most workgroups along one dimension of a dispatch. At least 1.
    pub workgroups_per_dimension: u32,
}

impl DispatchLimits {
    /// The limits of a device.
    pub fn of(limits: &wgpu::Limits) -> Self {
        Self {
            binding_bytes: limits.max_storage_buffer_binding_size,
            offset_alignment: u64::from(limits.min_storage_buffer_offset_alignment),
            workgroups_per_dimension: limits.max_compute_workgroups_per_dimension,
        }
    }

    /// Refuses limits that no device has, or that exceed `device`.
    pub(crate) fn check(&self, device: &Self) -> Result<(), Error> {
        let refuse = |what: &str, needed: u64, limit, allowed: u64| {
            Err(Error::Limit {
                what: format!("Options::limits.{what}"),
                needed,
                limit,
                allowed,
            })
        };
        let size = "max_storage_buffer_binding_size";
        if self.binding_bytes > device.binding_bytes {
            return refuse(
                "binding_bytes",
                self.binding_bytes,
                size,
                device.binding_bytes,
            );
        }
        let least = LEAST_BLOCKS * Encoding::F32.bytes(BLOCK);
        if self.binding_bytes < least {
            return Err(Error::Limit {
                what: "one dispatch".to_owned(),
                needed: least,
                limit: size,
                allowed: self.binding_bytes,
            });
        }
        let alignment = "min_storage_buffer_offset_alignment";
        let possible = self.offset_alignment.is_power_of_two()
            && (device.offset_alignment..=BINDING_ALIGNMENT).contains(&self.offset_alignment);
        if !possible {
            return refuse(
                "offset_alignment (a power of two up to 256)",
                self.offset_alignment,
                alignment,
                device.offset_alignment,
            );
        }
        let most = u64::from(device.workgroups_per_dimension);
        let found = u64::from(self.workgroups_per_dimension);
        let limit = "max_compute_workgroups_per_dimension";
        if found > most {
            return refuse("workgroups_per_dimension", found, limit, most);
        }
        if found == 0 {
            return Err(Error::Limit {
                what: "one dispatch".to_owned(),
                needed: 1,
                limit,
                allowed: found,
            });
        }
        Ok(())
    }

    /// The smallest binding that holds `bytes`.
    pub(crate) fn binding_of(&self, bytes: &Range<u64>) -> Range<u64> {
        let start = bytes.start - bytes.start % self.offset_alignment;
        start..bytes.end.next_multiple_of(BINDING_STEP)
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{TINY, WIDE};
    use super::*;

    #[test]
    fn limits_that_cannot_work_are_refused() {
        assert_eq!(TINY.check(&WIDE), Ok(()));
        assert_eq!(WIDE.check(&WIDE), Ok(()));
        let wrong = [
            DispatchLimits {
                binding_bytes: 256 << 20,
                ..WIDE
            },
            DispatchLimits {
                binding_bytes: 4096,
                ..WIDE
            },
            DispatchLimits {
                offset_alignment: 128,
                ..WIDE
            },
            DispatchLimits {
                offset_alignment: 0,
                ..WIDE
            },
            DispatchLimits {
                offset_alignment: 512,
                ..WIDE
            },
            DispatchLimits {
                workgroups_per_dimension: 0,
                ..WIDE
            },
            DispatchLimits {
                workgroups_per_dimension: 65_536,
                ..WIDE
            },
        ];
        for limits in wrong {
            assert!(
                matches!(limits.check(&WIDE), Err(Error::Limit { .. })),
                "{limits:?}"
            );
        }
    }
}
