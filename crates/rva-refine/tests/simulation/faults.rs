//! Kills at steps of commits, and a catalog whose answers can't be relied on.

use crate::world::Random;
use rva_lake::StepObserver;
use rva_testkit::lake::{RequestFault, Script};
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

#[derive(Debug, Default)]
struct Plan {
    /// Steps until the kill.
    kill_in: Option<u64>,
}

/// What is planned. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    kill: Arc<Mutex<Plan>>,
    /// What happens to swaps.
    pub swaps: Script,
}

impl Faults {
    pub fn plan(&self, random: &mut Random) {
        self.clear();
        self.kill.lock().unwrap().kill_in = (random.below(3) > 0).then(|| random.below(110));
        self.swaps.on_requests((0..random.below(16)).map(|_| match random.below(12) {
            0 => Some(RequestFault::RequestLost),
            1 => Some(RequestFault::ResponseLost),
            2 => Some(RequestFault::Lie),
            3 => Some(RequestFault::Conflict),
            _ => None,
        }));
    }

    pub fn clear(&self) {
        *self.kill.lock().unwrap() = Plan::default();
        self.swaps.clear();
    }

    /// Panics where the kill is planned.
    pub fn observer(&self) -> StepObserver {
        let faults = self.clone();
        Arc::new(move |_| {
            let mut plan = faults.kill.lock().unwrap();
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
}
