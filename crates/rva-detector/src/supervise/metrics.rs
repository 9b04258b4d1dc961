//! What the service shows of its cameras at `/metrics`.

use crate::CameraCounts;
use rva_service::{Metric, Values};

/// Cameras as they were when they were looked at last.
#[derive(Debug, Default)]
pub(super) struct Seen(pub Vec<SeenCamera>);

#[derive(Debug)]
pub(super) struct SeenCamera {
    pub id: String,
    pub is_running: bool,
    pub counts: CameraCounts,
}

impl Seen {
    fn by_camera(&self, value: impl Fn(&CameraCounts) -> u64) -> Vec<(String, u64)> {
        self.0.iter().map(|camera| (camera.id.clone(), value(&camera.counts))).collect()
    }
}

const CAMERA: &str = "camera_id";

/// The metrics of the cameras.
pub(super) const METRICS: &[Metric<Seen>] = &[
    Metric {
        name: "rva_detector_camera_running",
        help: "Whether the camera gives frames: 1 or 0",
        values: Values::GaugeBy(CAMERA, |seen| {
            seen.0.iter().map(|camera| (camera.id.clone(), i64::from(camera.is_running))).collect()
        }),
    },
    Metric {
        name: "rva_detector_frames_decoded",
        help: "Frames that the source gave",
        values: Values::CounterBy(CAMERA, |seen| seen.by_camera(|counts| counts.frames.decoded)),
    },
    Metric {
        name: "rva_detector_frames_processed",
        help: "Frames that went through the model and the tracker",
        values: Values::CounterBy(CAMERA, |seen| seen.by_camera(|counts| counts.frames.processed)),
    },
    Metric {
        name: "rva_detector_frames_skipped",
        help: "Frames left out: between those of the stride, or because the machine was busy",
        values: Values::CounterBy(CAMERA, |seen| seen.by_camera(|counts| counts.frames.skipped.total())),
    },
    Metric {
        name: "rva_detector_decode_errors",
        help: "Complaints of the decoder about damaged data",
        values: Values::CounterBy(CAMERA, |seen| seen.by_camera(|counts| counts.frames.decode_errors)),
    },
    Metric {
        name: "rva_detector_records",
        help: "Frame records that the log took",
        values: Values::CounterBy(CAMERA, |seen| seen.by_camera(|counts| counts.records)),
    },
    Metric {
        name: "rva_detector_records_rejected",
        help: "Frame records that the log refused for good",
        values: Values::CounterBy(CAMERA, |seen| seen.by_camera(|counts| counts.records_rejected)),
    },
    Metric {
        name: "rva_detector_openings",
        help: "Openings of the source, each a run",
        values: Values::CounterBy(CAMERA, |seen| seen.by_camera(|counts| counts.openings)),
    },
    Metric {
        name: "rva_detector_openings_failed",
        help: "Tries to open the source that failed",
        values: Values::CounterBy(CAMERA, |seen| seen.by_camera(|counts| counts.openings_failed)),
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_has_our_prefix_and_is_in_the_documents() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/cameras.md");
        let documented = std::fs::read_to_string(path).unwrap();
        for metric in METRICS {
            assert!(metric.name.starts_with("rva_detector_"), "{}", metric.name);
            assert!(documented.contains(&metric.documented()), "docs/cameras.md has no {}", metric.documented());
        }
    }
}
