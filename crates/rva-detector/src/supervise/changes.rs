//! Changes of the cameras that run, made of a new configuration.

use super::CameraSpec;
use rva_types::CameraId;
use std::collections::BTreeMap;

/// Cameras by their change; each is in at most one list, in the order of their ids.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// The cameras that begin.
    pub added: Vec<CameraId>,
    /// The cameras that end, and begin anew as they are wanted now.
    pub changed: Vec<CameraId>,
    /// The cameras that end.
    pub removed: Vec<CameraId>,
}

impl Changes {
    /// Compares what runs with what is wanted. Cameras that are the same in both are in no list.
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

    /// Returns whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.changed.is_empty() && self.removed.is_empty()
    }
}
