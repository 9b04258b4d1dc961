//! The keeping of one camera: it is opened, run, and opened again when it breaks off.

use super::{CameraState, CameraSummary, Shared, Spot, backoff::Backoff};
use crate::{CameraEnd, CameraReport, CameraSpec, Observers, OpenCamera, RunSettings, next_run, run_camera};
use rva_vision::{SourceSpec, StopFlag, VisionError, VisionErrorKind};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::oneshot;

/// A camera that is open.
pub(super) type Opened = (OpenCamera, RunSettings);

/// Keeps a camera until the source ends, it can't be opened in a way that no further try cures, or a stop is asked for.
pub(super) async fn keep(spec: CameraSpec, first: Option<Opened>, shared: Arc<Shared>, spot: Spot) -> CameraSummary {
    // A camera of the same id that is being replaced has to be gone: many serve one client.
    let _seat = spot.seat.clone().lock_owned().await;
    let started = Instant::now();
    let mut summary = CameraSummary::of(&spec);
    let (mut backoff, mut first) = (Backoff::new(shared.reconnect), first);
    let is_finite = matches!(spec.camera.source, SourceSpec::Path(_));
    summary.end = loop {
        let opened = match first.take() {
            Some(opened) => Ok(opened),
            None => {
                spot.state.send_replace(CameraState::Opening);
                match open(&spec, &shared, &spot.stop).await {
                    Some(opened) => opened,
                    None => break CameraEnd::Stopped,
                }
            }
        };
        spot.counters.count_opening(opened.is_ok());
        let mut rest = None;
        let (end, lasted) = match opened.and_then(|(camera, settings)| with_taps(camera, settings, &shared)) {
            Ok((camera, settings, taps)) => {
                let source = camera.source.description();
                (summary.is_live, summary.source) = (source.is_live, Some(source.clone()));
                spot.state.send_replace(CameraState::Running { run: settings.run.clone() });
                let (progress, counters) = (spot.progress.clone(), Arc::clone(&spot.counters));
                let observers = Observers { taps, progress, counters, traces: shared.traces.clone() };
                let mut sink = shared.sink.clone();
                let report = run_camera(camera, settings, &mut sink, observers, spot.stop.clone()).await;
                summary.add(&report);
                let CameraReport { end, elapsed, rest: behind, .. } = report;
                rest = behind;
                (end, elapsed)
            }
            Err(error) => (CameraEnd::NotOpened(error), Duration::ZERO),
        };
        if let (CameraEnd::Incomplete(change), Some(rest)) = (&end, rest) {
            if spot.stop.is_set() {
                break CameraEnd::Stopped;
            }
            tracing::info!(camera_id = %spec.camera.identity.camera_id, %change, "the source goes on as another run");
            match next_run(*rest, &spec.detector.tracker) {
                Ok(opened) => first = Some(opened),
                Err(error) => break CameraEnd::Failed(error),
            }
            continue;
        }
        backoff.lasted(lasted);
        let pause = match &end {
            CameraEnd::Incomplete(error) | CameraEnd::NotOpened(error) if !is_finite && !spot.stop.is_set() => {
                backoff.pause(error.kind().reopen(), fastrand::f64())
            }
            _ => None,
        };
        let (Some(pause), CameraEnd::Incomplete(error) | CameraEnd::NotOpened(error)) = (pause, &end) else {
            break end;
        };
        tracing::warn!(
            camera_id = %spec.camera.identity.camera_id,
            pause_s = (pause.as_secs_f64() * 10.0).round() / 10.0,
            %error,
            "the source ended or can't be opened: it is opened again after the pause"
        );
        spot.state.send_replace(CameraState::Waiting { why: error.to_string(), pause });
        if sleep_unless(pause, &spot.stop).await {
            break CameraEnd::Stopped;
        }
    };
    spot.state.send_replace(CameraState::Ended);
    summary.counts = spot.counters.counts();
    summary.elapsed = started.elapsed();
    summary
}

/// Opens a camera on a thread of its own: an opening that hangs is left behind when a stop is asked for, and keeps
/// nobody from ending. Returns `None` where it was stopped meanwhile.
async fn open(spec: &CameraSpec, shared: &Arc<Shared>, stop: &StopFlag) -> Option<Result<Opened, VisionError>> {
    if stop.is_set() {
        return None;
    }
    let seat = tokio::select! {
        seat = shared.openings.acquire() => seat,
        () = rva_service::stopped(stop) => return None,
    };
    let (answer, answered) = oneshot::channel();
    let (spec, opener) = (spec.clone(), Arc::clone(&shared.opener));
    let spawned = std::thread::Builder::new().name("rva-open".into()).spawn(move || {
        // Nobody listens any more after a stop.
        let _ = answer.send(opener.open(&spec));
    });
    if let Err(error) = spawned {
        let text = format!("can't start a thread for an opening: {error}");
        return Some(Err(VisionError::new(VisionErrorKind::Exhausted, text)));
    }
    let opened = tokio::select! {
        opened = answered => opened,
        () = rva_service::stopped(stop) => return None,
    };
    drop(seat);
    Some(opened.unwrap_or_else(|_| Err(VisionError::new(VisionErrorKind::Fault, "the opening panicked"))))
}

type Tapped = (OpenCamera, RunSettings, Vec<crate::FrameTap>);

fn with_taps(camera: OpenCamera, settings: RunSettings, shared: &Shared) -> Result<Tapped, VisionError> {
    let taps = shared.taps.iter().filter_map(|make| make(&camera, &settings).transpose());
    let taps = taps.collect::<Result<_, _>>()?;
    Ok((camera, settings, taps))
}

/// Returns whether a stop came before the time was over.
async fn sleep_unless(time: Duration, stop: &StopFlag) -> bool {
    tokio::select! {
        () = tokio::time::sleep(time) => false,
        () = rva_service::stopped(stop) => true,
    }
}
