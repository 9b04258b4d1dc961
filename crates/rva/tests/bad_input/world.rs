//! A working folder with a data folder `d` in it, and what can be said about its rows.

use crate::common::{Ran, clip, command, demo_model, record};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// The key of an event: run, camera, frame index.
pub type Key = (String, String, u64);

pub struct World {
    folder: TempDir,
}

impl World {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    /// With six rows of an earlier run in the table.
    pub fn seeded() -> Self {
        let world = Self::new();
        world.seed();
        world
    }

    pub fn seed(&self) -> BTreeSet<Key> {
        let keys = keys("earlier", "door", 1..=6);
        self.write("earlier.ndjson", records(&keys));
        self.rva(&["replay", "earlier.ndjson"]).exits(0);
        self.rva(&["ingest", "--drain"]).exits(0);
        assert_eq!(self.rows(), keys);
        keys
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn data(&self) -> PathBuf {
        self.path().join("d")
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    /// `rva ARGUMENTS --data-dir d`, in the working folder.
    pub fn command(&self, arguments: &[&str]) -> Command {
        command(self.path(), &[arguments, &["--data-dir", "d"]].concat())
    }

    pub fn rva(&self, arguments: &[&str]) -> Ran {
        self.command(arguments).output().unwrap().into()
    }

    /// The same in the background, with stderr in a file.
    pub fn start(&self, arguments: &[&str]) -> Running {
        let text = self.path().join(format!("stderr-{:?}", Instant::now()).replace([' ', ':'], ""));
        let child = self.command(arguments).stdout(Stdio::null()).stderr(File::create(&text).unwrap()).spawn().unwrap();
        Running { child: Some(child), text }
    }

    /// `rva run SOURCE` with the demo's model.
    pub fn run(&self, source: &str, more: &[&str]) -> Ran {
        let model = demo_model().display().to_string();
        self.rva(&[&["run", source, "--model", &model], more].concat())
    }

    /// The same in the background.
    pub fn start_run(&self, source: &str, more: &[&str]) -> Running {
        let model = demo_model().display().to_string();
        self.start(&[&["run", source, "--model", &model], more].concat())
    }

    /// The first frames of the footage as `clip.avi`.
    pub fn clip(&self, frames: u32) -> Option<String> {
        clip(self.path(), frames).map(|path| path.display().to_string())
    }

    /// What SQL says, one JSON value a row.
    #[track_caller]
    pub fn query(&self, sql: &str) -> Vec<Value> {
        let ran = self.rva(&["query", sql, "--format", "json"]).exits(0);
        ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The keys of `bronze_raw`; fails where one is there twice.
    #[track_caller]
    pub fn rows(&self) -> BTreeSet<Key> {
        if !self.data().join("catalog.db").exists() {
            return BTreeSet::new();
        }
        let sql = "SELECT pipeline_run_id, camera_id, frame_index FROM bronze_raw";
        let csv = self.rva(&["query", sql, "--format", "csv"]).exits(0).stdout;
        let mut rows = BTreeSet::new();
        for line in csv.lines().skip(1) {
            let [run, camera, frame] = line.split(',').collect::<Vec<_>>()[..] else { panic!("wanted a key: {line}") };
            let key = (run.to_owned(), camera.to_owned(), frame.parse().unwrap());
            assert!(rows.insert(key.clone()), "{key:?} is there twice");
        }
        rows
    }

    /// The segments of a partition of the log.
    pub fn segments(&self, partition: &str) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(self.data().join("log").join(partition)) else { return Vec::new() };
        let paths = entries.flatten().map(|entry| entry.path());
        let mut segments: Vec<_> = paths.filter(|path| path.extension().is_some_and(|e| e == "ndjson")).collect();
        segments.sort();
        segments
    }

    /// The keys of the whole records in the segments of a partition.
    pub fn logged(&self, partition: &str) -> BTreeSet<Key> {
        let mut keys = BTreeSet::new();
        for segment in self.segments(partition) {
            for line in fs::read_to_string(segment).unwrap_or_default().lines() {
                let Ok(line) = serde_json::from_str::<Value>(line) else { continue };
                let record = &line["rec"];
                let text = |value: &Value| value.as_str().map(str::to_owned);
                if let (Some(run), Some(camera), Some(frame)) = (
                    text(&record["pipeline_run_id"]),
                    text(&record["source"]["camera_id"]),
                    record["frame_index"].as_u64(),
                ) {
                    keys.insert((run, camera, frame));
                }
            }
        }
        keys
    }

    /// Another program that has the catalog open in a transaction; it is killed when it is dropped.
    pub fn hold_catalog(&self, begin: &str) -> Holder {
        let script = "import sqlite3, sys\n\
                      held = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)\n\
                      held.executescript(sys.argv[2])\n\
                      print('held', flush=True)\n\
                      sys.stdin.read()";
        let mut child = Command::new("python3")
            .args(["-c", script])
            .arg(self.data().join("catalog.db"))
            .arg(begin)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "held\n");
        Holder(child)
    }

    /// Every file below the working folder but those below `without`, to see that nothing else was made.
    pub fn files(&self, without: &Path) -> BTreeSet<PathBuf> {
        let (mut found, mut folders) = (BTreeSet::new(), vec![self.path().to_owned()]);
        while let Some(folder) = folders.pop() {
            for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
                if path.is_dir() && path != without {
                    folders.push(path);
                } else if path != without {
                    found.insert(path);
                }
            }
        }
        found
    }
}

/// A command in the background; it is killed with the test.
pub struct Running {
    child: Option<Child>,
    text: PathBuf,
}

impl Running {
    pub fn pid(&self) -> String {
        self.child.as_ref().unwrap().id().to_string()
    }

    /// What it has said so far.
    pub fn said(&self) -> String {
        fs::read_to_string(&self.text).unwrap_or_default()
    }

    /// Waits until it has said all of these.
    #[track_caller]
    pub fn wait_until_it_says(&mut self, wanted: &[&str]) {
        self.wait_for(&format!("{wanted:?}"), |running| {
            let said = running.said();
            wanted.iter().all(|text| said.contains(text))
        });
    }

    /// Waits for something that must come while it runs; the time is only a bound for a broken test.
    #[track_caller]
    pub fn wait_for(&mut self, what: &str, mut is_there: impl FnMut(&Self) -> bool) {
        let start = Instant::now();
        while !is_there(self) {
            let ended = self.child.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "it ended ({ended:?}) before {what}:\n{}", self.said());
            assert!(start.elapsed() < Duration::from_secs(120), "waited in vain for {what}:\n{}", self.said());
            sleep(Duration::from_millis(10));
        }
    }

    /// Sends a signal: `-INT`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([name, &self.pid()]).status().unwrap();
        assert!(sent.success(), "{} is gone:\n{}", self.pid(), self.said());
    }

    /// Waits for its end. A process that a signal ended has 128 and the signal's number, as in a shell.
    pub fn end(mut self) -> Ran {
        use std::os::unix::process::ExitStatusExt;
        let status = self.child.take().unwrap().wait().unwrap();
        let code = status.code().or(status.signal().map(|signal| 128 + signal)).unwrap();
        Ran { code, stdout: String::new(), stderr: self.said() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// See [`World::hold_catalog`].
pub struct Holder(Child);

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The keys of a run's frames.
pub fn keys(run: &str, camera: &str, frames: impl IntoIterator<Item = u64>) -> BTreeSet<Key> {
    frames.into_iter().map(|frame| (run.to_owned(), camera.to_owned(), frame)).collect()
}

/// Their records, one a line.
pub fn records(keys: &BTreeSet<Key>) -> String {
    keys.iter().map(|(run, camera, frame)| record(run, camera, *frame) + "\n").collect()
}

/// Fails unless the keys are one run of one camera without a hole from the first frame on; says the last.
#[track_caller]
pub fn last_without_hole<'a>(keys: impl IntoIterator<Item = &'a Key>) -> u64 {
    let keys: Vec<_> = keys.into_iter().collect();
    let runs: BTreeSet<_> = keys.iter().map(|(run, camera, _)| (run, camera)).collect();
    assert!(runs.len() <= 1, "wanted one run of one camera: {runs:?}");
    let frames: BTreeSet<u64> = keys.iter().map(|key| key.2).collect();
    assert_eq!(frames, (1..=frames.len() as u64).collect(), "a frame is missing in between");
    frames.len() as u64
}
