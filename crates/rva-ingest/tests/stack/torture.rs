//! Kills by seed, in random order: of Pulsar, the catalog, the store, the ingest and the producer, while it publishes.
//! Totals are kept in a file by seed, so that a run that was ended goes on where it was.

use crate::world::{Ingest, PATIENCE, World};
use rand::{Rng, SeedableRng, rngs::StdRng};
use rva_bus::EventSink;
use rva_stack::Stack;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

const CAMERAS: [&str; 4] = ["cam_1", "cam_2", "cam_3", "cam_4"];
const VICTIMS: [&str; 5] = ["pulsar", "catalog", "minio", "ingest", "producer"];

/// Frames of each camera that are told of together: a producer begins again at the first one that wasn't.
const BLOCK: i64 = 20;

/// Kills before the keys are compared and the totals saved.
const KILLS_OF_ROUND: u64 = 20;

/// What came of a seed so far. Only rounds whose keys were compared are in it.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Totals {
    rounds: u64,
    seconds: u64,
    kills: BTreeMap<String, u64>,
    /// Events that the broker acknowledged.
    sent: usize,
    rows: usize,
    twice: usize,
    missing: usize,
    /// Rows that nobody sent.
    foreign: usize,
}

impl Totals {
    fn killed(&self) -> u64 {
        self.kills.values().sum()
    }
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("found {name}={text}, wanted a whole number")))
}

fn load(path: &Path) -> BTreeMap<u64, Totals> {
    match std::fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => BTreeMap::new(),
        Err(error) => panic!("{}: {error}", path.display()),
    }
}

fn save(path: &Path, all: &BTreeMap<u64, Totals>) {
    let beside = path.with_extension("new");
    std::fs::write(&beside, serde_json::to_vec_pretty(all).unwrap()).unwrap();
    std::fs::rename(beside, path).unwrap();
}

/// A process that publishes through the real sink.
struct Producer {
    child: Child,
    acknowledged: Arc<AtomicI64>,
    reading: Option<std::thread::JoinHandle<()>>,
}

impl Producer {
    /// One that begins after what was acknowledged.
    fn start(world: &World<'_>, acknowledged: &Arc<AtomicI64>) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "torture::producer", "--nocapture"])
            .env("RVA_TORTURE_NAME", &world.name)
            .env("RVA_TORTURE_AFTER", acknowledged.load(Ordering::SeqCst).to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (stdout, told) = (child.stdout.take().unwrap(), acknowledged.clone());
        let reading = std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if let Some((_, frame)) = line.split_once("acknowledged up to ") {
                    told.store(frame.parse().unwrap(), Ordering::SeqCst);
                }
            }
        });
        Self { child, acknowledged: acknowledged.clone(), reading: Some(reading) }
    }

    fn kill(mut self) {
        assert!(self.child.try_wait().unwrap().is_none(), "the producer ended by itself");
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        // What it told before it died counts.
        self.reading.take().unwrap().join().unwrap();
    }

    /// Lets it send one block more, so that all that was ever begun is acknowledged; the last frame.
    fn finish(mut self) -> i64 {
        let (before, end) = (self.acknowledged.load(Ordering::SeqCst), Instant::now() + PATIENCE);
        while self.acknowledged.load(Ordering::SeqCst) == before {
            assert!(Instant::now() < end, "the producer sends nothing: it has hung at frame {before}");
            std::thread::sleep(Duration::from_millis(50));
        }
        drop(self.child.stdin.take());
        assert!(self.child.wait().unwrap().success(), "the producer failed");
        self.reading.take().unwrap().join().unwrap();
        self.acknowledged.load(Ordering::SeqCst)
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// No test of its own: the process that `torture` starts as its producer. It ends when its standard input does.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "child process of `torture`"]
async fn producer() {
    let (name, after) = (std::env::var("RVA_TORTURE_NAME").unwrap(), number("RVA_TORTURE_AFTER").unwrap());
    let stack = rva_stack::stack().unwrap();
    let world = World::named(stack, &name);
    let stop = Arc::new(AtomicBool::new(false));
    let stopping = stop.clone();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        stopping.store(true, Ordering::SeqCst);
    });
    let mut sink = world.sink().await;
    let mut frame = i64::try_from(after).unwrap();
    while !stop.load(Ordering::SeqCst) {
        let block = frame + 1..=frame + BLOCK;
        for frame in block {
            for camera in CAMERAS {
                sink.send(world.record(camera, frame)).await.unwrap();
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        sink.flush().await.unwrap();
        frame += BLOCK;
        println!("acknowledged up to {frame}");
    }
}

/// Kills until the round is full or its time is over; how often each, and the last frame that was acknowledged.
fn kill_some(
    world: &World<'_>,
    stack: &Stack,
    rng: &mut StdRng,
    kills: u64,
    end: Option<Instant>,
) -> (BTreeMap<String, u64>, i64) {
    let acknowledged = Arc::new(AtomicI64::new(0));
    let start = || world.start(&["--step-pause", "2ms"]);
    let mut producer = Producer::start(world, &acknowledged);
    let mut ingest: Ingest = start();
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for kill in 1..=kills {
        if end.is_some_and(|end| Instant::now() >= end) {
            break;
        }
        std::thread::sleep(Duration::from_millis(rng.random_range(0..1500)));
        let victim = VICTIMS[rng.random_range(0..VICTIMS.len())];
        ingest.assert_runs();
        match victim {
            "ingest" => {
                ingest.kill();
                ingest = start();
            }
            "producer" => {
                producer.kill();
                producer = Producer::start(world, &acknowledged);
            }
            server => {
                stack.kill(server);
                std::thread::sleep(Duration::from_millis(rng.random_range(0..1000)));
                stack.start(server);
            }
        }
        *counts.entry(victim.to_owned()).or_default() += 1;
        println!("kill {kill}: {victim}, {} frames acknowledged", acknowledged.load(Ordering::SeqCst));
    }
    let last = producer.finish();
    ingest.kill();
    (counts, last)
}

#[tokio::test(flavor = "multi_thread")]
async fn torture() {
    let Some(stack) = rva_stack::stack() else { return };
    let _turn = stack.alone().await;
    let seed = number("RVA_TORTURE_SEED").unwrap_or(1);
    let (wanted, minutes) = (number("RVA_TORTURE_KILLS"), number("RVA_TORTURE_MINUTES"));
    let wanted = wanted.unwrap_or(if minutes.is_some() { u64::MAX } else { 20 });
    let end = minutes.map(|minutes| Instant::now() + Duration::from_secs(minutes * 60));
    let folder = tempfile::tempdir().unwrap();
    let path = std::env::var_os("RVA_TORTURE_STATE").map_or_else(|| folder.path().join("torture.json"), PathBuf::from);
    let mut all = load(&path);
    while all.entry(seed).or_default().killed() < wanted && end.is_none_or(|end| Instant::now() < end) {
        let totals = all.entry(seed).or_default();
        let began = Instant::now();
        // A round has its own order, which does not hang on where an earlier run ended.
        let mut rng = StdRng::seed_from_u64(seed.wrapping_mul(1_000_003).wrapping_add(totals.rounds));
        let world = World::new(stack);
        let kills = KILLS_OF_ROUND.min(wanted - totals.killed());
        let (counts, last) = tokio::task::block_in_place(|| {
            world.run(&["--init"]);
            let done = kill_some(&world, stack, &mut rng, kills, end);
            world.run(&["--drain"]);
            done
        });
        let sent: std::collections::BTreeSet<_> = world.keys(&CAMERAS, 1..=last).into_iter().collect();
        let rows = world.table().await;
        let found: std::collections::BTreeSet<_> = rows.iter().cloned().collect();
        totals.rounds += 1;
        totals.seconds += began.elapsed().as_secs();
        totals.sent += sent.len();
        totals.rows += rows.len();
        totals.twice += rows.len() - found.len();
        totals.missing += sent.difference(&found).count();
        totals.foreign += found.difference(&sent).count();
        for (victim, count) in counts {
            *totals.kills.entry(victim).or_default() += count;
        }
        println!("torture: RVA_TORTURE_SEED={seed}: {}", serde_json::to_string(totals).unwrap());
        save(&path, &all);
        let Totals { twice, missing, foreign, .. } = all[&seed];
        assert_eq!((twice, missing, foreign), (0, 0, 0), "twice, missing, foreign; topic {}", world.topic);
    }
    assert!(all[&seed].sent > 0, "nothing was sent");
}
