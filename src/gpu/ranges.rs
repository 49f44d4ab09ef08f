//! Checks that a caller's ranges fit the layout and each other.

use super::binding::numbered;
use crate::{
    BufferRange, Error, Layout, Options,
    buffer::check_owned,
    format::{Encoding, Storage},
    layout::TensorEntry,
};

/// Checks parameters: one range per tensor, of the tensor's size, none overlapping another.
pub(super) fn check_params(layout: &Layout, params: &[BufferRange]) -> Result<(), Error> {
    check_each(layout, params, "parameter", |storage| storage.params)?;
    check_apart(layout, params, "parameter")
}

fn check_apart(layout: &Layout, ranges: &[BufferRange], role: &str) -> Result<(), Error> {
    for pair in by_address(layout, ranges).windows(2) {
        let [(first, a), (second, b)] = [pair[0], pair[1]];
        if a.buffer == b.buffer && a.offset + a.size > b.offset {
            return Err(overlap((role, first, a), (role, second, b)));
        }
    }
    Ok(())
}

/// Checks gradients: one range per tensor, of the tensor's size, none overlapping a parameter.
/// Several tensors may share one gradient. With `zero_grad` they may not, since the first update
/// would zero it for the others.
pub(super) fn check_grads(
    layout: &Layout,
    params: &[BufferRange],
    grads: &[BufferRange],
    options: &Options,
) -> Result<(), Error> {
    check_each(layout, grads, "gradient", |storage| storage.grads)?;
    if options.zero_grad {
        check_apart(layout, grads, "gradient")?;
    }
    for (tensor, (param, grad)) in layout.tensors.iter().zip(params.iter().zip(grads)) {
        let Storage { params, grads, .. } = layout.storage(tensor.group);
        if param.buffer == grad.buffer && params != grads {
            let what = format!("gradient of {:?}", tensor.name);
            let problem = format!(
                "it is {grads:?} in the buffer of its parameters, which are {params:?}; expected a buffer of its own"
            );
            return Err(Error::range(what, problem));
        }
    }
    let params = by_address(layout, params);
    for (of, grad) in layout.tensors.iter().zip(grads) {
        // Parameters do not overlap one another. So only the last one that begins before the
        // gradient's end can overlap the gradient.
        let end = (&grad.buffer, grad.offset + grad.size);
        let before = params.partition_point(|(_, param)| (&param.buffer, param.offset) < end);
        let Some(&(tensor, param)) = before.checked_sub(1).map(|last| &params[last]) else {
            continue;
        };
        if param.buffer == grad.buffer && param.offset + param.size > grad.offset {
            return Err(overlap(
                ("gradient", of, grad),
                ("parameter", tensor, param),
            ));
        }
    }
    Ok(())
}

/// Tensors and their ranges, sorted by buffer and offset.
fn by_address<'a>(
    layout: &'a Layout,
    ranges: &'a [BufferRange],
) -> Vec<(&'a TensorEntry, &'a BufferRange)> {
    let mut tensors: Vec<_> = layout.tensors.iter().zip(ranges).collect();
    tensors.sort_by_key(|(_, range)| (&range.buffer, range.offset));
    tensors
}

/// Refuses ranges in buffers of another device.
pub(super) fn check_owners(
    device: &wgpu::Device,
    layout: &Layout,
    ranges: &[BufferRange],
    role: &str,
) -> Result<(), Error> {
    let buffers = numbered(ranges.iter().map(|range| &range.buffer));
    if check_owned(device, buffers, String::new).is_ok() {
        return Ok(());
    }
    for (tensor, range) in layout.tensors.iter().zip(ranges) {
        let what = || format!("the {role} of {:?}", tensor.name);
        check_owned(device, [&range.buffer], what)?;
    }
    Ok(())
}

fn check_each(
    layout: &Layout,
    ranges: &[BufferRange],
    role: &str,
    encoding: fn(&Storage) -> Encoding,
) -> Result<(), Error> {
    if ranges.len() != layout.tensors.len() {
        return Err(Error::Length {
            what: format!("{role} ranges, one per tensor"),
            expected: layout.tensors.len(),
            actual: ranges.len(),
        });
    }
    for (tensor, range) in layout.tensors.iter().zip(ranges) {
        let what = format!("{role} of {:?}", tensor.name);
        let encoding = encoding(&layout.storage(tensor.group));
        let expected = encoding.range_bytes(tensor.element_count as u64);
        if range.size != expected {
            let shape = &tensor.shape;
            let size = range.size;
            let problem = format!("shape {shape:?} takes {expected} bytes, the range has {size}");
            return Err(Error::range(what, problem));
        }
        range.check(&what, wgpu::BufferUsages::STORAGE)?;
    }
    Ok(())
}

type Place<'a> = (&'a str, &'a TensorEntry, &'a BufferRange);

fn overlap((role, tensor, range): Place<'_>, (other_role, other, other_range): Place<'_>) -> Error {
    let bytes =
        |range: &BufferRange| format!("bytes {}..{}", range.offset, range.offset + range.size);
    Error::range(
        format!("{role} of {:?}", tensor.name),
        format!(
            "{} overlap {} of the {other_role} of {:?} in the same buffer",
            bytes(range),
            bytes(other_range),
            other.name
        ),
    )
}
