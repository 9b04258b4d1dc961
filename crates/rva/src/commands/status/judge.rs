//! The judgement of what is wrong, in the words of the alerts.
//!
//! Prometheus judges over minutes and remembers; here two looks are judged. So what is found is what would alert if it
//! stayed. Names and bounds are those of `infrastructure/prometheus/rules.yml`.

use super::service::{CameraStatus, ServiceStatus};
use serde::Serialize;

/// A thing that is wrong.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finding {
    /// The name of the alert, which has a section in `docs/runbooks.md`; `NotReady` where the service says so itself.
    pub alert: &'static str,
    pub service: String,
    pub text: String,
}

/// The age from which a running camera's last picture is too old, in seconds: rates are over five minutes.
const FROZEN_SECONDS: f64 = 300.0;
const LAG_SECONDS_MAX: f64 = 60.0;
const AHEAD_SECONDS_MAX: f64 = 30.0;
const LAG_SNAPSHOTS_MAX: f64 = 60.0;
const DISK_FREE_MIN: f64 = 0.1;
const SPOOL_MAX: f64 = 0.8;
const MEMORY_MAX: f64 = 0.9;
const OPEN_FILES_MAX: f64 = 0.8;

/// The alerts that can be found, each with what its rule says of the bound.
#[cfg(test)]
pub const ALERTS: &[(&str, &str)] = &[
    ("ServiceDown", "== 0"),
    ("CameraDark", "rva_detector_camera_running == 0"),
    ("CameraFrozen", "[5m]"),
    ("CaptureHung", "rva_detector_captures_hung > 0"),
    ("IngestBehind", "> 60"),
    ("ClockAhead", "> 30"),
    ("RefineBehind", "rva_refine_lag_snapshots > 60"),
    ("SpoolFilling", "> 0.8"),
    ("DiskFilling", "< 0.1"),
    ("MemoryHigh", "> 0.9"),
    ("OpenFilesHigh", "> 0.8"),
    ("BackupTooOld", "> rva_backup_age_max_seconds"),
];

/// Returns what is wrong with a service, the worst first.
pub fn findings(status: &ServiceStatus) -> Vec<Finding> {
    let found = |alert, text: String| Finding { alert, service: status.service.clone(), text };
    if let Some(error) = &status.error {
        return vec![found("ServiceDown", error.clone())];
    }
    let mut all = Vec::new();
    all.extend(status.reasons.iter().map(|(part, why)| found("NotReady", format!("{part}: {why}"))));
    all.extend(status.cameras.iter().filter_map(of_camera).map(|(alert, text)| found(alert, text)));
    if let Some(hung) = status.captures_hung.filter(|hung| *hung > 0.0) {
        all.push(found("CaptureHung", format!("{hung} captures hang inside a library")));
    }
    if let Some(ingest) = &status.ingest {
        if ingest.lag_seconds > LAG_SECONDS_MAX {
            all.push(found("IngestBehind", format!("it reads records that are {:.0} s old", ingest.lag_seconds)));
        }
        if ingest.last_commit_age_seconds.is_some_and(|age| -age > AHEAD_SECONDS_MAX) {
            all.push(found("ClockAhead", "its last commit is in the future of this clock".to_owned()));
        }
    }
    if let Some(refine) = status.refine.as_ref().filter(|refine| refine.lag_snapshots > LAG_SNAPSHOTS_MAX) {
        all.push(found("RefineBehind", format!("silver lacks {} commits of bronze", refine.lag_snapshots)));
    }
    let part = |of: Option<f64>, whole: Option<f64>| of.zip(whole).map(|(of, whole)| of / whole);
    let percent = |part: f64| format!("{:.0} %", part * 100.0);
    let unread = status.log.as_ref().and_then(|log| part(Some(log.unread_bytes), log.bytes_max));
    if let Some(unread) = unread.filter(|unread| *unread > SPOOL_MAX) {
        all.push(found("SpoolFilling", format!("{} of its log are unread records", percent(unread))));
    }
    if let Some(free) = part(status.disk_free_bytes, status.disk_size_bytes).filter(|free| *free < DISK_FREE_MIN) {
        all.push(found("DiskFilling", format!("{} of its disk are free", percent(free))));
    }
    if let Some(used) = part(status.memory_bytes, status.memory_limit_bytes).filter(|used| *used > MEMORY_MAX) {
        all.push(found("MemoryHigh", format!("it has {} of the memory that it may have", percent(used))));
    }
    if let Some(open) = part(status.open_files, status.open_files_max).filter(|open| *open > OPEN_FILES_MAX) {
        all.push(found("OpenFilesHigh", format!("it has {} of the files open that it may", percent(open))));
    }
    if let Some(backup) = &status.backup {
        match backup.age_seconds {
            None => all.push(found("BackupTooOld", "no backup is known".to_owned())),
            Some(age) if age > backup.age_max_seconds => {
                all.push(found("BackupTooOld", format!("its newest backup is {:.1} h old", age / 3600.0)));
            }
            Some(_) => {}
        }
    }
    all
}

fn of_camera(camera: &CameraStatus) -> Option<(&'static str, String)> {
    let id = &camera.camera;
    if !camera.is_running {
        let why = camera.trouble.as_deref().unwrap_or("it gives no frames");
        return Some(("CameraDark", format!("{id}: {why}")));
    }
    let age = camera.picture_age_seconds.filter(|age| *age > FROZEN_SECONDS)?;
    Some(("CameraFrozen", format!("{id}: its last picture is {age:.0} s old")))
}

#[cfg(test)]
mod tests {
    use super::{
        super::service::{BackupStatus, IngestStatus, LogStatus, RefineStatus},
        *,
    };

    fn all_wrong() -> ServiceStatus {
        ServiceStatus {
            is_ready: false,
            reasons: [("log".to_owned(), "away".to_owned())].into(),
            memory_bytes: Some(91.0),
            memory_limit_bytes: Some(100.0),
            disk_free_bytes: Some(9.0),
            disk_size_bytes: Some(100.0),
            open_files: Some(81.0),
            open_files_max: Some(100.0),
            captures_hung: Some(1.0),
            log: Some(LogStatus { unread_bytes: 81.0, bytes_max: Some(100.0), ..LogStatus::default() }),
            cameras: vec![
                CameraStatus { camera: "a".into(), ..CameraStatus::default() },
                CameraStatus {
                    camera: "b".into(),
                    is_running: true,
                    picture_age_seconds: Some(301.0),
                    ..CameraStatus::default()
                },
            ],
            ingest: Some(IngestStatus {
                lag_seconds: 61.0,
                last_commit_age_seconds: Some(-31.0),
                ..IngestStatus::default()
            }),
            refine: Some(RefineStatus { lag_snapshots: 61.0, ..RefineStatus::default() }),
            backup: Some(BackupStatus { age_seconds: Some(61.0), age_max_seconds: 60.0 }),
            ..ServiceStatus::default()
        }
    }

    #[test]
    fn each_alert_that_two_looks_can_tell_is_found_and_only_beyond_its_bound() {
        let found: Vec<_> = findings(&all_wrong()).into_iter().map(|finding| finding.alert).collect();
        let silent = ServiceStatus { error: Some("refused".into()), ..ServiceStatus::default() };
        assert_eq!(findings(&silent)[0].alert, "ServiceDown");
        for (alert, _) in ALERTS.iter().filter(|(alert, _)| *alert != "ServiceDown") {
            assert!(found.contains(alert), "{alert}: {found:?}");
        }
        assert_eq!(found.len(), ALERTS.len(), "one of each but ServiceDown, and NotReady: {found:?}");
        let mut well = all_wrong();
        well.reasons.clear();
        (well.memory_bytes, well.disk_free_bytes, well.open_files) = (Some(90.0), Some(10.0), Some(80.0));
        well.captures_hung = Some(0.0);
        well.log = Some(LogStatus { unread_bytes: 80.0, bytes_max: Some(100.0), ..LogStatus::default() });
        well.cameras[0].is_running = true;
        well.cameras[1].picture_age_seconds = Some(300.0);
        well.ingest =
            Some(IngestStatus { lag_seconds: 60.0, last_commit_age_seconds: Some(-30.0), ..IngestStatus::default() });
        well.refine = Some(RefineStatus { lag_snapshots: 60.0, ..RefineStatus::default() });
        well.backup = Some(BackupStatus { age_seconds: Some(60.0), age_max_seconds: 60.0 });
        assert_eq!(findings(&well), Vec::new());
        well.backup = Some(BackupStatus { age_seconds: None, age_max_seconds: 60.0 });
        assert_eq!(findings(&well)[0].alert, "BackupTooOld");
        well.backup = None;
        // Without a limit of memory there is none to come near.
        well.memory_limit_bytes = None;
        assert_eq!(findings(&well), Vec::new());
    }

    #[test]
    fn names_and_bounds_are_those_of_the_alerting_rules() {
        let rules = include_str!("../../../../../infrastructure/prometheus/rules.yml");
        for (alert, bound) in ALERTS {
            let rule = rules.split("- alert: ").find(|rule| rule.starts_with(&format!("{alert}\n")));
            let rule = rule.unwrap_or_else(|| panic!("found no rule {alert}"));
            let expression = rule.split("for:").next().unwrap_or_default();
            assert!(expression.contains(bound), "{alert}: found {expression}, wanted {bound}");
        }
    }
}
