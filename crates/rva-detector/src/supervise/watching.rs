//! The life of a process that keeps cameras: until the last has ended or a stop is asked for, with the configuration
//! read again on SIGHUP.

use super::{CameraSpec, CameraSummary, Supervisor};
use crate::{CameraEnd, DetectorSetup};
use rva_service::{StopFlag, stopped};
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval, interval_at};

/// The interval at which it is looked whether the machine keeps up.
const OVERLOAD_EVERY: Duration = Duration::from_secs(10);
/// The time when it is looked first.
const OVERLOAD_FIRST: Duration = Duration::from_secs(5);

/// The interval at which the cameras are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// A function that reads the cameras that are wanted now.
pub type Reload = Box<dyn FnMut() -> anyhow::Result<Vec<CameraSpec>> + Send>;

/// The work of [`watch_cameras`] besides waiting.
pub struct Watching<'a> {
    /// The function that SIGHUP calls; without it the signal is left alone. While there is one, a process without
    /// cameras waits for some.
    pub reload: Option<Reload>,
    /// The interval at which the counts of each camera are logged.
    pub stats_interval: Option<Duration>,
    /// The flag that ends all cameras.
    pub stop: &'a StopFlag,
    /// The function that is called when the cameras are others than before.
    pub on_change: &'a mut (dyn FnMut(&Supervisor) + Send),
    /// The function that is called at the beginning and every half second.
    pub on_look: &'a mut (dyn FnMut(&Supervisor) + Send),
}

/// Waits until every camera has ended, and returns their summaries in the order of their ends. A sink that fails ends
/// all of them.
///
/// # Errors
/// Returns an error where the signal action can't be installed, or a camera's task panicked.
pub async fn watch_cameras(supervisor: &mut Supervisor, watching: Watching<'_>) -> anyhow::Result<Vec<CameraSummary>> {
    let Watching { mut reload, stats_interval, stop, on_change, on_look } = watching;
    let mut hangup = Hangup::new(reload.is_some())?;
    let mut summaries = Vec::new();
    let mut overload = interval_at(Instant::now() + OVERLOAD_FIRST, OVERLOAD_EVERY);
    let stats_every = stats_interval.unwrap_or(Duration::MAX / 4);
    let mut stats = interval_at(Instant::now() + stats_interval.unwrap_or(OVERLOAD_EVERY), stats_every);
    stats.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut looks = interval(LOOK_EVERY);
    let mut is_stopping = false;
    loop {
        let is_waiting_for_cameras = reload.is_some() && supervisor.specs.is_empty() && !is_stopping;
        tokio::select! {
            ended = supervisor.ended(), if !supervisor.tasks.is_empty() || !is_waiting_for_cameras => {
                let Some(ended) = ended else {
                    if is_waiting_for_cameras { continue } else { break }
                };
                let summary = ended?;
                if matches!(summary.end, CameraEnd::SinkFailed(_)) {
                    supervisor.stop();
                }
                summaries.push(summary);
            }
            () = hangup.received() => {
                if let Some(reload) = &mut reload {
                    // Reading blocks for a moment; what it reads is small.
                    match reload() {
                        Ok(wanted) => {
                            take(supervisor, wanted);
                            on_change(supervisor);
                        }
                        Err(error) => {
                            let error = format!("{error:#}");
                            tracing::error!(%error, "found a configuration that can't be used, nothing is changed");
                        }
                    }
                }
            }
            () = stopped(stop), if !is_stopping => {
                is_stopping = true;
                supervisor.stop();
            }
            _ = overload.tick() => {
                if let Some(text) = supervisor.overload() {
                    tracing::warn!("{text}");
                }
            }
            _ = looks.tick() => on_look(supervisor),
            _ = stats.tick(), if stats_interval.is_some() => log_stats(supervisor),
        }
    }
    if stats_interval.is_some() {
        log_stats(supervisor);
    }
    Ok(summaries)
}

/// Makes the cameras those that are wanted. The model stays the one that is loaded.
fn take(supervisor: &mut Supervisor, mut wanted: Vec<CameraSpec>) {
    if let Some(loaded) = supervisor.detector.clone() {
        let mut is_other = false;
        for spec in &mut wanted {
            let DetectorSetup { model, library, options, batch, .. } = &loaded;
            let own = &mut spec.detector;
            is_other |= (&own.model, &own.library, &own.options, &own.batch) != (model, library, options, batch);
            (own.model, own.library) = (model.clone(), library.clone());
            (own.options, own.batch) = (options.clone(), *batch);
        }
        if is_other {
            tracing::warn!(
                "found another model, device or batch in the configuration: they hold from the next start on"
            );
        }
    }
    let changes = supervisor.apply(wanted);
    let ids = |ids: &[rva_types::CameraId]| ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    tracing::info!(
        added = ids(&changes.added),
        changed = ids(&changes.changed),
        removed = ids(&changes.removed),
        "read the cameras again; the others go on"
    );
}

fn log_stats(supervisor: &Supervisor) {
    for view in supervisor.views() {
        let counts = view.counters.counts();
        let skipped = counts.frames.skipped;
        let millis = |time: Duration| (time.as_secs_f64() * 1e4).round() / 10.0;
        tracing::info!(
            camera_id = %view.camera_id,
            state = %*view.state.borrow(),
            decoded = counts.frames.decoded,
            processed = counts.frames.processed,
            skipped_stride = skipped.by_stride,
            skipped_overload = skipped.by_overload,
            skipped_superseded = skipped.superseded,
            decode_errors = counts.frames.decode_errors,
            records = counts.records,
            records_rejected = counts.records_rejected,
            openings = counts.openings,
            openings_failed = counts.openings_failed,
            latency_p50_ms = millis(counts.latency.p50),
            latency_p99_ms = millis(counts.latency.p99),
            "stats"
        );
    }
}

/// SIGHUP, where it is listened to.
struct Hangup(#[cfg(unix)] Option<tokio::signal::unix::Signal>);

impl Hangup {
    #[cfg(unix)]
    fn new(is_wanted: bool) -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self(if is_wanted { Some(signal(SignalKind::hangup())?) } else { None }))
    }

    #[cfg(not(unix))]
    fn new(_: bool) -> std::io::Result<Self> {
        Ok(Self())
    }

    async fn received(&mut self) {
        #[cfg(unix)]
        if let Some(signal) = &mut self.0
            && signal.recv().await.is_some()
        {
            return;
        }
        std::future::pending().await
    }
}
