//! A plan that a test writes down: this fault for the next request, that one for the one after.

use super::catalog::{CatalogFaults, LoadFault, RequestFault};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

#[derive(Debug, Default)]
struct State {
    requests: VecDeque<Option<RequestFault>>,
    loads_failing: u32,
    /// The answered loads after which late requests are applied.
    lands_in: u32,
}

/// Faults in the order in which they were written down, then none. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Script(Arc<Mutex<State>>);

impl Script {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Lets these happen to the next requests, in order; a `None` passes. A late one is applied before the second load
    /// from then: too late for the first look.
    pub fn on_requests(&self, faults: impl IntoIterator<Item = Option<RequestFault>>) {
        self.state().requests.extend(faults);
    }

    /// Lets so many of the next loads fail.
    pub fn fail_loads(&self, count: u32) {
        self.state().loads_failing = count;
    }

    /// Forgets what is still written down.
    pub fn clear(&self) {
        *self.state() = State::default();
    }
}

#[async_trait::async_trait]
impl CatalogFaults for Script {
    async fn on_request(&self) -> Option<RequestFault> {
        let mut state = self.state();
        let fault = state.requests.pop_front().flatten();
        if fault == Some(RequestFault::Late) {
            state.lands_in = 1;
        }
        fault
    }

    async fn on_load(&self) -> Option<LoadFault> {
        let mut state = self.state();
        let left = state.loads_failing.checked_sub(1)?;
        state.loads_failing = left;
        Some(LoadFault::Away)
    }

    fn lands(&self) -> bool {
        let mut state = self.state();
        let now = state.lands_in == 0;
        state.lands_in = state.lands_in.saturating_sub(1);
        now
    }
}
