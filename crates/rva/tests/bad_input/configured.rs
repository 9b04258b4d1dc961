//! What is configured for the services holds in `rva run`, `rva ingest` and `rva tables` too, or is refused.

use crate::{
    common::{Ran, footage},
    world::{World, keys, records},
};
use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    time::{Duration, Instant},
};

/// An address on which nobody listens now.
fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// What an address answers; empty where nobody does.
fn get(address: &str, path: &str) -> String {
    let Ok(mut stream) = TcpStream::connect(address) else { return String::new() };
    let asked = write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let mut answer = String::new();
    let read = asked.and_then(|()| stream.read_to_string(&mut answer));
    read.map_or_else(|_| String::new(), |_| answer)
}

#[test]
fn a_run_that_should_publish_to_a_broker_is_refused_with_the_program_that_does() {
    let world = World::seeded();
    let before = world.rows();
    let Some(clip) = world.clip(2) else { return };
    world.write("rva.yaml", "detector: { publish: pulsar }\n");
    world.run(&clip, &[]).exits(2).says(&["found detector.publish pulsar, wanted log", "rva-detector"]);
    assert_eq!(world.rows(), before);
}

#[test]
fn a_run_and_an_ingest_answer_at_the_configured_address() {
    let world = World::seeded();
    if world.clip(1).is_none() {
        return;
    }
    let Some(video) = footage().map(|path| path.display().to_string()) else { return };
    let address = free_address();
    world.write("rva.yaml", format!("health: {{ address: \"{address}\" }}\n"));
    let mut run = world.start_run(&video, &["--camera-id", "door", "--commit-interval", "200ms"]);
    let mut metrics = String::new();
    run.wait_for("rows at /metrics", |_| {
        metrics = get(&address, "/metrics");
        metrics.contains("rva_ingest_commits_total{table=\"bronze_raw\"}")
            && metrics.contains("rva_detector_frames_decoded_total{camera_id=\"door\"}")
            && !metrics.contains("rva_ingest_rows_total 0\n")
    });
    for wanted in [
        "rva_detector_log_records_total ",
        "rva_ingest_commit_duration_seconds_bucket{le=\"+Inf\"} ",
        "rva_maintain_failures_total ",
        "rva_refine_bronze_rows_total ",
    ] {
        assert!(metrics.contains(wanted), "{wanted}:\n{metrics}");
    }
    run.wait_for("a run that is ready", |_| get(&address, "/ready").starts_with("HTTP/1.1 200"));
    run.signal("-INT");
    run.end().exits(130);

    let mut ingest = world.start(&["ingest"]);
    ingest.wait_for("an ingest that is ready", |_| get(&address, "/ready").starts_with("HTTP/1.1 200"));
    ingest.signal("-INT");
    ingest.end().exits(0);
}

#[test]
fn tables_show_the_offsets_of_the_configured_job() {
    let world = World::new();
    let events = keys("one", "door", 1..=4);
    world.write("one.ndjson", records(&events));
    world.write("rva.yaml", "ingest: { job: nightly }\n");
    world.rva(&["replay", "one.ndjson"]).exits(0);
    world.rva(&["ingest", "--drain"]).exits(0);
    let shown = world.rva(&["tables"]).exits(0).stdout;
    assert!(shown.contains("offset       door 0:4:-1"), "{shown}");
    // Another job has read nothing of it.
    fs::remove_file(world.path().join("rva.yaml")).unwrap();
    let other = world.rva(&["tables"]).exits(0).stdout;
    assert!(!other.contains("offset"), "{other}");
}

#[test]
fn a_stop_waits_for_a_table_that_cannot_be_written_as_long_as_configured() {
    let world = World::seeded();
    let earlier = world.rows();
    let Some(video) = world.clip(1).and_then(|_| footage()).map(|path| path.display().to_string()) else { return };
    world.write("rva.yaml", "ingest: { stop_timeout: 1s }\n");
    let mut run = world.start_run(&video, &["--commit-interval", "1h"]);
    run.wait_for("frames in the log", |_| world.logged("cam_01").len() >= 5);
    let lock = world.hold_catalog("BEGIN IMMEDIATE");
    let since = Instant::now();
    run.signal("-INT");
    let ran: Ran = run.end();
    let took = since.elapsed();
    drop(lock);
    ran.exits(1).says(&["found no end of the last commit 2s after the signal", "ingest.stop_timeout"]);
    assert!(took < Duration::from_secs(60), "{took:?}");
    assert_eq!(world.rows(), earlier);
    let logged = world.logged("cam_01");
    world.rva(&["ingest", "--drain"]).exits(0);
    assert_eq!(world.rows(), &earlier | &logged);
}
