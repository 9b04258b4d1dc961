//! Kills: of the ingest, of the broker, of the catalog, of the store.

use crate::world::{PATIENCE, World, get};
use rand::{Rng, SeedableRng, rngs::StdRng};
use rva_bus::EventSink;
use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, AtomicI64, Ordering},
    time::{Duration, Instant},
};

const CAMERAS: [&str; 6] = ["cam_1", "cam_2", "cam_3", "cam_4", "cam_5", "cam_6"];

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("found {name}={text}")))
}

/// Sends frames of all cameras until told to stop, with some twice and some that are no records; the last frame.
async fn publish(world: &World<'_>, stop: &AtomicBool, sent: &AtomicI64) {
    let mut sink = world.sink().await;
    for frame in 1.. {
        for camera in CAMERAS {
            sink.send(world.record(camera, frame)).await.unwrap();
        }
        if frame % 40 == 0 {
            sink.send(world.record("cam_1", frame / 2)).await.unwrap();
            sink.send(world.message("cam_2", "no record".into())).await.unwrap();
        }
        if frame % 20 == 0 {
            sink.flush().await.unwrap();
            sent.store(frame, Ordering::SeqCst);
        }
        if stop.load(Ordering::SeqCst) && frame % 20 == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Does blocking work while frames are published on a thread of their own; what it gave, and the last frame.
fn while_publishing<T>(world: &World<'_>, work: impl FnOnce() -> T) -> (T, i64) {
    let (stop, sent) = (AtomicBool::new(false), AtomicI64::new(0));
    let done = tokio::task::block_in_place(|| {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(publish(world, &stop, &sent));
            });
            // A publisher that nobody stops would keep the scope from ending.
            let _stopping = StopOnDrop(&stop);
            work()
        })
    });
    (done, sent.load(Ordering::SeqCst))
}

struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_killed_ingest_loses_nothing_and_repeats_nothing() {
    let Some(stack) = rva_stack::stack() else { return };
    let _turn = stack.shared().await;
    let (kills, seed) = (number("RVA_KILLS", 12), number("RVA_KILL_SEED", 1));
    println!("kill: RVA_KILL_SEED={seed} RVA_KILLS={kills}");
    let mut rng = StdRng::seed_from_u64(seed);
    let world = World::new(stack);
    world.run(&["--init"]);
    world.run(&["--init"]);
    let (hits, sent) = while_publishing(&world, || {
        let mut hits: BTreeMap<String, usize> = BTreeMap::new();
        for kill in 1..=kills {
            // Some before they have done anything, most in the middle of a commit.
            let steps = if kill % 4 == 0 { usize::MAX } else { rng.random_range(1..30) };
            let longest = if kill % 4 == 0 { Duration::from_millis(rng.random_range(50..4000)) } else { PATIENCE };
            let ingest = world.start(&["--step-pause", "5ms"]);
            let step = ingest.kill_after(steps, longest);
            println!("kill {kill}: at {}", step.as_deref().unwrap_or("start"));
            *hits.entry(step.unwrap_or_else(|| "start".into())).or_default() += 1;
        }
        hits
    });
    world.run(&["--drain"]);
    let (found, wanted) = (world.table().await, world.keys(&CAMERAS, 1..=sent));
    println!("kill: steps {hits:?}, {} sent, {} rows", wanted.len(), found.len());
    assert_eq!(found, wanted);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn servers_that_are_killed_are_waited_for_and_nothing_is_lost() {
    let Some(stack) = rva_stack::stack() else { return };
    let _turn = stack.alone().await;
    let world = World::new(stack);
    world.run(&["--init"]);
    let ((mut ingest, health), sent) = while_publishing(&world, || {
        let mut ingest = world.start(&[]);
        let health = ingest.health();
        for server in ["catalog", "minio", "pulsar", "minio", "catalog"] {
            ingest.wait_for("committed up to");
            ingest.wait_ready(&health, 200, "\"ready\":true");
            stack.kill(server);
            // What can't be reached is told by the part that waits for it, or by a commit that takes too long.
            ingest.wait_ready(&health, 503, "\"ready\":false");
            assert!(get(&health, "/live").starts_with("HTTP/1.1 200 "));
            stack.start(server);
            ingest.wait_ready(&health, 200, "\"ready\":true");
            println!("{server}: killed and back");
        }
        (ingest, health)
    });
    let wanted = world.keys(&CAMERAS, 1..=sent);
    let end = Instant::now() + PATIENCE;
    while world.table().await.len() < wanted.len() && Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    // A commit tries a table again by itself, uncounted; a broker that is away is always counted.
    ingest.wait_metric(&health, "rva_ingest_retries_total{at=\"log\"}", 1);
    let (took, code, text) = ingest.terminate();
    assert_eq!(code, Some(0), "{text}");
    println!("SIGTERM: ended after {took:?}; {} keys", wanted.len());
    assert_eq!(world.table().await, wanted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_while_the_catalog_is_away_ends_in_time_and_loses_nothing() {
    let Some(stack) = rva_stack::stack() else { return };
    let _turn = stack.alone().await;
    let mut world = World::new(stack);
    world.set("RVA_INGEST_STOP_TIMEOUT", "3s");
    world.run(&["--init"]);
    world.send(&CAMERAS, 1..=50).await;
    let mut ingest = world.start(&[]);
    let health = ingest.health();
    ingest.wait_for("committed up to");
    stack.kill("catalog");
    world.send(&CAMERAS, 51..=100).await;
    ingest.wait_ready(&health, 503, "\"ingest\":");
    let (took, code, text) = ingest.terminate();
    stack.start("catalog");
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("the log keeps"), "{text}");
    println!("SIGTERM without a catalog: ended after {took:?}");
    assert!(took < Duration::from_secs(15), "{took:?}: {text}");
    world.run(&["--drain"]);
    assert_eq!(world.table().await, world.keys(&CAMERAS, 1..=100));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_ingest_is_a_standby_that_can_be_stopped_and_takes_over() {
    let Some(stack) = rva_stack::stack() else { return };
    let _turn = stack.shared().await;
    let world = World::new(stack);
    world.run(&["--init"]);
    world.send(&CAMERAS, 1..=20).await;
    let mut first = world.start(&[]);
    first.wait_for("committed up to");
    let mut second = world.start(&[]);
    let health = second.health();
    second.wait_ready(&health, 503, "\"ingest\":\"not started yet\"");
    let (took, code, text) = second.terminate();
    assert_eq!(code, Some(0), "{text}");
    println!("SIGTERM of a standby: ended after {took:?}");
    assert!(took < Duration::from_secs(10), "{took:?}: {text}");
    let mut second = world.start(&[]);
    let health = second.health();
    second.wait_ready(&health, 503, "\"ingest\":\"not started yet\"");
    world.send(&CAMERAS, 21..=40).await;
    first.wait_for("committed up to");
    first.kill();
    world.send(&CAMERAS, 41..=60).await;
    second.wait_for("committed up to");
    assert_eq!(second.terminate().1, Some(0));
    world.run(&["--drain"]);
    assert_eq!(world.table().await, world.keys(&CAMERAS, 1..=60));
}
