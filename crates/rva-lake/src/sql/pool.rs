//! The memory of a query, shared by the operators that hold some of it.
//!
//! The engine's `FairSpillPool` gives each operator that can spill an equal part, and counts those that hold nothing yet:
//! the plan of `gold_zone_visits` has sixty, so with half of 2 GiB none could have more than 17 MiB, too little for the
//! groups of one camera's three hours.

use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The operators that there is room for, whoever holds memory: the first doesn't take all of it.
const HOLDERS_MIN: usize = 3;

/// The part of the memory that each operator may have though others hold all the rest: what it needs to spill anything.
const FLOOR_PART: usize = 64;

/// A pool whose memory is parted by those that hold some. An operator that spills is refused what goes beyond its part,
/// and spills then; one that can't is refused what isn't there.
#[derive(Debug)]
pub(super) struct HoldersPool {
    limit: usize,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    /// Bytes of operators that can spill, by the number of the operator; those with none aren't there.
    spilling: HashMap<usize, usize>,
    /// The sum of these.
    spillable: usize,
    /// Bytes of those that can't.
    unspillable: usize,
}

impl Held {
    fn grow(&mut self, consumer: &MemoryConsumer, additional: usize) {
        if !consumer.can_spill() {
            self.unspillable += additional;
        } else if additional > 0 {
            *self.spilling.entry(consumer.id()).or_default() += additional;
            self.spillable += additional;
        }
    }

    fn shrink(&mut self, consumer: &MemoryConsumer, bytes: usize) {
        if !consumer.can_spill() {
            self.unspillable = self.unspillable.saturating_sub(bytes);
        } else if let Some(own) = self.spilling.get_mut(&consumer.id()) {
            let gone = bytes.min(*own);
            *own -= gone;
            if *own == 0 {
                self.spilling.remove(&consumer.id());
            }
            self.spillable = self.spillable.saturating_sub(gone);
        }
    }

    /// Returns how much more a consumer may have.
    fn left(&self, consumer: &MemoryConsumer, limit: usize) -> usize {
        let free = limit.saturating_sub(self.spillable + self.unspillable);
        if !consumer.can_spill() {
            return free;
        }
        let own = self.spilling.get(&consumer.id()).copied().unwrap_or_default();
        let holders = self.spilling.len() + usize::from(own == 0);
        let part = limit.saturating_sub(self.unspillable) / holders.max(HOLDERS_MIN);
        let floor = limit / FLOOR_PART;
        part.saturating_sub(own).min(free).max(floor.saturating_sub(own))
    }
}

impl HoldersPool {
    /// Makes a pool of that many bytes.
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, held: Mutex::default() }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MemoryPool for HoldersPool {
    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.held().grow(reservation.consumer(), additional);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.held().shrink(reservation.consumer(), shrink);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        let consumer = reservation.consumer();
        let mut held = self.held();
        let left = held.left(consumer, self.limit);
        if additional > left {
            return Err(DataFusionError::ResourcesExhausted(format!(
                "found {additional} bytes more wanted by {}, which holds {} and may have {left} more",
                consumer.name(),
                reservation.size()
            )));
        }
        held.grow(consumer, additional);
        Ok(())
    }

    fn reserved(&self) -> usize {
        let held = self.held();
        held.spillable + held.unspillable
    }

    fn memory_limit(&self) -> MemoryLimit {
        MemoryLimit::Finite(self.limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn memory_is_parted_by_those_that_hold_some() {
        let pool: Arc<dyn MemoryPool> = Arc::new(HoldersPool::new(6400));
        let spilling = |name: &str| MemoryConsumer::new(name).with_can_spill(true).register(&pool);
        let (one, two, three, four) = (spilling("one"), spilling("two"), spilling("three"), spilling("four"));
        let idle: Vec<_> = (0..60).map(|number| spilling(&format!("idle {number}"))).collect();
        one.try_grow(2133).unwrap();
        assert!(one.try_grow(1).is_err(), "there is room for two more");
        two.try_grow(2133).unwrap();
        three.try_grow(2134 - 1).unwrap();
        four.try_grow(1).unwrap();
        assert!(four.try_grow(100).is_err(), "a hundred is what each may have, and it has one of them");
        four.try_grow(99).unwrap();
        assert!(one.try_grow(1).is_err(), "it is beyond its part now");
        assert_eq!(pool.reserved(), 3 * 2133 + 100);

        let fixed = MemoryConsumer::new("fixed").register(&pool);
        assert!(fixed.try_grow(1).is_err(), "nothing is left");
        one.free();
        two.free();
        fixed.try_grow(4000).unwrap();
        assert!(fixed.try_grow(1000).is_err());
        assert!(four.try_grow(800).is_err(), "the third of what the other can't give back");
        four.try_grow(60).unwrap();
        drop((three, four, fixed, idle));
        assert_eq!(pool.reserved(), 0);
        one.try_grow(2133).unwrap();
    }
}
