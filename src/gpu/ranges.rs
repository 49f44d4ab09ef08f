//! Checks that a caller's ranges fit the layout and each other.

use super::binding::numbered;
use crate::{
    BufferRange, Error, Layout, Options,
    buffer::check_owned,
    format::{Encoding, Storage},
    layout::TensorEntry,
};

/// A tensor and a range for it.
type Placed<'a> = (&'a TensorEntry, &'a BufferRange);

/// Checks parameters: one range per tensor, of the tensor's size, none overlapping another.
pub(super) fn check_params(layout: &Layout, params: &[BufferRange]) -> Result<(), Error> {
    let params = each(layout, params, "parameter")?;
    check_fit(layout, &params, "parameter", |storage| storage.params)?;
    check_apart(params, "parameter")
}

fn check_apart(placed: Vec<Placed<'_>>, role: &str) -> Result<(), Error> {
    for pair in by_address(placed).windows(2) {
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
    let placed = each(layout, grads, "gradient")?;
    check_fit(layout, &placed, "gradient", |storage| storage.grads)?;
    if options.zero_grad {
        check_apart(placed, "gradient")?;
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
    let params = by_address(layout.tensors.iter().zip(params).collect());
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

/// Checks copies of parameters: one range per tensor whose group has a copy, of the copy's size, none
/// overlapping another. Returns one of each tensor; those that are `None` are not the caller's.
pub(super) fn checked_copies(
    device: &wgpu::Device,
    layout: &Layout,
    params: &[BufferRange],
    copies: Option<Vec<BufferRange>>,
) -> Result<Vec<Option<BufferRange>>, Error> {
    let Some(copies) = copies else {
        return Ok(vec![None; layout.tensors.len()]);
    };
    let has_copy = |tensor: &&TensorEntry| layout.storage(tensor.group).copy().is_some();
    let expected = layout.tensors.iter().filter(has_copy).count();
    if copies.len() != expected {
        return Err(Error::Length {
            what: "copy ranges, one per tensor whose group has a copy".to_owned(),
            expected,
            actual: copies.len(),
        });
    }
    let mut copies = copies.into_iter();
    let of_each = layout.tensors.iter().map(|tensor| {
        let has_copy = has_copy(&tensor);
        has_copy.then(|| copies.next()).flatten()
    });
    let of_each: Vec<_> = of_each.collect();
    let placed = copied(layout, &of_each);
    check_fit(layout, &placed, "copy", |storage| {
        storage.copy().unwrap_or_default()
    })?;
    check_owners(device, placed.iter().copied(), "copy")?;
    check_apart(placed, "copy")?;
    check_copies_apart(layout, &of_each, params, "parameter")?;
    Ok(of_each)
}

/// Refuses copies in a buffer of `others`. One dispatch would write the buffer through two bindings, which
/// must not overlap, and so could be of few elements each.
pub(super) fn check_copies_apart(
    layout: &Layout,
    copies: &[Option<BufferRange>],
    others: &[BufferRange],
    role: &str,
) -> Result<(), Error> {
    let copies = copied(layout, copies);
    if copies.is_empty() {
        return Ok(());
    }
    let others = by_address(layout.tensors.iter().zip(others).collect());
    for (tensor, copy) in copies {
        let first = others.partition_point(|(_, range)| range.buffer < copy.buffer);
        if let Some((other, range)) = others.get(first)
            && range.buffer == copy.buffer
        {
            let what = format!("copy of {:?}", tensor.name);
            let problem = format!(
                "it is in the buffer of the {role} of {:?}; expected a buffer without parameters and gradients",
                other.name
            );
            return Err(Error::range(what, problem));
        }
    }
    Ok(())
}

/// Tensors with a caller's copy.
fn copied<'a>(layout: &'a Layout, copies: &'a [Option<BufferRange>]) -> Vec<Placed<'a>> {
    let tensors = layout.tensors.iter().zip(copies);
    tensors
        .filter_map(|(tensor, copy)| Some((tensor, copy.as_ref()?)))
        .collect()
}

/// Sorted by buffer and offset.
fn by_address(mut placed: Vec<Placed<'_>>) -> Vec<Placed<'_>> {
    placed.sort_by_key(|(_, range)| (&range.buffer, range.offset));
    placed
}

/// Refuses ranges in buffers of another device.
pub(super) fn check_owners<'a>(
    device: &wgpu::Device,
    placed: impl IntoIterator<Item = Placed<'a>>,
    role: &str,
) -> Result<(), Error> {
    let placed: Vec<_> = placed.into_iter().collect();
    let buffers = numbered(placed.iter().map(|(_, range)| &range.buffer));
    if check_owned(device, buffers, String::new).is_ok() {
        return Ok(());
    }
    for (tensor, range) in placed {
        let what = || format!("the {role} of {:?}", tensor.name);
        check_owned(device, [&range.buffer], what)?;
    }
    Ok(())
}

/// One range for each tensor.
fn each<'a>(
    layout: &'a Layout,
    ranges: &'a [BufferRange],
    role: &str,
) -> Result<Vec<Placed<'a>>, Error> {
    if ranges.len() != layout.tensors.len() {
        return Err(Error::Length {
            what: format!("{role} ranges, one per tensor"),
            expected: layout.tensors.len(),
            actual: ranges.len(),
        });
    }
    Ok(layout.tensors.iter().zip(ranges).collect())
}

fn check_fit(
    layout: &Layout,
    placed: &[Placed<'_>],
    role: &str,
    encoding: fn(&Storage) -> Encoding,
) -> Result<(), Error> {
    for (tensor, range) in placed {
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
