//! Memory of the host that may not be there.

use crate::Error;

/// Memory for `count` numbers.
///
/// # Errors
/// [`Error::OutOfMemory`].
pub(crate) fn reserved<T>(count: usize, what: &str) -> Result<Vec<T>, Error> {
    let mut values = Vec::new();
    reserve(&mut values, count, what)?;
    Ok(values)
}

/// Room for `count` numbers in `values`, those that are there counted.
///
/// # Errors
/// [`Error::OutOfMemory`].
pub(crate) fn reserve<T>(values: &mut Vec<T>, count: usize, what: &str) -> Result<(), Error> {
    let more = count.saturating_sub(values.len());
    let reserved = values.try_reserve_exact(more);
    reserved.map_err(|_| Error::OutOfMemory {
        what: format!("{count} {what}"),
    })
}
