//! Memory of parameters, gradients and state.

use std::ops::{Deref, DerefMut};

use crate::{Error, rule::Real};

/// Elements that one thread takes at a time.
pub(super) const CHUNK: usize = 16 * 1024;

/// By how many elements an array begins later in its page than the one before.
///
/// Large allocations all begin alike in their pages. A step goes through its arrays abreast, and at
/// the same place of their pages all of them would need the same few lines of the nearest cache.
const SHIFT: usize = 256;

/// An array that is gone through abreast with others.
#[derive(Debug, Clone)]
pub(super) struct Values<T> {
    values: Vec<T>,
    start: usize,
}

impl<T: Real> Values<T> {
    /// `count` zeros, in the array of that `index` among those that belong together.
    pub fn zeros(count: usize, index: usize, what: &str) -> Result<Self, Error> {
        let start = if count == 0 { 0 } else { index * SHIFT };
        Ok(Self {
            values: zeros(start + count, what)?,
            start,
        })
    }
}

impl<T> Deref for Values<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.values[self.start..]
    }
}

impl<T> DerefMut for Values<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.values[self.start..]
    }
}

pub(super) fn zeros<T: Real>(count: usize, what: &str) -> Result<Vec<T>, Error> {
    let mut values = Vec::new();
    let reserved = values.try_reserve_exact(count);
    reserved.map_err(|_| Error::OutOfMemory {
        what: format!("{count} {what}"),
    })?;
    values.resize(count, T::zero());
    Ok(values)
}
