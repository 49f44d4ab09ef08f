//! The memory of parameters, gradients and state.

use std::ops::{Deref, DerefMut};

use crate::{Error, memory::reserved, rule::Real};

/// Elements that one thread takes at a time.
pub(super) const CHUNK: usize = 16 * 1024;

/// How many elements later in its memory page each array begins than the one before.
///
/// A large allocation begins at the same place of its page as any other. A step goes through its
/// arrays side by side. Without this shift, all of them would compete for the same few lines of the
/// nearest cache.
const SHIFT: usize = 256;

/// An array that a step goes through side by side with others.
#[derive(Debug, Clone)]
pub(super) struct Values<T> {
    values: Vec<T>,
    start: usize,
}

impl<T: Real> Values<T> {
    /// `count` zeros. `index` is the array's number among those that a step goes through together.
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
    let mut values = reserved(count, what)?;
    values.resize(count, T::zero());
    Ok(values)
}
