//! Trails of the places where tracks have been.

use rva_types::{Point, TrackedDetection};
use std::collections::{BTreeMap, VecDeque};

/// The last anchors of each track, for a bounded number of frames.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Trails {
    frames_max: usize,
    frame: u64,
    /// The trails by track id: frame number and anchor, oldest first, never empty.
    trails: BTreeMap<u64, VecDeque<(u64, Point)>>,
}

impl Trails {
    /// Makes trails that reach back `frames_max` frames; 0 keeps none.
    pub(super) fn new(frames_max: usize) -> Self {
        Self { frames_max, frame: 0, trails: BTreeMap::new() }
    }

    /// Takes the next frame: adds its anchors, and forgets those that are too old, so that at most `frames_max`
    /// frames are held.
    pub(super) fn advance(&mut self, detections: &[TrackedDetection]) {
        self.frame += 1;
        if self.frames_max == 0 {
            return;
        }
        for tracked in detections {
            if let Some(track_id) = tracked.track_id
                && tracked.detection.bbox.is_finite()
            {
                self.trails.entry(track_id).or_default().push_back((self.frame, tracked.detection.bbox.anchor()));
            }
        }
        let oldest = self.frame.saturating_sub(self.frames_max as u64 - 1);
        self.trails.retain(|_, points| {
            while points.front().is_some_and(|(frame, _)| *frame < oldest) {
                points.pop_front();
            }
            !points.is_empty()
        });
    }

    /// Iterates over track ids in order, each with its anchors from the oldest on.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, impl Iterator<Item = Point>)> {
        self.trails.iter().map(|(track_id, points)| (*track_id, points.iter().map(|(_, point)| *point)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rva_types::{BBox, Detection};

    fn at(track_id: Option<u64>, x: f32) -> TrackedDetection {
        let bbox = BBox::new(x - 1.0, 0.0, x + 1.0, 5.0);
        TrackedDetection { detection: Detection { bbox, conf: 0.9, class_id: 0 }, track_id }
    }

    fn held(trails: &Trails) -> Vec<(u64, Vec<f32>)> {
        trails.iter().map(|(id, points)| (id, points.map(|point| point.x).collect())).collect()
    }

    #[test]
    fn trails_are_bounded_and_those_of_lost_tracks_fade_away() {
        let mut trails = Trails::new(3);
        trails.advance(&[at(Some(7), 1.0), at(Some(2), 9.0), at(None, 5.0)]);
        assert_eq!(held(&trails), [(2, vec![9.0]), (7, vec![1.0])]);
        for x in [2.0, 3.0, 4.0] {
            trails.advance(&[at(Some(7), x)]);
        }
        assert_eq!(held(&trails), [(7, vec![2.0, 3.0, 4.0])]);
        for _ in 0..3 {
            trails.advance(&[]);
        }
        assert_eq!(held(&trails), []);
    }

    #[test]
    fn no_trails_are_kept_where_none_are_wanted() {
        let mut trails = Trails::new(0);
        trails.advance(&[at(Some(1), 1.0)]);
        assert_eq!(held(&trails), []);
    }
}
