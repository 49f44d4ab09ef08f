//! Usages of this crate's own buffers, and checks that they fit the device.

use crate::Error;

/// Usages of this crate's own arenas and tables.
pub(super) const ARENA_USAGE: wgpu::BufferUsages = wgpu::BufferUsages::STORAGE
    .union(wgpu::BufferUsages::COPY_SRC)
    .union(wgpu::BufferUsages::COPY_DST);

pub(super) fn check_buffer_size(
    device: &wgpu::Device,
    what: &str,
    bytes: u64,
) -> Result<(), Error> {
    let allowed = device.limits().max_buffer_size;
    if bytes <= allowed {
        return Ok(());
    }
    Err(Error::Limit {
        what: what.to_owned(),
        needed: bytes,
        limit: "max_buffer_size",
        allowed,
    })
}

/// Refuses a table that is too large to be bound as a whole.
pub(super) fn check_binding_size(
    device: &wgpu::Device,
    what: &str,
    bytes: u64,
) -> Result<(), Error> {
    check_buffer_size(device, what, bytes)?;
    let allowed = device.limits().max_storage_buffer_binding_size;
    if bytes <= allowed {
        return Ok(());
    }
    Err(Error::Limit {
        what: what.to_owned(),
        needed: bytes,
        limit: "max_storage_buffer_binding_size",
        allowed,
    })
}

/// Storage bindings that one shader may have.
pub(super) fn most_bindings(device: &wgpu::Device) -> u64 {
    u64::from(device.limits().max_storage_buffers_per_shader_stage)
}

/// Refuses an update with more storage bindings than one shader may have.
pub(super) fn check_binding_count(
    device: &wgpu::Device,
    rule: &str,
    slots: usize,
    needed: u64,
) -> Result<(), Error> {
    let allowed = most_bindings(device);
    if needed <= allowed {
        return Ok(());
    }
    Err(Error::Limit {
        what: format!(
            "rule {rule} with {slots} values per parameter (its flags, Options::average, \
             Clip::TensorNorm and a caller's own ranges each take a binding)"
        ),
        needed,
        limit: "max_storage_buffers_per_shader_stage",
        allowed,
    })
}
