//! Maintenance beside the ingest: small files are merged where nobody adds to them any more, old snapshots go.
//!
//! It has a thread of its own with little claim on the processor, so that it takes what the ingest leaves, and it never
//! holds anything that the ingest waits for: where both change a table at once, one of them tries again.

use rva_lake::{Lake, Maintenance, MergeLimits, Merged};
use rva_service::{Health, MaintainConfig, Metric, Series, Totals};
use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, SystemTime},
};
use tokio::sync::watch;

/// Names maintenance as a part of a service's health.
const MAINTENANCE: &str = "maintenance";

/// The longest wait for the first look: a start is busy enough.
const FIRST_MAX: Duration = Duration::from_secs(60);

/// The way in which the thread yields to others: a third of what each of them gets where they want all of the
/// processor. With less its commit takes so long that a writer is always faster.
const NICE: i32 = 5;

/// The counts of the looks of a process.
#[derive(Debug, Default)]
struct Counted {
    /// The work done, by table.
    tables: BTreeMap<&'static str, Merged>,
    /// The number of looks that failed.
    failures: u64,
    /// The whole seconds since 1970 at the end of the last look; 0 before the first.
    looked_at: i64,
    /// The longest time that a look took, in whole milliseconds.
    longest_ms: i64,
}

fn by_table(counted: &Counted, count: fn(&Merged) -> u64) -> Vec<Series<u64>> {
    counted.tables.iter().map(|(table, merged)| Series::of([*table], count(merged))).collect()
}

/// The metrics of maintenance.
const METRICS: &[Metric<Counted>] = &[
    Metric::counter_by("rva_maintain_commits", &["table"], "Commits that merged small files, by table", |counted| {
        by_table(counted, |merged| merged.commits)
    }),
    Metric::counter_by("rva_maintain_files", &["table"], "Small files that were merged, by table", |counted| {
        by_table(counted, |merged| merged.files)
    }),
    Metric::counter_by("rva_maintain_files_written", &["table"], "Files that came of them, by table", |counted| {
        by_table(counted, |merged| merged.files_written)
    }),
    Metric::counter_by("rva_maintain_written_bytes", &["table"], "Bytes of those, by table", |counted| {
        by_table(counted, |merged| merged.bytes_written)
    }),
    Metric::counter_by("rva_maintain_lost", &["table"], "Merges that others were faster than, by table", |counted| {
        by_table(counted, |merged| merged.lost)
    }),
    Metric::counter_by(
        "rva_maintain_aged_rows",
        &["table"],
        "Rows that went because they were old, by table",
        |counted| by_table(counted, |merged| merged.aged),
    ),
    Metric::counter("rva_maintain_failures", "Looks that failed and that a later one makes up for", |counted| {
        counted.failures
    }),
    Metric::gauge(
        "rva_maintain_last_look_timestamp_seconds",
        "When the tables were looked through last, 0 before the first time",
        |counted| counted.looked_at,
    ),
    Metric::gauge("rva_maintain_longest_look_milliseconds", "The longest time that a look took", |counted| {
        counted.longest_ms
    }),
];

/// Maintenance that goes on until this is dropped.
#[derive(Debug)]
pub struct Maintaining {
    /// Dropped, it ends the thread.
    stop: Option<watch::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Maintaining {
    /// Starts a thread that opens the tables by `open` and looks through them at each interval. `None` where the
    /// configuration doesn't want it.
    ///
    /// # Errors
    /// Returns an error where no thread can be made.
    pub fn start<O>(
        config: &MaintainConfig,
        limits: MergeLimits,
        health: &Health,
        open: O,
    ) -> std::io::Result<Option<Self>>
    where
        O: AsyncFn() -> anyhow::Result<Lake> + Send + 'static,
    {
        if !config.enabled {
            return Ok(None);
        }
        let totals = Totals::of(METRICS);
        health.show(totals.clone());
        let looks = Looks { interval: config.interval, limits, health: health.clone(), totals };
        let (stop, stopped) = watch::channel(());
        let run = move || {
            // Threads that it makes inherit it. Where it can't be had it is a thread like others.
            let _ = rustix::process::nice(NICE);
            match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime.block_on(looks.until(stopped, open)),
                Err(error) => tracing::error!(%error, "could not start the runtime of maintenance"),
            }
        };
        let thread = thread::Builder::new().name("rva-maintain".to_owned()).spawn(run)?;
        Ok(Some(Self { stop: Some(stop), thread: Some(thread) }))
    }
}

impl Drop for Maintaining {
    fn drop(&mut self) {
        drop(self.stop.take());
        // It ends at its next wait. What it wrote and didn't commit is an orphan, and goes when it is old.
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("maintenance ended with a panic");
        }
    }
}

/// Looks at the tables, one after another.
struct Looks {
    interval: Duration,
    limits: MergeLimits,
    health: Health,
    totals: Totals<Counted>,
}

impl Looks {
    async fn until(self, mut stopped: watch::Receiver<()>, open: impl AsyncFn() -> anyhow::Result<Lake>) {
        let mut maintenance = None;
        let mut wait = self.interval.min(FIRST_MAX);
        loop {
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                _ = stopped.changed() => return,
            }
            wait = self.interval;
            tokio::select! {
                goes_on = self.look(&mut maintenance, &open) => if !goes_on { return },
                _ = stopped.changed() => return,
            }
        }
    }

    /// Looks once. Returns whether another look can do anything.
    async fn look(&self, maintenance: &mut Option<Maintenance>, open: &impl AsyncFn() -> anyhow::Result<Lake>) -> bool {
        let began = SystemTime::now();
        let merged = match maintenance {
            Some(maintenance) => maintenance.merge(began).await.map_err(anyhow::Error::from),
            None => match open().await {
                Ok(lake) if !lake.swap().can_swap() => {
                    tracing::info!("this catalog's files are merged by another engine, not by this program");
                    return false;
                }
                Ok(lake) => match lake.maintenance(None, &self.limits) {
                    Ok(made) => maintenance.insert(made).merge(began).await.map_err(anyhow::Error::from),
                    Err(error) => Err(error.into()),
                },
                Err(error) => Err(error),
            },
        };
        let now = SystemTime::now();
        let took = now.duration_since(began).unwrap_or_default();
        let mut counted = self.totals.latest();
        counted.looked_at = rva_types::Timestamp::from(now).as_micros() / 1_000_000;
        counted.longest_ms = counted.longest_ms.max(i64::try_from(took.as_millis()).unwrap_or(i64::MAX));
        match merged {
            Ok(merged) => {
                merged.into_iter().for_each(|merged| counted.note(merged));
                self.health.ready(MAINTENANCE);
            }
            Err(error) => {
                counted.failures += 1;
                let error = format!("{error:#}");
                tracing::warn!(error, "could not merge files, tries again at the next look");
                self.health.degraded(MAINTENANCE, error);
            }
        }
        true
    }
}

impl Counted {
    fn note(&mut self, merged: Merged) {
        let Merged { table, commits, files, files_written, rows, bytes, bytes_written, lost, aged, left } = merged;
        let sum = self.tables.entry(table).or_insert_with(|| Merged { table, ..Merged::default() });
        // Said once, not at every look.
        if let Some(why) = left.as_ref().filter(|_| sum.left != left) {
            tracing::info!(table, reason = %why, "left small files as they are");
        }
        sum.commits += commits;
        sum.files += files;
        sum.files_written += files_written;
        sum.rows += rows;
        sum.bytes += bytes;
        sum.bytes_written += bytes_written;
        sum.lost += lost;
        sum.aged += aged;
        sum.left = left;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rva_service::wrong_names;

    #[test]
    fn every_metric_has_our_prefix_and_is_in_the_documents() {
        let document = include_str!("../../../docs/maintenance.md");
        assert_eq!(wrong_names(METRICS, "rva_maintain_", document), Vec::<String>::new());
    }
}
