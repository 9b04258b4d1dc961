//! What a new configuration means for the cameras that run.

use super::CameraSpec;
use rva_types::CameraId;
use std::collections::BTreeMap;

/// Cameras by what happens to them; each is in at most one list, in the order of their ids.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// Begin.
    pub added: Vec<CameraId>,
    /// End, and begin anew as they are wanted now.
    pub changed: Vec<CameraId>,
    /// End.
    pub removed: Vec<CameraId>,
}

impl Changes {
    /// From what runs to what is wanted. Cameras that are the same in both are in no list.
    pub fn between(running: &BTreeMap<CameraId, CameraSpec>, wanted: &BTreeMap<CameraId, CameraSpec>) -> Self {
        let mut changes = Self::default();
        for (id, spec) in wanted {
            match running.get(id) {
                None => changes.added.push(id.clone()),
                Some(now) if now != spec => changes.changed.push(id.clone()),
                Some(_) => {}
            }
        }
        changes.removed.extend(running.keys().filter(|id| !wanted.contains_key(*id)).cloned());
        changes
    }

    /// Whether nothing happens.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.changed.is_empty() && self.removed.is_empty()
    }
}
