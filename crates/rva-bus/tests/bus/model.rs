//! Random sends, flushes and power losses against a model.

use crate::{drain, keys, message, no_sync, segments};
use proptest::prelude::*;
use rva_bus::{EventSink, LogOptions, LogReader, LogWriter};
use std::{collections::BTreeMap, fs, path::Path};

#[derive(Debug, Clone)]
enum Step {
    Send {
        partition: usize,
        bytes: usize,
    },
    Flush,
    /// Power loss: of what wasn't flushed only a part is left, and perhaps one byte of it is wrong.
    Crash {
        keep: f64,
        wrong: Option<f64>,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..2_usize, 0..600_usize).prop_map(|(partition, bytes)| Step::Send { partition, bytes }),
        1 => Just(Step::Flush),
        2 => (0.0..=1.0, proptest::option::of(0.0..1.0)).prop_map(|(keep, wrong)| Step::Crash { keep, wrong }),
    ];
    proptest::collection::vec(step, 1..40)
}

const PARTITIONS: [&str; 2] = ["a", "b"];

fn options() -> LogOptions {
    LogOptions { segment_bytes_max: 1500, ..no_sync() }
}

/// Copies the log as a crash at this moment would leave it.
fn crash(from: &Path, to: &Path, keep: f64, wrong: Option<f64>, durable: &BTreeMap<&str, (String, u64)>) {
    fs::create_dir(to).unwrap();
    fs::copy(from.join("identity"), to.join("identity")).unwrap();
    for partition in PARTITIONS.iter().filter(|partition| from.join(partition).is_dir()) {
        fs::create_dir(to.join(partition)).unwrap();
        fs::copy(from.join(partition).join("durable"), to.join(partition).join("durable")).unwrap();
        let (safe_segment, safe_bytes) = durable.get(partition).cloned().unwrap_or_default();
        let mut all = Vec::new();
        for path in segments(from, partition) {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            let safe = if name < safe_segment {
                u64::MAX
            } else if name == safe_segment {
                safe_bytes
            } else {
                0
            };
            let bytes = fs::read(path).unwrap();
            let safe = usize::try_from(safe).unwrap_or(usize::MAX).min(bytes.len());
            all.push((name, bytes, safe));
        }
        let at_risk: usize = all.iter().map(|(_, bytes, safe)| bytes.len() - safe).sum();
        let mut kept = (at_risk as f64 * keep) as usize;
        let mut wrong_at = wrong.map(|wrong| (kept as f64 * wrong) as usize).filter(|at| *at < kept);
        for (name, mut bytes, safe) in all {
            let part = kept.min(bytes.len() - safe);
            if let Some(at) = wrong_at {
                if at < part {
                    bytes[safe + at] ^= 1;
                }
                wrong_at = at.checked_sub(part);
            }
            kept -= part;
            fs::write(to.join(partition).join(name), &bytes[..safe + part]).unwrap();
        }
    }
}

/// Where each partition ends now: its last segment and that one's size.
fn ends(log: &Path) -> BTreeMap<&'static str, (String, u64)> {
    let mut ends = BTreeMap::new();
    for partition in PARTITIONS.iter().filter(|partition| log.join(partition).is_dir()) {
        if let Some(last) = segments(log, partition).pop() {
            let name = last.file_name().unwrap().to_str().unwrap().to_owned();
            ends.insert(*partition, (name, fs::metadata(last).unwrap().len()));
        }
    }
    ends
}

async fn run(steps: Vec<Step>) {
    let dir = tempfile::tempdir().unwrap();
    let mut log = dir.path().join("0");
    let mut writer = LogWriter::open(&log, options()).unwrap();
    let mut accepted: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut flushed: BTreeMap<&str, usize> = BTreeMap::new();
    let mut durable = BTreeMap::new();
    for (number, step) in steps.into_iter().enumerate() {
        match step {
            Step::Send { partition, bytes } => {
                let (partition, body) = (PARTITIONS[partition], format!("\"{number}{}\"", "x".repeat(bytes)));
                writer.send(message(partition, &body)).await.unwrap();
                accepted.entry(partition).or_default().push(body);
            }
            Step::Flush => {
                writer.flush().await.unwrap();
                flushed = accepted.iter().map(|(partition, records)| (*partition, records.len())).collect();
                durable = ends(&log);
            }
            Step::Crash { keep, wrong } => {
                let next = dir.path().join(format!("{}", number + 1));
                crash(&log, &next, keep, wrong, &durable);
                log = next;
                writer = LogWriter::open(&log, options()).unwrap();
                let found = keys(&drain(&mut LogReader::open(&log).unwrap()).await);
                for partition in PARTITIONS {
                    let sent = accepted.entry(partition).or_default();
                    let read: Vec<_> = found.iter().filter(|(name, ..)| name == partition).collect();
                    let safe = flushed.get(partition).copied().unwrap_or(0);
                    assert!(read.len() >= safe, "{partition}: found {} records, {safe} were durable", read.len());
                    sent.truncate(read.len());
                    let wanted: Vec<_> =
                        sent.iter().zip(1..).map(|(body, n)| (partition.to_owned(), n, body.clone())).collect();
                    assert_eq!(read.into_iter().cloned().collect::<Vec<_>>(), wanted);
                }
                flushed = accepted.iter().map(|(partition, records)| (*partition, records.len())).collect();
                durable = ends(&log);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_durable_record_survives_a_crash_once_and_no_number_is_used_again(steps in steps()) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(run(steps));
    }
}
