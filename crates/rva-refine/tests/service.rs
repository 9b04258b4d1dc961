//! The service as a process: it follows bronze, says how it is, takes a changed configuration, stops when it is told to,
//! and goes on where the tables are when it is killed.
#![allow(clippy::unwrap_used, reason = "a world that can't be built is a failed test")]

#[allow(dead_code, reason = "shared with the test of equality, which uses all of it")]
#[path = "equality/shop.rs"]
mod shop;

use rva_lake::{BronzeRow, Lake, PeoplePerMinute, RowFilter, Shape, ZoneTable};
use rva_types::Timestamp;
use shop::{Bronze, Random, T0, film, open};
use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant, SystemTime},
};

/// A process that doesn't do what it should for this long has hung; machines are busy.
const PATIENCE: Duration = Duration::from_secs(60);

fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rva-refine"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("RVA_") {
            command.env_remove(name);
        }
    }
    command.current_dir(folder).args(["--data-dir", "d"]).args(arguments);
    command
}

fn run(folder: &Path, arguments: &[&str]) -> Output {
    command(folder, arguments).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A service that follows, and where it says how it is.
struct Service {
    child: Child,
    address: String,
}

impl Service {
    fn start(folder: &Path) -> Self {
        let arguments = ["--interval", "100ms", "--health-address", "127.0.0.1:0"];
        let mut child = command(folder, &arguments).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let address = lines.find_map(|line| Some(line.split_once("on http://")?.1.trim().to_owned())).unwrap();
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, address }
    }

    /// Status and body.
    fn get(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    fn metric(&self, name: &str) -> Option<f64> {
        let (_, body) = self.get("/metrics");
        body.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
    }

    fn signal(&self, name: &str) {
        let done = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(done.unwrap().success());
    }

    fn end(mut self) -> Option<i32> {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("the service didn't end in {PATIENCE:?}");
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so().await {
        assert!(Instant::now() < end, "waited {PATIENCE:?} for {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Frames that gold counts.
async fn frames(lake: &Lake) -> i64 {
    let Some(view) = lake.view(PeoplePerMinute::TABLE).await.unwrap() else { return 0 };
    let at = PeoplePerMinute::COLUMNS.iter().position(|(name, _)| *name == "frames").unwrap();
    let rows = view.rows(PeoplePerMinute::COLUMNS, &RowFilter::default()).await.unwrap();
    rows.iter().map(|row| row[at].whole().unwrap()).sum()
}

/// Rows of bronze that are frames.
fn whole(rows: &[rva_lake::BronzeRow]) -> i64 {
    rows.iter().filter(|row| !row.event.payload.to_string().contains("yesterday")).count() as i64
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bronze_is_followed_health_and_metrics_say_so_and_a_kill_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let lake = open(&folder.path().join("d")).await;
    let mut bronze = Bronze::of(&lake);
    let rows = film(&mut Random(3), "a", "door", "run-1", T0, 200.0);
    let (first, rest) = rows.split_at(rows.len() / 2);
    bronze.append(first.to_vec()).await;

    let service = Service::start(folder.path());
    until("gold", async || frames(&lake).await == whole(first)).await;
    until("health", async || service.get("/ready").0 == 200).await;
    assert_eq!(service.get("/live").0, 200);
    assert_eq!(service.metric("rva_refine_bronze_rows_total"), Some(first.len() as f64));
    assert_eq!(service.metric("rva_refine_lag_snapshots"), Some(0.0));

    // Killed, with rows that it hasn't seen.
    service.signal("KILL");
    bronze.append(rest.to_vec()).await;
    assert_eq!(service.end(), None);
    let service = Service::start(folder.path());
    until("the rest of gold", async || frames(&lake).await == whole(&rows)).await;
    until("what it read", async || service.metric("rva_refine_bronze_rows_total") == Some(rest.len() as f64)).await;
    service.signal("TERM");
    assert_eq!(service.end(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_in_the_shop_are_told_once_however_often_the_service_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let lake = open(&folder.path().join("d")).await;
    let mut bronze = Bronze::of(&lake);
    // Some minutes of now: what is long past tells nobody anything.
    let minute_us = 60_000_000;
    let from = Timestamp::from(SystemTime::now()).as_micros() / minute_us * minute_us - 8 * minute_us;
    let rows = film(&mut Random(3), "a", "door", "run-1", from, 200.0).into_iter();
    // A record that came long before it was taken is no frame.
    let came = Timestamp::from_micros(from + 4 * minute_us);
    bronze.append(rows.map(|row| BronzeRow { ingest_ts: came, ..row }).collect()).await;
    let alerts = "alerts: [{ name: quiet, below: 1000, for: 2m }]\nnotify: { webhook: \"http://127.0.0.1:9/\" }\n";
    assert!(run(folder.path(), &["--drain"]).status.success());
    assert!(frames(&lake).await > 0);
    fs::write(folder.path().join("rva.yaml"), alerts).unwrap();
    let told = "rva_notify_notifications_total{alert=\"quiet\",status=\"firing\"}";
    let firing = "rva_notify_firing{alert=\"quiet\"}";
    for (turn, count) in [Some(1.0), None, None].into_iter().enumerate() {
        let service = Service::start(folder.path());
        until("the alert", async || service.metric(firing) == Some(1.0)).await;
        assert_eq!(service.metric(told), count, "turn {turn}");
        assert_eq!(service.metric("rva_notify_waiting"), Some(1.0), "turn {turn}: nobody takes it");
        service.signal("KILL");
        service.end();
    }
    fs::write(folder.path().join("rva.yaml"), "alerts: [{ name: quiet, below: 1000, for: 90s }]\n").unwrap();
    let refused = run(folder.path(), &["--drain"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused).contains("alerts.quiet"), "{}", text(&refused));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn zones_of_the_file_are_taken_at_the_start_and_on_a_hangup() {
    let folder = tempfile::tempdir().unwrap();
    let lake = open(&folder.path().join("d")).await;
    let file = folder.path().join("rva.yaml");
    let line = |name: &str| format!("  - {{camera: door, store: a, name: {name}, line: [[0.5, 0], [0.5, 1]]}}\n");
    fs::write(&file, format!("zones:\n{}", line("first"))).unwrap();
    Bronze::of(&lake).append(film(&mut Random(3), "a", "door", "run-1", T0, 60.0)).await;
    let names = async || {
        let Some(view) = lake.view("zones").await.unwrap() else { return Vec::new() };
        let rows = view.rows(ZoneTable::COLUMNS, &RowFilter::default()).await.unwrap();
        let open = rows.iter().filter(|row| row[6] == rva_lake::Cell::Null);
        let mut names: Vec<String> = open.map(|row| format!("{:?}", row[2])).collect();
        names.sort();
        names
    };
    let is_there = |name: &str, found: &[String]| found.len() == 1 && found[0].contains(name);
    let service = Service::start(folder.path());
    until("the first line", async || is_there("first", &names().await)).await;
    // A file that is wrong changes nothing.
    fs::write(&file, "zones:\n  - {camera: door, name: x, line: [[0.5, 0]]}\n").unwrap();
    service.signal("HUP");
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(is_there("first", &names().await));
    fs::write(&file, format!("zones:\n{}", line("second"))).unwrap();
    service.signal("HUP");
    until("the second line", async || is_there("second", &names().await)).await;
    service.signal("INT");
    assert_eq!(service.end(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_drains_rebuilds_and_says_what_it_can_not_use() {
    let folder = tempfile::tempdir().unwrap();
    let lake = open(&folder.path().join("d")).await;
    let rows = film(&mut Random(5), "a", "door", "run-1", T0, 100.0);
    Bronze::of(&lake).append(rows.clone()).await;
    let drained = run(folder.path(), &["--drain"]);
    assert_eq!(drained.status.code(), Some(0), "{}", text(&drained));
    assert!(text(&drained).contains(&format!("bronze_rows={}", rows.len())), "{}", text(&drained));
    assert_eq!(frames(&lake).await, whole(&rows));
    let again = run(folder.path(), &["--rebuild", "gold", "--from", "2026-01-31"]);
    assert_eq!(again.status.code(), Some(0), "{}", text(&again));
    assert_eq!(frames(&lake).await, whole(&rows));
    for (arguments, code, said) in [
        (&["--rebuild", "nothing"][..], 2, "wanted one of silver, gold, gold_"),
        (&["--drain", "--rebuild", "gold"], 2, "cannot be used with"),
        (&["--interval", "soon"], 2, "refine.interval"),
    ] {
        let output = run(folder.path(), arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", text(&output));
        assert!(text(&output).contains(said), "{arguments:?}: {}", text(&output));
    }
    // A catalog that nobody answers at: a drain gives up after a while and says where; the service would wait.
    let mut away = command(folder.path(), &["--rebuild", "gold", "--catalog", "rest"]);
    let keys = [("S3_ACCESS_KEY", "me"), ("S3_SECRET_KEY", "hush-hush")];
    let output = away.env("ICEBERG_CATALOG_URI", "http://127.0.0.1:1").envs(keys).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert!(text(&output).contains("http://127.0.0.1:1") && !text(&output).contains("hush"), "{}", text(&output));
}
