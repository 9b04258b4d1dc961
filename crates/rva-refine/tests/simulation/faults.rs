//! Kills at steps of commits, and a catalog whose answers can't be relied on.

use crate::world::Random;
use iceberg::{Error, ErrorKind, TableIdent, TableRequirement, TableUpdate};
use rva_lake::{StepObserver, SwapMetadata};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// What a kill panics with.
pub struct Killed;

static KILLS: AtomicU64 = AtomicU64::new(0);

/// How many there were.
pub fn kills() -> u64 {
    KILLS.load(Ordering::Relaxed)
}

/// Kills are no news; every other panic is.
pub fn quiet_kills() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if info.payload().downcast_ref::<Killed>().is_none() {
            before(info);
        }
    }));
}

/// What happens to a swap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    None,
    RequestLost,
    ResponseLost,
    Lie,
    Conflict,
}

#[derive(Debug, Default)]
struct Plan {
    /// Steps until the kill.
    kill_in: Option<u64>,
    swaps: VecDeque<Fault>,
}

/// What is planned. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Faults(Arc<Mutex<Plan>>);

impl Faults {
    pub fn plan(&self, random: &mut Random) {
        let mut plan = self.0.lock().unwrap();
        plan.kill_in = (random.below(3) > 0).then(|| random.below(110));
        plan.swaps = (0..random.below(16))
            .map(|_| match random.below(12) {
                0 => Fault::RequestLost,
                1 => Fault::ResponseLost,
                2 => Fault::Lie,
                3 => Fault::Conflict,
                _ => Fault::None,
            })
            .collect();
    }

    pub fn clear(&self) {
        *self.0.lock().unwrap() = Plan::default();
    }

    /// Panics where the kill is planned.
    pub fn observer(&self) -> StepObserver {
        let faults = self.clone();
        Arc::new(move |_| {
            let mut plan = faults.0.lock().unwrap();
            match plan.kill_in {
                Some(0) => {
                    plan.kill_in = None;
                    drop(plan);
                    KILLS.fetch_add(1, Ordering::Relaxed);
                    std::panic::panic_any(Killed);
                }
                Some(steps) => plan.kill_in = Some(steps - 1),
                None => {}
            }
        })
    }

    fn next(&self) -> Fault {
        self.0.lock().unwrap().swaps.pop_front().unwrap_or(Fault::None)
    }
}

/// Passes on, but for planned faults.
#[derive(Debug)]
pub struct FaultySwap {
    pub inner: Arc<dyn SwapMetadata>,
    pub faults: Faults,
}

#[async_trait::async_trait]
impl SwapMetadata for FaultySwap {
    async fn swap(
        &self,
        table: &TableIdent,
        requirements: Vec<TableRequirement>,
        updates: Vec<TableUpdate>,
    ) -> iceberg::Result<()> {
        let lost = || Err(Error::new(ErrorKind::Unexpected, "injected"));
        match self.faults.next() {
            Fault::None => self.inner.swap(table, requirements, updates).await,
            Fault::RequestLost => lost(),
            Fault::ResponseLost => {
                self.inner.swap(table, requirements, updates).await?;
                lost()
            }
            Fault::Lie => Ok(()),
            Fault::Conflict => {
                Err(Error::new(ErrorKind::CatalogCommitConflicts, "injected conflict").with_retryable(true))
            }
        }
    }
}
