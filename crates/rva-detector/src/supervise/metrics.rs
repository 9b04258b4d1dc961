//! The metrics of the cameras, which the service shows at `/metrics`.

use super::{CameraState, CameraView};
use crate::{CameraCounters, CameraCounts};
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

/// Returns the sum of a histogram over all cameras; `None` where there is none.
fn over_all(seen: &Seen, counts: impl Fn(&CameraCounters) -> HistogramCounts) -> Option<HistogramCounts> {
    let each = seen.iter().map(|view| counts(&view.counters));
    each.reduce(|mut sum, counts| {
        sum.add(&counts);
        sum
    })
}

fn one(counts: Option<HistogramCounts>) -> Vec<Series<HistogramCounts>> {
    counts.map(|counts| Series::of([], counts)).into_iter().collect()
}

fn is_running(view: &CameraView) -> bool {
    matches!(*view.state.borrow(), CameraState::Running { .. })
}

const CAMERA: &[&str] = &["camera_id"];

/// The metrics of the cameras.
pub(super) const METRICS: &[Metric<Seen>] = &[
    Metric::gauge_by("rva_detector_camera_running", CAMERA, "Whether the camera gives frames: 1 or 0", |seen| {
        by_camera(seen, |view| i64::from(is_running(view)))
    }),
    Metric::gauge_by("rva_detector_people", CAMERA, "People in the last frame; 0 while there are none", |seen| {
        let people = |view: &CameraView| if is_running(view) { view.progress.borrow().people } else { 0 };
        by_camera(seen, |view| i64::try_from(people(view)).unwrap_or(i64::MAX))
    }),
    Metric::gauge_by(
        "rva_detector_last_record_timestamp_seconds",
        CAMERA,
        "When the log took the camera's last record; 0 before the first",
        |seen| by_camera(seen, |view| view.counters.last_record_seconds()),
    ),
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
                let sum = over_all(seen, |counters| counters.stage_seconds(stage))?;
                Some(Series::of([stage.name()], sum))
            };
            Stage::ALL.into_iter().filter_map(of).collect()
        },
    ),
    Metric::histogram_by("rva_detector_batch_frames", &[], "Frames that the network took at a time", |seen| {
        one(over_all(seen, CameraCounters::batch_frames))
    }),
    Metric::histogram_by(
        "rva_detector_queue_frames",
        &[],
        "Frames that were prepared and waited whenever the network took some",
        |seen| one(over_all(seen, CameraCounters::waiting_frames)),
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
