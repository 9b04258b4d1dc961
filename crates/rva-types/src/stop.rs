//! The request to stop.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// A request to stop, shared by everything that runs: clones are the same flag. It can't be taken back.
///
/// What decodes ends, and what was decoded is still processed and delivered; what commits finishes its commit.
#[derive(Debug, Clone, Default)]
pub struct StopFlag(Arc<AtomicBool>);

impl StopFlag {
    /// Makes a flag that nothing but [`StopFlag::stop`] sets.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks everything to stop.
    pub fn stop(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Returns whether a stop was asked for.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    /// Returns the flag itself, for signal actions, which know only that.
    pub fn shared(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_are_the_same_flag() {
        let stop = StopFlag::new();
        let other = stop.clone();
        assert!(!other.is_set());
        stop.stop();
        assert!(other.is_set() && other.shared().load(Ordering::SeqCst));
    }
}
