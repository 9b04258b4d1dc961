//! Days on which a server loses its data, has no room or takes more than usual, and clocks that are wrong. Where a
//! server is changed for good, it is one of a stack of its own.

use crate::world::{World, metric};
use rva_bus::EventSink;
use rva_stack::{Stack, command};
use rva_types::Timestamp;
use serde_json::json;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, SystemTime},
};

const TABLE_RETRIES: &str = "rva_ingest_retries_total{at=\"table\"}";

const CAMERAS: [&str; 4] = ["cam_1", "cam_2", "cam_3", "cam_4"];

/// A stack that a test may ruin; it is gone at the end.
struct OwnStack {
    stack: Stack,
    folder: PathBuf,
    mounted: Option<PathBuf>,
}

impl OwnStack {
    fn up(folder: &Path, mounted: Option<PathBuf>) -> Self {
        Self { stack: Stack::up(folder), folder: folder.to_owned(), mounted }
    }
}

impl Drop for OwnStack {
    fn drop(&mut self) {
        command(&self.folder, &["down"]);
        if let Some(at) = &self.mounted {
            let _ = Command::new("umount").arg("-l").arg(at).status();
        }
    }
}

/// A record of about that many bytes.
fn large(world: &World<'_>, camera: &str, frame: i64, bytes: usize) -> rva_bus::OutgoingMessage {
    let body = json!({
        "schema_version": "1.0", "pipeline_run_id": format!("{}-{camera}", world.name), "frame_index": frame,
        "source": {"store_id": "store_01", "camera_id": camera, "stream_id": "stream_01"}, "detections": [],
        "note": "x".repeat(bytes),
    });
    world.message(camera, body.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_megabytes_pass_a_broker_that_allows_them_and_a_wiped_broker_is_noticed() {
    let Some(_) = rva_stack::stack() else { return };
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("pulsar")).unwrap();
    let limit = "PULSAR_PREFIX_maxMessageSize=12582912\nPULSAR_PREFIX_nettyMaxFrameSizeBytes=13631488\n";
    fs::write(folder.path().join("pulsar/own.env"), limit).unwrap();
    let own = OwnStack::up(folder.path(), None);
    let mut world = World::new(&own.stack);
    world.run(&["--init"]);
    world.send(&CAMERAS, 1..=10).await;
    let mut sink = world.sink().await;
    sink.send(large(&world, "cam_1", 11, 10 << 20)).await.unwrap();
    sink.send(world.message("cam_1", format!("no record{}", "x".repeat(10 << 20)))).await.unwrap();
    sink.send(world.record("cam_2", 11)).await.unwrap();
    sink.flush().await.unwrap();
    // What is over the raised limit is refused, and costs nothing that was accepted.
    let refused = async {
        sink.send(large(&world, "cam_1", 12, 13 << 20)).await?;
        sink.flush().await
    };
    let error = refused.await.unwrap_err();
    println!("over the limit: {error}");
    assert_eq!(error.kind(), rva_bus::BusErrorKind::Rejected, "{error}");
    drop(sink);
    let said = world.run(&["--drain"]);
    assert!(said.contains("dead_letters\":1"), "a counter tells: {said}");
    let mut wanted = world.keys(&CAMERAS, 1..=10);
    wanted.extend(world.keys(&["cam_1", "cam_2"], 11..=11));
    wanted.sort();
    assert_eq!(world.table().await, wanted);
    assert_eq!(world.dead_letters().await.values().sum::<usize>(), 1);

    // All of the broker's data is gone, and the topic is set up again under its name.
    let mut ingest = world.start(&[]);
    let health = ingest.health();
    ingest.wait_ready(&health, 200, "\"ready\":true");
    own.stack.kill("pulsar");
    for part in ["bookkeeper0", "zookeeper"] {
        fs::remove_dir_all(folder.path().join("pulsar").join(part)).unwrap();
    }
    own.stack.start("pulsar");
    world.run(&["--init"]);
    world.send(&CAMERAS, 12..=20).await;
    let (code, text) = ingest.end();
    println!("wiped: {}", text.lines().last().unwrap_or_default());
    assert_eq!(code, Some(1), "{text}");
    let (code, text) = world.start(&["--drain"]).end();
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("wanted log") && text.contains("take another ingest.job"), "{text}");
    assert_eq!(world.table().await, wanted, "what was there is there");
    world.set("RVA_INGEST_JOB", format!("{}-again", world.name));
    world.run(&["--drain"]);
    wanted.extend(world.keys(&CAMERAS, 12..=20));
    wanted.sort();
    assert_eq!(world.table().await, wanted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_without_space_is_waited_for_and_nothing_is_lost() {
    let Some(_) = rva_stack::stack() else { return };
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("minio/data");
    fs::create_dir_all(&data).unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=256m", "tmpfs"]).arg(&data).output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        println!("skipped: no right to mount a tmpfs");
        return;
    }
    let own = OwnStack::up(folder.path(), Some(data.clone()));
    let world = World::new(&own.stack);
    world.run(&["--init"]);
    world.send(&CAMERAS, 1..=20).await;
    let mut ingest = world.start(&[]);
    let health = ingest.health();
    ingest.wait_for("committed up to");
    let filler = data.join("filler");
    let full = Command::new("dd").args(["if=/dev/zero", "bs=64k"]).arg(format!("of={}", filler.display())).output();
    assert!(!full.unwrap().status.success(), "the store still had room");
    world.send(&CAMERAS, 21..=40).await;
    ingest.wait_ready(&health, 503, "\"ready\":false");
    println!("full: {}", crate::world::get(&health, "/ready").lines().last().unwrap_or_default());
    ingest.wait_metric(&health, TABLE_RETRIES, 1);
    world.send(&CAMERAS, 41..=60).await;
    fs::remove_file(filler).unwrap();
    ingest.wait_ready(&health, 200, "\"ready\":true");
    ingest.wait_for_next("committed up to");
    assert_eq!(ingest.terminate().1, Some(0));
    world.run(&["--drain"]);
    assert_eq!(world.table().await, world.keys(&CAMERAS, 1..=60));
}

/// The shared library that sets a process's clock.
fn wrong_clock(folder: &Path) -> String {
    let library = folder.join("clock.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stack/clock.c");
    let status = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(source).status();
    assert!(status.unwrap().success(), "cc failed");
    library.display().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn clocks_that_are_wrong_lose_nothing() {
    let Some(stack) = rva_stack::stack() else { return };
    let _turn = stack.shared().await;
    let folder = tempfile::tempdir().unwrap();
    let mut world = World::new(stack);
    world.run(&["--init"]);
    // Of those who publish: a record's time is data.
    let now = SystemTime::now();
    let times = [now + Duration::from_secs(3600), now - Duration::from_secs(86_400)];
    let mut sink = world.sink().await;
    for frame in 1..=20 {
        for (camera, time) in CAMERAS.iter().zip(times.iter().cycle()) {
            let mut record = world.record(camera, frame);
            record.event_time = Some(Timestamp::from(*time));
            sink.send(record).await.unwrap();
        }
    }
    sink.flush().await.unwrap();
    world.run(&["--drain"]);
    // Of the ingest: an hour behind, its commits would look older than what they follow; an hour ahead, the store
    // refuses it.
    world.set("LD_PRELOAD", wrong_clock(folder.path()));
    for (offset, words, last) in [("-3600", "the clock is", 40), ("3600", "RequestTimeTooSkewed", 60)] {
        world.send(&CAMERAS, last - 19..=last).await;
        world.set("CLOCK_OFFSET", offset);
        let mut ingest = world.start(&[]);
        let health = ingest.health();
        ingest.wait_ready(&health, 503, words);
        // Of the loop, or of opening the tables.
        let tried =
            || metric(&health, TABLE_RETRIES) + metric(&health, "rva_ingest_retries_total{at=\"open_catalog\"}");
        assert!(tried() >= 1, "{}", crate::world::get(&health, "/metrics"));
        println!("clock {offset} s off: {}", crate::world::get(&health, "/ready").lines().last().unwrap_or_default());
        ingest.kill();
    }
    world.set("CLOCK_OFFSET", "0");
    world.run(&["--drain"]);
    assert_eq!(world.table().await, world.keys(&CAMERAS, 1..=60));
}
