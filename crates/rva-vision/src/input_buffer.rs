//! Memory of network inputs, used again and again: a fresh allocation of some megabytes costs as much as filling it,
//! since the system hands it out page by page.

use std::{
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex, PoisonError},
};

/// Buffers that wait to be used again. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct InputBuffers(Arc<Mutex<Vec<Vec<f32>>>>);

/// The number of buffers that are kept. More are in use only while a pipeline has more frames in flight.
const KEPT_MAX: usize = 8;

impl InputBuffers {
    /// Takes a buffer of this length. It holds values left over from before: the caller writes every one.
    pub fn take(&self, length: usize) -> InputBuffer {
        let mut values = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
        values.resize(length, 0.0);
        InputBuffer { values, home: Some(self.clone()) }
    }

    fn put_back(&self, values: Vec<f32>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < KEPT_MAX {
            kept.push(values);
        }
    }
}

/// Values of a network input; their memory goes back to where it came from.
#[derive(Debug)]
pub struct InputBuffer {
    values: Vec<f32>,
    home: Option<InputBuffers>,
}

impl From<Vec<f32>> for InputBuffer {
    fn from(values: Vec<f32>) -> Self {
        Self { values, home: None }
    }
}

/// Makes a copy that belongs to nobody.
impl Clone for InputBuffer {
    fn clone(&self) -> Self {
        self.values.clone().into()
    }
}

impl PartialEq for InputBuffer {
    fn eq(&self, other: &Self) -> bool {
        self.values == other.values
    }
}

impl Deref for InputBuffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.values
    }
}

impl DerefMut for InputBuffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.values
    }
}

impl Drop for InputBuffer {
    fn drop(&mut self) {
        if let Some(home) = &self.home {
            home.put_back(std::mem::take(&mut self.values));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_buffer_is_used_again_and_a_copy_is_not() {
        let buffers = InputBuffers::default();
        let first = buffers.take(100);
        let at = first.as_ptr();
        let copy = first.clone();
        drop(first);
        drop(copy);
        let (second, third) = (buffers.take(100), buffers.take(100));
        assert_eq!(second.as_ptr(), at);
        assert_ne!(third.as_ptr(), at, "in use");
    }

    #[test]
    fn buffers_change_their_length_and_no_more_than_the_bound_are_kept() {
        let buffers = InputBuffers::default();
        drop(buffers.take(3));
        assert_eq!(buffers.take(5).len(), 5);
        assert_eq!(buffers.take(2).len(), 2);
        let many: Vec<_> = (0..2 * KEPT_MAX).map(|_| buffers.take(1)).collect();
        drop(many);
        assert_eq!(buffers.0.lock().unwrap().len(), KEPT_MAX);
    }
}
