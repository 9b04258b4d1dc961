//! The cameras as a part of a service's health.

use super::{
    CameraState, Supervisor,
    metrics::{METRICS, Seen},
};
use rva_service::{Health, Totals};
use std::collections::BTreeSet;

/// Names all cameras together as a part of the health.
const CAMERAS: &str = "cameras";
/// Names the place where records go as a part of it.
const SINK: &str = "sink";

/// A look that tells a [`Health`] how cameras are: a camera that waits is something to know; a service is unready where
/// none of its cameras runs, and where records wait for their sink.
#[derive(Debug)]
pub struct CameraHealth {
    health: Health,
    told: BTreeSet<String>,
    seen: Totals<Seen>,
}

impl CameraHealth {
    /// Makes the look of a service, which shows the cameras' counts at `/metrics` from now on.
    pub fn new(health: Health) -> Self {
        let seen = Totals::of(METRICS);
        health.show(seen.clone());
        Self { health, told: BTreeSet::new(), seen }
    }

    /// Looks at all cameras and tells what changed.
    pub fn look(&mut self, supervisor: &Supervisor) {
        let (mut waiting, mut running, mut ended, mut blocked) = (Vec::new(), 0, 0, 0);
        let views = supervisor.views();
        for view in &views {
            match &*view.state.borrow() {
                CameraState::Running { .. } => running += 1,
                CameraState::Ended => ended += 1,
                CameraState::Opening => waiting.push((view.camera_id.to_string(), "opening its source".to_owned())),
                CameraState::Waiting { why, .. } => waiting.push((view.camera_id.to_string(), why.clone())),
            }
            blocked += usize::from(view.progress.borrow().sink_waits);
        }
        *self.seen.latest() = views;
        match waiting.first() {
            Some((id, why)) if running == 0 && ended == 0 => {
                let text = format!("none of {} runs; {id}: {why}", waiting.len());
                self.health.not_ready(CAMERAS, text);
            }
            _ => self.health.ready(CAMERAS),
        }
        match blocked {
            0 => self.health.ready(SINK),
            count => {
                self.health.not_ready(SINK, format!("records of {count} cameras wait for it: {SINK} full or away"))
            }
        }
        let now: BTreeSet<String> = waiting.iter().map(|(id, _)| format!("camera {id}")).collect();
        self.told.difference(&now).for_each(|part| self.health.ready(part));
        for (id, why) in waiting {
            self.health.degraded(format!("camera {id}"), why);
        }
        self.told = now;
    }
}
