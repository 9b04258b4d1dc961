//! `kill -9` of the real process while it ingests a log that is being written; then every event is there once.
//!
//! `RVA_KILLS=N` kills N times, `RVA_KILL_SEED=N` chooses the moments.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "common/tables.rs"]
mod tables;

use rand::{Rng, SeedableRng, rngs::StdRng};
use rva_bus::{EventSink, EventSource, LogOptions, LogReader, LogWriter, OutgoingMessage, ReplayOptions, replay_file};
use rva_lake::{CommitStep, Lake, LakeOptions, TableSink};
use rva_types::OffsetMap;
use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};
use tables::Key;

/// A process that says nothing for this long has hung.
const PATIENCE: Duration = Duration::from_secs(60);

/// Attempts at a step before the test gives up on it.
const ATTEMPTS_MAX: usize = 30;

/// A running `rva-ingest`; killed when dropped.
struct Victim {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Victim {
    fn start(dir: &Path, more: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_rva-ingest"))
            .arg("--data-dir")
            .arg(dir)
            .args(["--commit-interval", "100ms", "--log-format", "json"])
            .args(["--log-level", "warn,rva=info,rva_lake::step=trace"])
            .args(more)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = child.stderr.take().unwrap();
        let (send, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines }
    }

    fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kills it with SIGKILL, and returns the last step that it told of.
    fn kill(mut self, mut last: Option<String>) -> Option<String> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        while let Ok(line) = self.lines.recv() {
            last = step_of(&line).or(last);
        }
        last
    }

    fn kill_at(self, moment: &Moment) -> Option<String> {
        let mut last = None;
        let end = match moment {
            Moment::After(wait) => Instant::now() + *wait,
            Moment::Step(_) => Instant::now() + PATIENCE,
        };
        while let Ok(line) = self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
            let step = step_of(&line);
            let is_there = matches!((moment, &step), (Moment::Step(wanted), Some(step)) if step == wanted.name());
            last = step.or(last);
            if is_there {
                break;
            }
        }
        self.kill(last)
    }

    /// The first line that holds `text`.
    fn wait_for(&self, text: &str) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            match self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) if line.contains(text) => return line,
                Ok(_) => {}
                Err(error) => panic!("no line with {text:?}: {error}"),
            }
        }
    }

    /// Waits for its own end; the exit code and all lines.
    fn end(mut self) -> (Option<i32>, String) {
        let mut text = String::new();
        while let Ok(line) = self.lines.recv_timeout(PATIENCE) {
            text.push_str(&line);
            text.push('\n');
        }
        (self.child.wait().unwrap().code(), text)
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

enum Moment {
    After(Duration),
    Step(CommitStep),
}

fn step_of(line: &str) -> Option<String> {
    let json: serde_json::Value = serde_json::from_str(line).ok()?;
    json.get("step")?.as_str().map(str::to_owned)
}

fn record(run: &str, camera: &str, frame: i64) -> String {
    format!(
        r#"{{"schema_version":"1.0","pipeline_run_id":"{run}","frame_index":{frame},"source":{{"store_id":"s","camera_id":"{camera}"}}}}"#
    )
}

fn message(camera: &str, body: String) -> OutgoingMessage {
    OutgoingMessage { partition_key: camera.into(), properties: BTreeMap::new(), event_time: None, body: body.into() }
}

fn log_writer(dir: &Path) -> LogWriter {
    let options = LogOptions { sync_interval: Duration::from_millis(5), ..LogOptions::default() };
    LogWriter::open(dir.join("log"), options).unwrap()
}

fn drain(dir: &Path) -> String {
    let (code, text) = Victim::start(dir, &["--drain"]).end();
    assert_eq!(code, Some(0), "{text}");
    text
}

/// Keys in the table, each as often as it is there, and the table's offsets.
async fn table(dir: &Path) -> (Vec<Key>, OffsetMap) {
    let lake = Lake::open_embedded_read_only(dir, LakeOptions::default()).await.unwrap();
    let mut keys = tables::bronze_keys(&lake).await.unwrap();
    keys.sort();
    (keys, lake.bronze_sink().unwrap().resume_point().await.unwrap().offsets)
}

async fn log_end(dir: &Path) -> OffsetMap {
    let mut end = OffsetMap::new();
    for range in LogReader::open(dir.join("log")).unwrap().partitions().await.unwrap() {
        end.advance(&range.partition, range.last.unwrap());
    }
    end
}

/// An interpreter that has pyiceberg.
fn python() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let candidates = [
        std::env::var_os("RVA_PYTHON").map(PathBuf::from),
        Some(root.join(".venv/bin/python")),
        Some(PathBuf::from("python3")),
    ];
    candidates.into_iter().flatten().find(|python| {
        let probe = Command::new(python).args(["-c", "import pyiceberg.catalog.sql, pyarrow"]).output();
        probe.is_ok_and(|output| output.status.success())
    })
}

/// The keys as another implementation of Iceberg reads them.
fn keys_by_pyiceberg(dir: &Path) -> Option<Vec<Key>> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/read_keys.py");
    let output = Command::new(python()?).arg(script).arg(dir).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let mut keys: Vec<Key> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    keys.sort();
    Some(keys)
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("found {name}={text}")))
}

/// Writes frames of two cameras until told to stop; returns the keys that were accepted.
fn write_meanwhile(dir: &Path, stop: Arc<AtomicBool>) -> std::thread::JoinHandle<BTreeSet<Key>> {
    let mut writer = log_writer(dir);
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut sent = BTreeSet::new();
            for frame in 1.. {
                if stop.load(Ordering::SeqCst) {
                    break;
                }
                for camera in ["cam_a", "cam_b"] {
                    writer.send(message(camera, record("run", camera, frame))).await.unwrap();
                    sent.insert(("run".to_owned(), camera.to_owned(), frame));
                }
                if frame % 50 == 0 {
                    writer.send(message("cam_a", "no record".into())).await.unwrap();
                    writer.send(message("cam_a", record("run", "cam_a", frame / 2))).await.unwrap();
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            writer.flush().await.unwrap();
            sent
        })
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_ingest_loses_nothing_and_repeats_nothing() {
    let kills = number("RVA_KILLS", 20) as usize;
    let seed = number("RVA_KILL_SEED", 1);
    println!("kill: RVA_KILL_SEED={seed} RVA_KILLS={kills}");
    let mut rng = StdRng::seed_from_u64(seed);
    let dir = tempfile::tempdir().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let writing = write_meanwhile(dir.path(), Arc::clone(&stop));
    let mut hits: BTreeMap<String, usize> = BTreeMap::new();
    let (mut done, mut attempts) = (0, 0);
    let mut before = OffsetMap::new();
    loop {
        let missing = CommitStep::ALL.into_iter().find(|step| !hits.contains_key(step.name()));
        if done >= kills && missing.is_none() {
            break;
        }
        let moment = match missing {
            Some(step) if done % 2 == 1 || done >= kills => Moment::Step(step),
            _ => Moment::After(Duration::from_millis(rng.random_range(20..400))),
        };
        attempts += 1;
        assert!(attempts < kills + ATTEMPTS_MAX, "never died at {missing:?}; hit {hits:?}");
        let step = Victim::start(dir.path(), &["--step-pause", "5ms"]).kill_at(&moment);
        done += 1;
        println!("kill {done}: at {}", step.as_deref().unwrap_or("start"));
        *hits.entry(step.unwrap_or_else(|| "start".into())).or_default() += 1;
        if dir.path().join("catalog.db").exists()
            && let Ok(lake) = Lake::open_embedded_read_only(dir.path(), LakeOptions::default()).await
            && let Ok(point) = lake.bronze_sink().unwrap().resume_point().await
        {
            assert_eq!(point.offsets.merged(&before), point.offsets, "I9: offsets went back");
            before = point.offsets;
        }
    }
    stop.store(true, Ordering::SeqCst);
    let sent: Vec<Key> = writing.join().unwrap().into_iter().collect();
    drain(dir.path());
    let (found, offsets) = table(dir.path()).await;
    let unique: BTreeSet<_> = found.iter().collect();
    let duplicates = found.len() - unique.len();
    let missing = sent.iter().filter(|key| !unique.contains(key)).count();
    let (kills, rows) = (done, found.len());
    println!("kill: steps {hits:?}");
    println!("torture: kills={kills} sent={} rows={rows} duplicates={duplicates} missing={missing}", sent.len());
    assert_eq!(found, sent, "keys in the table");
    assert_eq!(offsets, log_end(dir.path()).await, "offsets at the end");
    match keys_by_pyiceberg(dir.path()) {
        Some(keys) => assert_eq!(keys, sent, "keys that pyiceberg reads"),
        None => println!("skipped: no python with pyiceberg and pyarrow"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_file_replayed_twice_adds_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("records.ndjson");
    let lines: Vec<String> = (1..=300).map(|frame| record("run", "cam", frame)).collect();
    std::fs::write(&file, lines.join("\n")).unwrap();
    let wanted: Vec<Key> = (1..=300).map(|frame| ("run".into(), "cam".into(), frame)).collect();
    for _ in 0..2 {
        let mut writer = log_writer(dir.path());
        replay_file(&file, &mut writer, ReplayOptions::default()).await.unwrap();
        drop(writer);
        drain(dir.path());
        let (found, offsets) = table(dir.path()).await;
        assert_eq!(found, wanted);
        assert_eq!(offsets, log_end(dir.path()).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_sent_twice_far_apart_and_out_of_order_is_there_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut rng = StdRng::seed_from_u64(7);
    let mut wanted = BTreeSet::new();
    for round in 0..3 {
        let mut writer = log_writer(dir.path());
        for _ in 0..400 {
            let frame = rng.random_range(1..250);
            writer.send(message("cam", record("run", "cam", frame))).await.unwrap();
            wanted.insert(("run".to_owned(), "cam".to_owned(), frame));
        }
        for frame in 1..200 {
            writer.send(message("cam", record(&format!("other-{round}"), "cam", frame))).await.unwrap();
            wanted.insert((format!("other-{round}"), "cam".to_owned(), frame));
        }
        writer.flush().await.unwrap();
        drop(writer);
        drain(dir.path());
    }
    assert_eq!(table(dir.path()).await.0, wanted.into_iter().collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_ingest_waits_and_takes_over_when_the_first_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = log_writer(dir.path());
    writer.send(message("cam", record("run", "cam", 1))).await.unwrap();
    writer.flush().await.unwrap();
    let first = Victim::start(dir.path(), &[]);
    first.wait_for("committed up to");
    let second = Victim::start(dir.path(), &[]);
    let said = second.wait_for("standby");
    assert!(said.contains(&format!("process {} ", first.pid())), "{said}");
    first.kill(None);
    writer.send(message("cam", record("run", "cam", 2))).await.unwrap();
    writer.flush().await.unwrap();
    second.wait_for("committed up to");
    assert_eq!(terminate(second), Some(0), "one signal is a clean stop");
    let wanted: Vec<Key> = (1..=2).map(|frame| ("run".into(), "cam".into(), frame)).collect();
    assert_eq!(table(dir.path()).await.0, wanted);
}

/// SIGTERM through the shell's own kill, then the exit code.
fn terminate(victim: Victim) -> Option<i32> {
    let sent = Command::new("sh").args(["-c", &format!("kill -TERM {}", victim.pid())]).status().unwrap();
    assert!(sent.success());
    victim.end().0
}

#[test]
fn no_log_to_drain_is_a_failure_that_names_the_folder() {
    let dir = tempfile::tempdir().unwrap();
    let (code, text) = Victim::start(dir.path(), &["--drain"]).end();
    assert_eq!(code, Some(1));
    assert!(text.contains("found no log in") && text.contains("wanted one"), "{text}");
}

#[test]
fn a_wrong_size_is_a_usage_error() {
    let dir = tempfile::tempdir().unwrap();
    let (code, text) = Victim::start(dir.path(), &["--commit-bytes", "many"]).end();
    assert_eq!(code, Some(2));
    assert!(text.contains("many"), "{text}");
}
