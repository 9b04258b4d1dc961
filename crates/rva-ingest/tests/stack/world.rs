//! A topic of one's own, who sends to it, `rva-ingest` on it, and what the table holds at the end.

use crate::{
    cgroup::MemoryGroup,
    tables::{Key, bronze_keys},
};
use iceberg::TableIdent;
use rva_bus::{
    EventSink, OutgoingMessage,
    pulsar::{PulsarConnection, PulsarSink, PulsarSinkOptions, TopicName},
};
use rva_lake::{
    Lake, LakeOptions, RestOptions, TableSink,
    storage::{S3Keys, S3Options},
};
use rva_stack::Stack;
use rva_types::OffsetMap;
use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    ops::RangeInclusive,
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

/// A process that doesn't do what it should for this long has hung. Servers start slowly on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(180);

pub const SUBSCRIPTION: &str = "rva-ingest";

/// A topic, and a job of that name: tests share the tables, and nothing else.
pub struct World<'a> {
    pub stack: &'a Stack,
    pub topic: TopicName,
    /// Begins the run ids of this test.
    pub name: String,
    environment: BTreeMap<String, String>,
}

impl<'a> World<'a> {
    pub fn new(stack: &'a Stack) -> Self {
        Self::named(stack, &format!("t{}", uuid::Uuid::new_v4().simple()))
    }

    /// The one that has this name: another process of the same test.
    pub fn named(stack: &'a Stack, name: &str) -> Self {
        let name = name.to_owned();
        let topic: TopicName = format!("persistent://rva-test/{name}/events").parse().unwrap();
        let mut environment = stack.environment().clone();
        for (key, value) in [
            ("RVA_BUS_KIND", "pulsar"),
            ("RVA_CATALOG_KIND", "rest"),
            ("RVA_INGEST_JOB", &name),
            ("PULSAR_TOPIC", &topic.to_string()),
            ("RVA_TELEMETRY_LOG_FORMAT", "json"),
            ("RVA_HEALTH_ADDRESS", "127.0.0.1:0"),
            ("RVA_INGEST_COMMIT_INTERVAL", "200ms"),
            ("RUST_LOG", "warn,pulsar::retry_op=error,rva=info,rva_lake::step=trace"),
        ] {
            environment.insert(key.to_owned(), value.to_owned());
        }
        Self { stack, topic, name, environment }
    }

    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.environment.insert(name.to_owned(), value.into());
    }

    /// The program in a memory cgroup.
    pub fn command_in(&self, group: &MemoryGroup) -> Command {
        self.with_environment(group.command(env!("CARGO_BIN_EXE_rva-ingest")))
    }

    fn with_environment(&self, mut command: Command) -> Command {
        command.env_remove("RVA_CONFIG").envs(&self.environment).current_dir(std::env::temp_dir());
        command
    }

    pub fn start(&self, arguments: &[&str]) -> Ingest {
        let mut command = self.with_environment(Command::new(env!("CARGO_BIN_EXE_rva-ingest")));
        let mut child = command.args(arguments).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = child.stderr.take().unwrap();
        let (send, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    return;
                }
            }
        });
        Ingest { child, lines, said: Vec::new() }
    }

    /// Runs it to its end, which must be good.
    pub fn run(&self, arguments: &[&str]) -> String {
        let (code, text) = self.start(arguments).end();
        assert_eq!(code, Some(0), "{arguments:?}: {text}");
        text
    }

    pub fn connection(&self) -> PulsarConnection {
        PulsarConnection::new(self.stack.get("PULSAR_SERVICE_URL"), self.stack.get("PULSAR_ADMIN_URL"))
    }

    pub async fn sink(&self) -> PulsarSink {
        let options = PulsarSinkOptions { retry_for: PATIENCE, ..PulsarSinkOptions::new(self.topic.clone()) };
        PulsarSink::connect(&self.connection(), options).await.unwrap()
    }

    /// Sends frames of each camera, and waits for their receipts.
    pub async fn send(&self, cameras: &[&str], frames: RangeInclusive<i64>) {
        let mut sink = self.sink().await;
        for frame in frames {
            for camera in cameras {
                sink.send(self.record(camera, frame)).await.unwrap();
            }
        }
        sink.flush().await.unwrap();
    }

    pub fn record(&self, camera: &str, frame: i64) -> OutgoingMessage {
        self.record_of(&self.run_of(camera), camera, frame)
    }

    pub fn record_of(&self, run: &str, camera: &str, frame: i64) -> OutgoingMessage {
        let body = serde_json::json!({
            "schema_version": "1.0", "pipeline_run_id": run, "frame_index": frame,
            "source": {"store_id": "store_01", "camera_id": camera, "stream_id": "stream_01"}, "detections": [],
        });
        self.message(camera, body.to_string())
    }

    pub fn message(&self, camera: &str, body: String) -> OutgoingMessage {
        OutgoingMessage {
            partition_key: camera.into(),
            properties: BTreeMap::from([("camera_id".into(), camera.into())]),
            event_time: None,
            body: body.into(),
        }
    }

    fn run_of(&self, camera: &str) -> String {
        format!("{}-{camera}", self.name)
    }

    pub fn keys(&self, cameras: &[&str], frames: RangeInclusive<i64>) -> Vec<Key> {
        let of_camera = |camera: &&str| {
            let (run, camera) = (self.run_of(camera), camera.to_string());
            frames.clone().map(move |frame| (run.clone(), camera.clone(), frame))
        };
        cameras.iter().flat_map(of_camera).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// The tables, to read.
    pub async fn lake(&self) -> Lake {
        self.lake_in(&RestOptions::new(self.stack.get("ICEBERG_CATALOG_URI"))).await
    }

    async fn lake_in(&self, rest: &RestOptions) -> Lake {
        let s3 = S3Options {
            endpoint: Some(self.stack.get("S3_ENDPOINT").to_owned()),
            region: Some(self.stack.get("S3_REGION").to_owned()),
            keys: Some(S3Keys {
                access_key: self.stack.get("S3_ACCESS_KEY").to_owned(),
                secret_key: self.stack.get("S3_SECRET_KEY").to_owned(),
                session_token: None,
            }),
            ..S3Options::default()
        };
        let mut options = LakeOptions::default().with_s3(s3);
        options.job = self.name.parse().unwrap();
        Lake::open_rest_read_only(rest, options).await.unwrap()
    }

    /// What the table says this job has read.
    pub async fn offsets(&self) -> OffsetMap {
        let mut sink = self.lake().await.bronze_sink().unwrap();
        sink.resume_point().await.unwrap().offsets
    }

    /// Of all tests: only in a turn alone.
    pub async fn drop_tables(&self) {
        let lake = self.lake().await;
        for table in ["bronze_raw", "bronze_dead_letters"] {
            lake.catalog().drop_table(&TableIdent::from_strs(["rva", table]).unwrap()).await.unwrap();
        }
    }

    /// This test's keys in the table, each as often as it is there.
    pub async fn table(&self) -> Vec<Key> {
        self.table_in(&RestOptions::new(self.stack.get("ICEBERG_CATALOG_URI"))).await
    }

    /// The same in another catalog.
    pub async fn table_in(&self, rest: &RestOptions) -> Vec<Key> {
        let lake = self.lake_in(rest).await;
        let mut keys = bronze_keys(&lake).await.unwrap();
        keys.retain(|(run, ..)| run.starts_with(&self.name));
        keys.sort();
        keys
    }
}

/// A running `rva-ingest`; killed when dropped.
pub struct Ingest {
    child: Child,
    lines: mpsc::Receiver<String>,
    said: Vec<String>,
}

impl Ingest {
    /// Waits for a line with `text`.
    pub fn wait_for(&mut self, text: &str) -> String {
        self.wait_for_any(&[text])
    }

    /// Waits for a line with one of the texts.
    pub fn wait_for_any(&mut self, texts: &[&str]) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            match self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    self.said.push(line.clone());
                    if texts.iter().any(|text| line.contains(text)) {
                        return line;
                    }
                }
                Err(error) => panic!("no line with {texts:?} ({error}) in:\n{}", self.tail()),
            }
        }
    }

    /// Waits for a line that isn't said yet.
    pub fn wait_for_next(&mut self, text: &str) -> String {
        self.said.extend(self.lines.try_iter());
        self.wait_for(text)
    }

    fn tail(&self) -> String {
        self.said[self.said.len().saturating_sub(30)..].join("\n")
    }

    /// Lets it take so many steps of its commits, then kills it; the last step that it told of.
    pub fn kill_after(mut self, steps: usize, longest: Duration) -> Option<String> {
        self.wait_steps(steps, longest);
        self.kill().iter().rev().find_map(|line| step_of(line))
    }

    /// Lets it take so many more steps of its commits.
    pub fn wait_steps(&mut self, steps: usize, longest: Duration) {
        self.said.extend(self.lines.try_iter());
        let end = Instant::now() + longest;
        let mut seen = 0;
        while seen < steps {
            let Ok(line) = self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) else { break };
            seen += usize::from(step_of(&line).is_some());
            self.said.push(line);
        }
    }

    /// Fails if it ended by itself.
    pub fn assert_runs(&mut self) {
        self.said.extend(self.lines.try_iter());
        let ended = self.child.try_wait().unwrap();
        assert!(ended.is_none(), "it ended by itself, {ended:?}; its last words:\n{}", self.tail());
    }

    /// SIGKILL; then all that it said.
    pub fn kill(mut self) -> Vec<String> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.said.extend(self.lines.iter());
        std::mem::take(&mut self.said)
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// SIGTERM; then how long it took to end, its exit code and what it said.
    pub fn terminate(self) -> (Duration, Option<i32>, String) {
        let began = Instant::now();
        self.signal(rustix::process::Signal::TERM);
        let (code, text) = self.end();
        (began.elapsed(), code, text)
    }

    /// Waits for its own end; the exit code and all lines.
    pub fn end(mut self) -> (Option<i32>, String) {
        while let Ok(line) = self.lines.recv_timeout(PATIENCE) {
            self.said.push(line);
        }
        if self.child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_secs(1));
        }
        let ended = self.child.try_wait().unwrap();
        let ended = ended.unwrap_or_else(|| panic!("it didn't end; its last words:\n{}", self.tail()));
        (ended.code(), self.said.join("\n"))
    }

    /// Where its health is.
    pub fn health(&mut self) -> String {
        let line = self.wait_for("/metrics on http://");
        let (_, rest) = line.split_once("http://").unwrap();
        rest.chars().take_while(|c| c.is_ascii_digit() || ".:".contains(*c)).collect()
    }

    /// Waits until a value at `/metrics` is at least that.
    pub fn wait_metric(&mut self, address: &str, name: &str, wanted: u64) {
        let end = Instant::now() + PATIENCE;
        while metric(address, name) < wanted {
            self.assert_runs();
            assert!(Instant::now() < end, "wanted {name} of {wanted} in {}\n{}", get(address, "/metrics"), self.tail());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Waits until `/ready` has that status and its body holds `text`.
    pub fn wait_ready(&mut self, address: &str, status: u16, text: &str) {
        let end = Instant::now() + PATIENCE;
        loop {
            self.said.extend(self.lines.try_iter());
            assert!(self.child.try_wait().unwrap().is_none(), "it ended; its last words:\n{}", self.tail());
            let answer = get(address, "/ready");
            if answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.contains(text) {
                return;
            }
            assert!(Instant::now() < end, "wanted {status} with {text:?}, found {answer}\n{}", self.tail());
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Ingest {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// A value at `/metrics`, by its name and labels as they stand there; 0 where there is none.
pub fn metric(address: &str, name: &str) -> u64 {
    let answer = get(address, "/metrics");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let value = answer.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.map_or(0, |value| value.parse().unwrap())
}

fn step_of(line: &str) -> Option<String> {
    let json: serde_json::Value = serde_json::from_str(line).ok()?;
    json.get("step")?.as_str().map(str::to_owned)
}
