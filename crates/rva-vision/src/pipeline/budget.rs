//! Places and bytes for the frames in flight.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// A budget that bounds frames and bytes between decoding and delivery.
#[derive(Debug)]
pub(super) struct Budget {
    frames_max: usize,
    bytes_max: u64,
    used: Mutex<Used>,
    freed: Condvar,
}

#[derive(Debug, Default)]
struct Used {
    frames: usize,
    bytes: u64,
    closed: bool,
}

/// The place and bytes of a frame; dropping it gives them back.
#[derive(Debug)]
pub(super) struct Permit<'a> {
    budget: &'a Budget,
    bytes: u64,
}

/// A guard that closes the budget when a stage ends, however it ends: nobody would free what the stage before it waits
/// for.
#[derive(Debug)]
pub(super) struct CloseOnDrop<'a>(pub(super) &'a Budget);

impl Budget {
    pub(super) fn new(frames_max: usize, bytes_max: u64) -> Self {
        Self { frames_max, bytes_max, used: Mutex::default(), freed: Condvar::new() }
    }

    /// Waits for room; returns `None` when the budget is closed. A frame larger than all of `bytes_max` passes alone.
    pub(super) fn acquire(&self, bytes: u64) -> Option<Permit<'_>> {
        let used = self
            .freed
            .wait_while(self.lock(), |used| !used.closed && !self.has_room(used, bytes))
            .unwrap_or_else(PoisonError::into_inner);
        if used.closed { None } else { Some(self.take(used, bytes)) }
    }

    /// Takes room if there is some.
    pub(super) fn try_acquire(&self, bytes: u64) -> Option<Permit<'_>> {
        let used = self.lock();
        if !used.closed && self.has_room(&used, bytes) { Some(self.take(used, bytes)) } else { None }
    }

    /// Returns whether a later stage has ended.
    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    fn has_room(&self, used: &Used, bytes: u64) -> bool {
        used.frames == 0 || (used.frames < self.frames_max && used.bytes.saturating_add(bytes) <= self.bytes_max)
    }

    fn take(&self, mut used: MutexGuard<'_, Used>, bytes: u64) -> Permit<'_> {
        used.frames += 1;
        used.bytes += bytes;
        Permit { budget: self, bytes }
    }

    // The numbers are whole after each statement, so a panic elsewhere can't have left them half changed.
    fn lock(&self) -> MutexGuard<'_, Used> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let mut used = self.budget.lock();
        used.frames -= 1;
        used.bytes -= self.bytes;
        drop(used);
        self.budget.freed.notify_all();
    }
}

impl Drop for CloseOnDrop<'_> {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_and_bytes_are_both_bounds() {
        let budget = Budget::new(3, 100);
        let first = budget.try_acquire(60).unwrap();
        assert!(budget.try_acquire(41).is_none(), "101 of 100 bytes");
        let _second = budget.try_acquire(20).unwrap();
        let _third = budget.try_acquire(20).unwrap();
        assert!(budget.try_acquire(0).is_none(), "4 of 3 frames");
        drop(first);
        assert!(budget.try_acquire(60).is_some());
    }

    #[test]
    fn a_frame_larger_than_the_bound_passes_alone() {
        let budget = Budget::new(3, 100);
        let large = budget.try_acquire(1000).unwrap();
        assert!(budget.try_acquire(1).is_none());
        drop(large);
        let _small = budget.try_acquire(1).unwrap();
        assert!(budget.try_acquire(1000).is_none());
    }

    #[test]
    fn closing_wakes_who_waits() {
        let budget = Budget::new(1, 100);
        let _held = budget.acquire(1);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| budget.acquire(1).is_none());
            drop(CloseOnDrop(&budget));
            assert!(waiting.join().unwrap());
        });
        assert!(budget.is_closed());
    }
}
