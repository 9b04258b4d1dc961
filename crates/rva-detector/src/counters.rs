//! Counts of a camera, over all of its runs.

use hdrhistogram::Histogram;
use rva_service::HistogramCounts;
use rva_vision::{FrameCounters, FrameCounts, Stage, WatchStages};
use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// The longest latency that is told apart, in microseconds: an hour. A longer one counts as that.
const LATENCY_MAX: u64 = 3_600_000_000;

/// The upper bounds of the time from a frame's decoding to its record in the sink, in seconds.
const LATENCY_SECONDS: &[f64] = &[0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0];

/// The upper bounds of the time that a stage of the pipeline works on a frame, in seconds.
const STAGE_SECONDS: &[f64] = &[0.000_1, 0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0];

/// The upper bounds of numbers of frames: those of a batch, and those that wait for the network.
const FRAMES: &[f64] = &[0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0];

/// Counts that may be read while a camera runs. They go on from one run to the next.
#[derive(Debug)]
pub struct CameraCounters {
    pub(crate) frames: Arc<FrameCounters>,
    records: AtomicU64,
    records_rejected: AtomicU64,
    last_record: AtomicI64,
    openings: AtomicU64,
    openings_failed: AtomicU64,
    latency: Mutex<Option<Histogram<u64>>>,
    latency_seconds: rva_service::Histogram,
    stages: [rva_service::Histogram; Stage::ALL.len()],
    batches: rva_service::Histogram,
    waiting: rva_service::Histogram,
}

impl Default for CameraCounters {
    fn default() -> Self {
        Self {
            frames: Arc::default(),
            records: AtomicU64::default(),
            records_rejected: AtomicU64::default(),
            last_record: AtomicI64::default(),
            openings: AtomicU64::default(),
            openings_failed: AtomicU64::default(),
            latency: Mutex::default(),
            latency_seconds: rva_service::Histogram::new(LATENCY_SECONDS),
            stages: Stage::ALL.map(|_| rva_service::Histogram::new(STAGE_SECONDS)),
            batches: rva_service::Histogram::new(FRAMES),
            waiting: rva_service::Histogram::new(FRAMES),
        }
    }
}

/// The counts at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CameraCounts {
    /// The frames decoded, processed, and left out by reason.
    pub frames: FrameCounts,
    /// The number of records that the sink accepted.
    pub records: u64,
    /// The number of records that it refused for good.
    pub records_rejected: u64,
    /// The number of openings of the source, each a run.
    pub openings: u64,
    /// The number of tries to open it that failed.
    pub openings_failed: u64,
    /// The time from a frame's decoding to its record in the sink.
    pub latency: Latency,
}

/// Quantiles of a time, to three digits; 0 where nothing was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Latency {
    /// The time that half of them took at most.
    pub p50: Duration,
    /// The time that 99 of 100 took at most.
    pub p99: Duration,
    /// The time that all took at most.
    pub max: Duration,
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = |time: Duration| time.as_secs_f64() * 1e3;
        write!(
            f,
            "{:.0} ms (p50), {:.0} ms (p99), {:.0} ms (max)",
            millis(self.p50),
            millis(self.p99),
            millis(self.max)
        )
    }
}

impl CameraCounters {
    /// Returns the counts now.
    pub fn counts(&self) -> CameraCounts {
        let quantile = |histogram: &Histogram<u64>, q| Duration::from_micros(histogram.value_at_quantile(q));
        let latency = self.histogram().as_ref().map_or_else(Latency::default, |histogram| Latency {
            p50: quantile(histogram, 0.5),
            p99: quantile(histogram, 0.99),
            max: Duration::from_micros(histogram.max()),
        });
        CameraCounts {
            frames: self.frames.counts(),
            records: self.records.load(Relaxed),
            records_rejected: self.records_rejected.load(Relaxed),
            openings: self.openings.load(Relaxed),
            openings_failed: self.openings_failed.load(Relaxed),
            latency,
        }
    }

    /// Returns the times from a frame's decoding to its record in the sink, in seconds, for a metrics endpoint.
    pub fn latency_seconds(&self) -> HistogramCounts {
        self.latency_seconds.counts()
    }

    /// Returns the times that a stage of the pipeline worked, in seconds, for a metrics endpoint.
    pub fn stage_seconds(&self, stage: Stage) -> HistogramCounts {
        self.stages[stage as usize].counts()
    }

    /// Returns the frames that the network took at a time, for a metrics endpoint.
    pub fn batch_frames(&self) -> HistogramCounts {
        self.batches.counts()
    }

    /// Returns the frames that were prepared and waited whenever the network took some, for a metrics endpoint.
    pub fn waiting_frames(&self) -> HistogramCounts {
        self.waiting.counts()
    }

    /// Returns when the sink accepted the last record, in whole seconds since 1970; 0 before the first.
    pub fn last_record_seconds(&self) -> i64 {
        self.last_record.load(Relaxed)
    }

    pub(crate) fn count_accepted(&self, latency: Duration) {
        self.records.fetch_add(1, Relaxed);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.last_record.store(i64::try_from(now.as_secs()).unwrap_or(i64::MAX), Relaxed);
        self.latency_seconds.observe(latency.as_secs_f64());
        let micros = u64::try_from(latency.as_micros()).unwrap_or(LATENCY_MAX).clamp(1, LATENCY_MAX);
        let mut histogram = self.histogram();
        if histogram.is_none() {
            // Bounds and digits are constants that it accepts; without a histogram nothing is measured.
            *histogram = Histogram::new_with_bounds(1, LATENCY_MAX, 3).ok();
        }
        if let Some(histogram) = &mut *histogram {
            histogram.saturating_record(micros);
        }
    }

    pub(crate) fn count_rejected(&self) {
        self.records_rejected.fetch_add(1, Relaxed);
    }

    pub(crate) fn count_opening(&self, is_open: bool) {
        if is_open { &self.openings } else { &self.openings_failed }.fetch_add(1, Relaxed);
    }

    // A histogram is whole after each call, so a panic elsewhere can't have left it half changed.
    fn histogram(&self) -> MutexGuard<'_, Option<Histogram<u64>>> {
        self.latency.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl WatchStages for CameraCounters {
    fn worked(&self, stage: Stage, took: Duration) {
        self.stages[stage as usize].observe(took.as_secs_f64());
    }

    fn took_batch(&self, frames: usize, waiting: usize) {
        self.batches.observe(frames as f64);
        self.waiting.observe(waiting as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_what_was_measured() {
        let counters = CameraCounters::default();
        assert_eq!(counters.counts().latency, Latency::default());
        assert_eq!(counters.last_record_seconds(), 0);
        for millis in 1..=1000 {
            counters.count_accepted(Duration::from_millis(millis));
        }
        let Latency { p50, p99, max } = counters.counts().latency;
        let near = |found: Duration, wanted: f64| (found.as_secs_f64() / wanted - 1.0).abs() < 0.002;
        assert!(near(p50, 0.5) && near(p99, 0.99) && near(max, 1.0), "{p50:?} {p99:?} {max:?}");
        counters.count_accepted(Duration::from_secs(86_400));
        assert_eq!(counters.counts().records, 1001);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
        assert!((now - 60..=now).contains(&counters.last_record_seconds()));
        let shown = counters.latency_seconds();
        let up_to = |bound: f64| shown.buckets.iter().filter(|bucket| bucket.0 <= bound).map(|bucket| bucket.1).sum();
        assert_eq!((up_to(0.25), up_to(1.0), up_to(60.0), shown.count()), (250_u64, 1000, 1000, 1001));
    }
}
