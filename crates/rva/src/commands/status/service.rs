//! The state of a service, made of two looks at it.

use super::{
    ask::{Ready, Service},
    samples::Samples,
};
use serde::Serialize;
use std::{
    collections::BTreeMap,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// A look at a service.
#[derive(Debug)]
pub struct Look {
    at: Instant,
    now: SystemTime,
    answer: anyhow::Result<(Ready, Samples)>,
}

impl Look {
    pub async fn at(service: &Service) -> Self {
        Self { answer: service.ask().await, at: Instant::now(), now: SystemTime::now() }
    }
}

/// The state of a service.
#[derive(Debug, Default, Serialize)]
pub struct ServiceStatus {
    pub service: String,
    /// Why it gave no answer.
    pub error: Option<String>,
    pub is_ready: bool,
    /// Why it isn't ready, by part.
    pub reasons: BTreeMap<String, String>,
    /// What troubles it has while it works, by part.
    pub troubles: BTreeMap<String, String>,
    pub version: Option<String>,
    pub uptime_seconds: Option<f64>,
    pub memory_bytes: Option<f64>,
    pub memory_limit_bytes: Option<f64>,
    pub disk_free_bytes: Option<f64>,
    pub disk_size_bytes: Option<f64>,
    pub open_files: Option<f64>,
    pub open_files_max: Option<f64>,
    pub cameras: Vec<CameraStatus>,
    pub log: Option<LogStatus>,
    pub ingest: Option<IngestStatus>,
    pub refine: Option<RefineStatus>,
    pub captures_hung: Option<f64>,
    pub maintenance_failures: Option<f64>,
    pub backup: Option<BackupStatus>,
}

/// The state of a camera.
#[derive(Debug, Default, Serialize)]
pub struct CameraStatus {
    pub camera: String,
    pub is_running: bool,
    /// Frames a second that went through model and tracker, between the looks.
    pub fps: f64,
    pub people: f64,
    /// The age of the last frame that has a record; `None` before the first.
    pub picture_age_seconds: Option<f64>,
    pub records: f64,
    pub trouble: Option<String>,
}

/// The state of the detector's log, which is the spool where records go on to a broker.
#[derive(Debug, Default, Serialize)]
pub struct LogStatus {
    pub bytes: f64,
    pub bytes_max: Option<f64>,
    /// Records that its reader hasn't committed yet.
    pub unread_records: f64,
    pub unread_bytes: f64,
    pub records_dropped: f64,
    /// Records that the broker acknowledged; `None` where nothing is sent on.
    pub forwarded: Option<f64>,
}

/// The state of the ingest.
#[derive(Debug, Default, Serialize)]
pub struct IngestStatus {
    pub rows: f64,
    pub rows_per_second: f64,
    pub lag_seconds: f64,
    pub last_commit_age_seconds: Option<f64>,
    pub dead_letters: f64,
    pub conflicts: f64,
    pub records_lost: f64,
}

/// The state of what refines bronze.
#[derive(Debug, Default, Serialize)]
pub struct RefineStatus {
    pub lag_snapshots: f64,
    pub commits: f64,
    pub rejects: f64,
}

/// The state of backups, where the ingest looks for them.
#[derive(Debug, Default, Serialize)]
pub struct BackupStatus {
    /// The age of the newest; `None` where none is known.
    pub age_seconds: Option<f64>,
    pub age_max_seconds: f64,
}

impl ServiceStatus {
    /// Returns the state of the later look; rates are of the time between the two.
    pub fn of(service: &str, before: &Look, now: &Look) -> Self {
        let service = service.to_owned();
        let (ready, samples) = match &now.answer {
            Ok(answer) => answer,
            Err(error) => return Self { service, error: Some(format!("{error:#}")), ..Self::default() },
        };
        let none = Samples::default();
        let earlier = before.answer.as_ref().map_or(&none, |(_, samples)| samples);
        let between = now.at.saturating_duration_since(before.at).max(Duration::from_millis(1)).as_secs_f64();
        let clock = now.now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let times = Times { between, clock };
        Self {
            service,
            error: None,
            is_ready: ready.ready,
            reasons: ready.reasons.clone(),
            troubles: ready.degraded.clone(),
            version: samples.label("rva_build_info", "version").map(str::to_owned),
            uptime_seconds: samples.sum("process_start_time_seconds").map(|start| clock - start),
            memory_bytes: samples.sum("process_resident_memory_bytes"),
            memory_limit_bytes: samples.sum("rva_process_memory_limit_bytes").filter(|limit| *limit > 0.0),
            disk_free_bytes: samples.sum("rva_disk_free_bytes"),
            disk_size_bytes: samples.sum("rva_disk_size_bytes"),
            open_files: samples.sum("process_open_fds"),
            open_files_max: samples.sum("process_max_fds"),
            cameras: cameras(ready, earlier, samples, &times),
            log: samples.sum("rva_detector_log_bytes").map(|bytes| LogStatus {
                bytes,
                bytes_max: samples.sum("rva_detector_log_bytes_max"),
                unread_records: samples.sum("rva_detector_log_unread_records").unwrap_or_default(),
                unread_bytes: samples.sum("rva_detector_log_unread_bytes").unwrap_or_default(),
                records_dropped: samples.sum("rva_detector_log_records_dropped_total").unwrap_or_default(),
                forwarded: samples.sum("rva_detector_forwarded_total"),
            }),
            ingest: ingest(earlier, samples, &times),
            refine: samples.sum("rva_refine_lag_snapshots").map(|lag_snapshots| RefineStatus {
                lag_snapshots,
                commits: samples.sum("rva_refine_commits_total").unwrap_or_default(),
                rejects: samples.sum("rva_refine_rejects_total").unwrap_or_default(),
            }),
            captures_hung: samples.sum("rva_detector_captures_hung"),
            maintenance_failures: samples.sum("rva_maintain_failures_total"),
            backup: samples.sum("rva_backup_age_max_seconds").map(|age_max_seconds| BackupStatus {
                age_seconds: times.age(samples.sum("rva_backup_last_timestamp_seconds")),
                age_max_seconds,
            }),
        }
    }
}

struct Times {
    between: f64,
    clock: f64,
}

impl Times {
    fn rate(&self, before: Option<f64>, now: Option<f64>) -> f64 {
        // A process that began anew counts from nothing.
        before.zip(now).map_or(0.0, |(before, now)| (now - before).max(0.0) / self.between)
    }

    /// Returns the age of a moment in seconds since 1970; 0 is none.
    fn age(&self, moment: Option<f64>) -> Option<f64> {
        moment.filter(|moment| *moment > 0.0).map(|moment| self.clock - moment)
    }
}

fn cameras(ready: &Ready, before: &Samples, now: &Samples, times: &Times) -> Vec<CameraStatus> {
    const PROCESSED: &str = "rva_detector_frames_processed_total";
    let by = |samples: &Samples, name: &str| samples.by(name, "camera_id");
    let (frames_before, frames_now) = (by(before, PROCESSED), by(now, PROCESSED));
    let people = by(now, "rva_detector_people");
    let records = by(now, "rva_detector_records_total");
    let last = by(now, "rva_detector_last_record_timestamp_seconds");
    let of = |(camera, running): (String, f64)| CameraStatus {
        is_running: running > 0.0,
        fps: times.rate(frames_before.get(&camera).copied(), frames_now.get(&camera).copied()),
        people: people.get(&camera).copied().unwrap_or_default(),
        picture_age_seconds: times.age(last.get(&camera).copied()),
        records: records.get(&camera).copied().unwrap_or_default(),
        trouble: ready.degraded.get(&format!("camera {camera}")).cloned(),
        camera,
    };
    by(now, "rva_detector_camera_running").into_iter().map(of).collect()
}

fn ingest(before: &Samples, now: &Samples, times: &Times) -> Option<IngestStatus> {
    const ROWS: &str = "rva_ingest_rows_total";
    let rows = now.sum(ROWS)?;
    let count = |name: &str| now.sum(name).unwrap_or_default();
    Some(IngestStatus {
        rows,
        rows_per_second: times.rate(before.sum(ROWS), Some(rows)),
        lag_seconds: count("rva_ingest_lag_seconds"),
        last_commit_age_seconds: times.age(now.sum("rva_ingest_last_commit_timestamp_seconds")),
        dead_letters: count("rva_ingest_dead_letters_total"),
        conflicts: count("rva_ingest_conflicts_total"),
        records_lost: count("rva_ingest_records_lost_total"),
    })
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// Returns a look whose answer is this text of `/metrics`.
    pub fn look(at: Instant, clock: u64, troubles: &[(&str, &str)], metrics: &str) -> Look {
        let degraded = troubles.iter().map(|(part, text)| ((*part).to_owned(), (*text).to_owned())).collect();
        let ready = Ready { ready: true, reasons: BTreeMap::new(), degraded };
        let now = UNIX_EPOCH + Duration::from_secs(clock);
        Look { at, now, answer: Ok((ready, Samples::parse(metrics))) }
    }

    #[test]
    fn rates_are_of_the_time_between_the_looks_and_ages_of_the_clock() {
        let start = Instant::now();
        let text = |frames: u32, rows: u32| {
            format!(
                "rva_detector_camera_running{{camera_id=\"a\"}} 1\nrva_detector_camera_running{{camera_id=\"b\"}} 0\n\
                 rva_detector_frames_processed_total{{camera_id=\"a\"}} {frames}\n\
                 rva_detector_people{{camera_id=\"a\"}} 4\n\
                 rva_detector_last_record_timestamp_seconds{{camera_id=\"a\"}} 998\n\
                 rva_detector_last_record_timestamp_seconds{{camera_id=\"b\"}} 0\n\
                 rva_ingest_rows_total {rows}\nrva_ingest_last_commit_timestamp_seconds 990\nrva_ingest_lag_seconds 3\n\
                 rva_backup_last_timestamp_seconds 900\nrva_backup_age_max_seconds 60\n"
            )
        };
        let before = look(start, 998, &[], &text(100, 50));
        let now = look(start + Duration::from_secs(2), 1000, &[("camera b", "away")], &text(120, 54));
        let status = ServiceStatus::of("run", &before, &now);
        let (a, b) = (&status.cameras[0], &status.cameras[1]);
        assert_eq!((a.fps, a.people, a.picture_age_seconds, a.is_running), (10.0, 4.0, Some(2.0), true));
        assert_eq!((b.picture_age_seconds, b.is_running, b.trouble.as_deref()), (None, false, Some("away")));
        let ingest = status.ingest.unwrap();
        assert_eq!((ingest.rows, ingest.rows_per_second, ingest.last_commit_age_seconds), (54.0, 2.0, Some(10.0)));
        assert!(status.refine.is_none() && status.log.is_none());
        let backup = status.backup.unwrap();
        assert_eq!((backup.age_seconds, backup.age_max_seconds), (Some(100.0), 60.0));
    }

    #[test]
    fn a_process_that_began_anew_has_no_rate_and_one_that_is_silent_has_a_reason() {
        let start = Instant::now();
        let before = look(start, 1, &[], "rva_ingest_rows_total 500\n");
        let now = look(start + Duration::from_secs(1), 2, &[], "rva_ingest_rows_total 3\n");
        assert_eq!(ServiceStatus::of("x", &before, &now).ingest.unwrap().rows_per_second, 0.0);
        let silent = Look { at: start, now: UNIX_EPOCH, answer: Err(anyhow::anyhow!("refused")) };
        let status = ServiceStatus::of("x", &before, &silent);
        assert_eq!((status.error.as_deref(), status.is_ready), (Some("refused"), false));
    }
}
