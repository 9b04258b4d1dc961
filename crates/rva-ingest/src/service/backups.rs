//! The age of the newest backup, beside the ingest: `rva backup` runs now and then, and who looks at metrics wants to hear
//! when it doesn't any more.

use rva_lake::BackupStore;
use rva_service::{Health, Metric, Totals, format_duration};
use std::time::{Duration, SystemTime};
use tokio::task::JoinHandle;

/// Names backups as a part of the service's health.
const BACKUP: &str = "backup";

/// The time between two looks.
const INTERVAL: Duration = Duration::from_secs(60);

/// The counts of a process's looks for backups.
#[derive(Debug, Default)]
struct Counted {
    /// The whole seconds since 1970 at which the newest backup was made; 0 where none is known.
    made_at: i64,
    /// The whole seconds of age from which it is too old.
    age_max: i64,
    /// The number of looks that failed.
    failures: u64,
}

/// The metrics of backups.
const METRICS: &[Metric<Counted>] = &[
    Metric::gauge(
        "rva_backup_last_timestamp_seconds",
        "When the newest backup at `backup.to` was made, 0 where none is known",
        |counted| counted.made_at,
    ),
    Metric::gauge(
        "rva_backup_age_max_seconds",
        "Age from which the newest backup is too old: `backup.age_max`",
        |counted| counted.age_max,
    ),
    Metric::counter("rva_backup_look_failures", "Looks at `backup.to` that failed", |counted| counted.failures),
];

/// A look for the newest backup each minute, until this is dropped.
#[derive(Debug)]
pub(super) struct BackupWatch(JoinHandle<()>);

impl BackupWatch {
    /// Starts to look, at once the first time.
    pub(super) fn start(store: BackupStore, age_max: Duration, health: &Health) -> Self {
        let totals = Totals::of(METRICS);
        totals.latest().age_max = i64::try_from(age_max.as_secs()).unwrap_or(i64::MAX);
        health.show(totals.clone());
        let health = health.clone();
        Self(tokio::spawn(async move {
            let mut told = None;
            loop {
                let trouble = look(&store, age_max, &totals).await.err();
                match &trouble {
                    Some(trouble) => health.degraded(BACKUP, trouble.clone()),
                    None => health.ready(BACKUP),
                }
                let is_new = trouble.is_some() && trouble != told;
                if let Some(trouble) = trouble.as_ref().filter(|_| is_new) {
                    tracing::warn!(place = store.location(), "{trouble}");
                }
                told = trouble;
                tokio::time::sleep(INTERVAL).await;
            }
        }))
    }
}

impl Drop for BackupWatch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Looks once, and returns what is wrong in words that stay the same while it does.
async fn look(store: &BackupStore, age_max: Duration, totals: &Totals<Counted>) -> Result<(), String> {
    let made_ms = match store.newest_made_ms().await {
        Ok(made_ms) => made_ms,
        Err(error) => {
            // What was known stays: it gets old by itself.
            totals.latest().failures += 1;
            return Err(error.to_string());
        }
    };
    totals.latest().made_at = made_ms.unwrap_or_default() / 1000;
    let Some(made_ms) = made_ms else { return Err("found no backup, wanted one (rva backup)".to_owned()) };
    let now_ms = rva_types::Timestamp::from(SystemTime::now()).as_micros() / 1000;
    let is_old = u128::try_from(now_ms - made_ms).is_ok_and(|age_ms| age_ms > age_max.as_millis());
    if is_old {
        return Err(format!(
            "found no backup newer than {}, wanted one at most {} old (backup.age_max)",
            rva_types::Timestamp::from_micros(made_ms.saturating_mul(1000)),
            format_duration(age_max)
        ));
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use super::*;
    use rva_lake::{Lake, LakeOptions, storage::LakeStorage};
    use rva_service::wrong_names;

    #[test]
    fn every_metric_has_our_prefix_and_is_in_the_documents() {
        let document = include_str!("../../../../docs/backup.md");
        assert_eq!(wrong_names(METRICS, "rva_backup_", document), Vec::<String>::new());
    }

    #[tokio::test]
    async fn no_backup_an_old_one_and_a_place_that_cannot_be_read_are_told_and_a_young_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let (place, hour) = (folder.path().join("backups"), Duration::from_secs(3600));
        let store = BackupStore::at(LakeStorage::default(), place.to_str().unwrap()).unwrap();
        let totals = Totals::of(METRICS);
        let none = look(&store, hour, &totals).await.unwrap_err();
        assert!(none.starts_with("found no backup, wanted one"), "{none}");
        assert_eq!(totals.latest().made_at, 0);

        let lake = Lake::open_embedded(&folder.path().join("lake"), LakeOptions::default()).await.unwrap();
        let before = rva_types::Timestamp::from(SystemTime::now()).as_micros() / 1_000_000;
        lake.back_up(&store, None).await.unwrap();
        assert_eq!(look(&store, hour, &totals).await, Ok(()));
        let made_at = totals.latest().made_at;
        let after = rva_types::Timestamp::from(SystemTime::now()).as_micros() / 1_000_000;
        assert!((before..=after).contains(&made_at), "{before} {made_at} {after}");

        tokio::time::sleep(Duration::from_millis(20)).await;
        let old = look(&store, Duration::from_millis(10), &totals).await.unwrap_err();
        assert!(old.contains("found no backup newer than 20") && old.contains("backup.age_max"), "{old}");
        // The folder of records is a file now: what was known stays, and the failure counts.
        std::fs::rename(place.join("backups"), place.join("away")).unwrap();
        std::fs::write(place.join("backups"), "x").unwrap();
        look(&store, hour, &totals).await.unwrap_err();
        let counted = totals.latest();
        assert_eq!((counted.made_at, counted.failures), (made_at, 1));
    }
}
