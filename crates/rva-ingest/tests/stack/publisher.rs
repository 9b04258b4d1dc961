//! A process with what the detector has behind its pictures: records go to the spool, and a forwarder sends them. To be
//! killed. Each start is a new run of every camera, as the detector's is.

use crate::{
    tables::Key,
    world::{PATIENCE, World},
};
use rva_bus::{
    EventSink, LogOptions, LogWriter,
    pulsar::{Forwarder, ForwarderOptions, PulsarSinkOptions},
};
use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

pub const CAMERAS: [&str; 4] = ["cam_1", "cam_2", "cam_3", "cam_4"];

/// Frames of each camera that are promised together.
const BLOCK: i64 = 10;

/// Between two frames of a camera.
const FRAME_TIME: Duration = Duration::from_millis(20);

const NAME: &str = "RVA_TORTURE_NAME";
const SPOOL: &str = "RVA_TORTURE_SPOOL";
const START: &str = "RVA_TORTURE_START";

fn run_of(name: &str, camera: &str, start: u32) -> String {
    format!("{name}-{camera}-{start}")
}

/// The process, and what it promised: a frame counts once the spool has it.
pub struct Publisher<'a> {
    world: &'a World<'a>,
    spool: PathBuf,
    running: Option<Running>,
    /// The last promised frame of every start.
    promised: Vec<i64>,
}

struct Running {
    child: Child,
    frame: Arc<AtomicI64>,
    reading: JoinHandle<()>,
}

impl<'a> Publisher<'a> {
    /// Starts it on an empty spool.
    pub fn start(world: &'a World<'a>, spool: &Path) -> Self {
        let mut publisher = Self { world, spool: spool.to_owned(), running: None, promised: Vec::new() };
        publisher.go_on();
        publisher
    }

    /// Starts it again on what the spool holds.
    pub fn go_on(&mut self) {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "publisher::process", "--nocapture"])
            .env(NAME, &self.world.name)
            .env(SPOOL, &self.spool)
            .env(START, self.promised.len().to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let frame = Arc::new(AtomicI64::new(0));
        let (stdout, told) = (child.stdout.take().unwrap(), Arc::clone(&frame));
        let reading = std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if let Some((_, frame)) = line.split_once("spooled up to ") {
                    told.store(frame.parse().unwrap(), Ordering::SeqCst);
                }
            }
        });
        self.running = Some(Running { child, frame, reading });
    }

    pub fn kill(&mut self) {
        let mut running = self.running.take().unwrap();
        assert!(running.child.try_wait().unwrap().is_none(), "the publisher ended by itself");
        running.child.kill().unwrap();
        self.note_end(running);
    }

    fn note_end(&mut self, mut running: Running) {
        running.child.wait().unwrap();
        // What it told before it ended counts.
        running.reading.join().unwrap();
        self.promised.push(running.frame.load(Ordering::SeqCst));
    }

    /// Lets it send all that the spool holds, and end.
    pub fn finish(&mut self) {
        let mut running = self.running.take().unwrap();
        drop(running.child.stdin.take());
        let end = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = running.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < end, "the publisher doesn't get rid of its spool");
            std::thread::sleep(Duration::from_millis(50));
        };
        assert!(status.success(), "the publisher failed");
        self.note_end(running);
    }

    /// What must be in the table, and what may be: a block whose promise died with the process.
    pub fn keys(&self) -> (BTreeSet<Key>, BTreeSet<Key>) {
        let (mut wanted, mut allowed) = (BTreeSet::new(), BTreeSet::new());
        for (start, promised) in (0..).zip(&self.promised) {
            for camera in CAMERAS {
                let run = run_of(&self.world.name, camera, start);
                let key = |frame| (run.clone(), camera.to_owned(), frame);
                wanted.extend((1..=*promised).map(key));
                allowed.extend((1..=promised + BLOCK).map(key));
            }
        }
        (wanted, allowed)
    }
}

impl Drop for Publisher<'_> {
    fn drop(&mut self) {
        if let Some(running) = &mut self.running {
            let _ = running.child.kill();
            let _ = running.child.wait();
        }
    }
}

/// No test of its own: the process that a [`Publisher`] starts. It ends when its standard input does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "child process of the torture"]
async fn process() {
    let [name, spool, start] = [NAME, SPOOL, START].map(|name| std::env::var(name).unwrap());
    let (spool, start) = (PathBuf::from(spool), start.parse().unwrap());
    let world = World::named(rva_stack::stack().unwrap(), &name);
    let mut writer = LogWriter::open(&spool, LogOptions::default()).unwrap();
    let written = Arc::new(AtomicBool::new(false));
    let forwarding = tokio::spawn(forward(world.connection(), spool, world.topic.clone(), Arc::clone(&written)));
    let stop = Arc::new(AtomicBool::new(false));
    let stopping = Arc::clone(&stop);
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        stopping.store(true, Ordering::SeqCst);
    });
    for frame in 1.. {
        for camera in CAMERAS {
            writer.send(world.record_of(&run_of(&name, camera, start), camera, frame)).await.unwrap();
        }
        if frame % BLOCK == 0 {
            writer.flush().await.unwrap();
            println!("spooled up to {frame}");
            assert!(!forwarding.is_finished(), "the forwarder ended by itself");
            if stop.load(Ordering::SeqCst) {
                break;
            }
        }
        tokio::time::sleep(FRAME_TIME).await;
    }
    written.store(true, Ordering::SeqCst);
    forwarding.await.unwrap();
}

/// Until all is written and the spool is empty.
async fn forward(
    connection: rva_bus::pulsar::PulsarConnection,
    spool: PathBuf,
    topic: rva_bus::pulsar::TopicName,
    written: Arc<AtomicBool>,
) {
    let options = ForwarderOptions {
        chunk_bytes: 50_000,
        wait: Duration::from_millis(200),
        sink: PulsarSinkOptions { retry_for: Duration::from_secs(5), ..PulsarSinkOptions::new(topic.clone()) },
        ..ForwarderOptions::new(spool, topic)
    };
    // There is no spool before its first record, and no broker while it is killed.
    let mut forwarder = loop {
        match Forwarder::open(&connection, options.clone()).await {
            Ok(forwarder) => break forwarder,
            Err(error) if error.kind() == rva_bus::BusErrorKind::Transient => {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            Err(error) => panic!("{error}"),
        }
    };
    loop {
        let all = written.load(Ordering::SeqCst);
        if forwarder.forward_some().await.unwrap() == 0 && all {
            return;
        }
    }
}
