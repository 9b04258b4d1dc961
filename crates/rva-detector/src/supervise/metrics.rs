//! The metrics of the cameras, which the service shows at `/metrics`.

use super::{CameraState, CameraView};
use crate::CameraCounts;
use rva_service::{HistogramCounts, Metric, Series};
use rva_vision::{Stage, abandoned_captures};

/// The cameras that there were when they were looked at last.
pub(super) type Seen = Vec<CameraView>;

fn by_camera<T>(seen: &Seen, value: impl Fn(&CameraView) -> T) -> Vec<Series<T>> {
    seen.iter().map(|view| Series::of([&view.camera_id.to_string()], value(view))).collect()
}

fn counted(seen: &Seen, count: impl Fn(&CameraCounts) -> u64) -> Vec<Series<u64>> {
    by_camera(seen, |view| count(&view.counters.counts()))
}

const CAMERA: &[&str] = &["camera_id"];

/// The metrics of the cameras.
pub(super) const METRICS: &[Metric<Seen>] = &[
    Metric::gauge_by("rva_detector_camera_running", CAMERA, "Whether the camera gives frames: 1 or 0", |seen| {
        by_camera(seen, |view| i64::from(matches!(*view.state.borrow(), CameraState::Running { .. })))
    }),
    Metric::counter_by("rva_detector_frames_decoded", CAMERA, "Frames that the source gave", |seen| {
        counted(seen, |counts| counts.frames.decoded)
    }),
    Metric::counter_by(
        "rva_detector_frames_processed",
        CAMERA,
        "Frames that went through the model and the tracker",
        |seen| counted(seen, |counts| counts.frames.processed),
    ),
    Metric::counter_by(
        "rva_detector_frames_skipped",
        &["camera_id", "reason"],
        "Frames left out: between those of the stride, no room for them, or a newer one came first",
        |seen| {
            let skipped = |view: &CameraView| view.counters.counts().frames.skipped.by_reason();
            let of = |view: &CameraView| {
                let camera = view.camera_id.to_string();
                skipped(view).map(|(reason, count)| Series::of([&camera, reason], count))
            };
            seen.iter().flat_map(of).collect()
        },
    ),
    Metric::counter_by("rva_detector_decode_errors", CAMERA, "Complaints of the decoder about damaged data", |seen| {
        counted(seen, |counts| counts.frames.decode_errors)
    }),
    Metric::counter_by(
        "rva_detector_times_replaced",
        CAMERA,
        "Frames of files whose own time was missing or couldn't be right",
        |seen| counted(seen, |counts| counts.frames.times_replaced),
    ),
    Metric::counter_by(
        "rva_detector_tracks_refused",
        CAMERA,
        "New tracks that the tracker refused since it held as many as it may",
        |seen| counted(seen, |counts| counts.frames.tracks_refused),
    ),
    Metric::histogram_by(
        "rva_detector_record_latency_seconds",
        CAMERA,
        "Time from a frame's decoding to its record in the log",
        |seen| by_camera(seen, |view| view.counters.latency_seconds()),
    ),
    Metric::histogram_by(
        "rva_detector_stage_duration_seconds",
        &["stage"],
        "Time that a stage worked on a frame (infer: on a batch), over all cameras",
        |seen| {
            let of = |stage: Stage| {
                let mut sum = HistogramCounts::default();
                seen.iter().for_each(|view| sum.add(&view.counters.stage_seconds(stage)));
                Series::of([stage.name()], sum)
            };
            if seen.is_empty() { Vec::new() } else { Stage::ALL.map(of).into() }
        },
    ),
    Metric::gauge("rva_detector_captures_hung", "Captures that hang inside a library and were given up", |_| {
        i64::try_from(abandoned_captures().now).unwrap_or(i64::MAX)
    }),
    Metric::counter("rva_detector_captures_abandoned", "Captures that were given up since they hung", |_| {
        abandoned_captures().total
    }),
    Metric::counter_by("rva_detector_records", CAMERA, "Frame records that the log took", |seen| {
        counted(seen, |counts| counts.records)
    }),
    Metric::counter_by(
        "rva_detector_records_rejected",
        CAMERA,
        "Frame records that the log refused for good",
        |seen| counted(seen, |counts| counts.records_rejected),
    ),
    Metric::counter_by("rva_detector_openings", CAMERA, "Openings of the source, each a run", |seen| {
        counted(seen, |counts| counts.openings)
    }),
    Metric::counter_by("rva_detector_openings_failed", CAMERA, "Tries to open the source that failed", |seen| {
        counted(seen, |counts| counts.openings_failed)
    }),
];

#[cfg(test)]
mod tests {
    use super::*;
    use rva_service::wrong_names;

    #[test]
    fn every_metric_has_our_prefix_and_is_in_the_documents() {
        let document = include_str!("../../../../docs/cameras.md");
        assert_eq!(wrong_names(METRICS, "rva_detector_", document), Vec::<String>::new());
    }
}
