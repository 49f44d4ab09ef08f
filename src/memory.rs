//! Memory of the host that may not be there.

use crate::Error;

/// Memory for `count` numbers.
///
/// # Errors
/// [`Error::OutOfMemory`].
pub(crate) fn reserved<T>(count: usize, what: &str) -> Result<Vec<T>, Error> {
    let mut values = Vec::new();
    let reserved = values.try_reserve_exact(count);
    reserved.map_err(|_| Error::OutOfMemory {
        what: format!("{count} {what}"),
    })?;
    Ok(values)
}
