//! Traces of frames, from capture to gold, as a collector gets them.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use common::{clip, command, demo_model, rva};
use rva_testkit::collector::{Collector, SeenSpan};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::TcpListener,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tempfile::tempdir;

const FRAMES: u32 = 40;

fn named<'a>(spans: &'a [SeenSpan], name: &str) -> Vec<&'a SeenSpan> {
    spans.iter().filter(|span| span.name == name).collect()
}

#[test]
fn every_frame_is_followed_from_capture_to_the_commit_that_holds_it_and_to_gold() {
    let folder = tempdir().unwrap();
    let Some(clip) = clip(folder.path(), FRAMES) else { return };
    let collector = Collector::start();
    let (clip, model) = (clip.display().to_string(), demo_model().display().to_string());
    let began = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    let run = ["run", &clip, "--model", &model, "--data-dir", "d"];
    let ran = command(folder.path(), &run)
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint())
        .env("OTEL_TRACES_SAMPLER_ARG", "1")
        .env("RVA_REFINE_INTERVAL", "100ms")
        .output();
    common::Ran::from(ran.unwrap()).exits(0).says(&["40 rows committed"]);
    let spans = collector.spans();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    assert!(spans.iter().all(|span| began <= span.start_ns && span.start_ns <= span.end_ns && span.end_ns <= now));

    // Each frame is a trace, with what each stage did.
    let frames = named(&spans, "frame");
    let numbers: BTreeSet<u32> =
        frames.iter().map(|frame| frame.attributes["rva.frame_index"].parse().unwrap()).collect();
    assert_eq!(numbers, (1..=FRAMES).collect());
    assert_eq!(frames.len(), FRAMES as usize);
    for frame in &frames {
        assert_eq!((frame.service.as_str(), frame.parent.as_str()), ("rva-detector", ""));
        assert_eq!((&*frame.attributes["rva.camera_id"], &*frame.attributes["rva.accepted"]), ("cam_01", "true"));
        let parts: Vec<&SeenSpan> = spans.iter().filter(|span| span.parent == frame.id).collect();
        let names: BTreeSet<&str> = parts.iter().map(|part| part.name.as_str()).collect();
        assert_eq!(names, BTreeSet::from(["decode", "prepare", "infer", "track", "send", "ingest"]));
        assert!(parts.iter().all(|part| part.trace == frame.trace));
        let of = |name: &str| *parts.iter().find(|part| part.name == name).unwrap();
        let way = ["decode", "prepare", "infer", "track", "send"].map(of);
        // Clocks of the system and of the process may differ by less than a millisecond.
        assert!(way.windows(2).all(|pair| pair[0].end_ns <= pair[1].start_ns + 1_000_000), "{way:?}");
        assert!(frame.start_ns <= way[0].start_ns && way[4].end_ns <= frame.end_ns, "{frame:?} {way:?}");
    }

    // The commit of each is a trace of its own, linked both ways; all of bronze is in it.
    let commits: BTreeMap<&str, &SeenSpan> = named(&spans, "commit").into_iter().map(|c| (c.id.as_str(), c)).collect();
    let mut held: BTreeMap<&str, BTreeSet<(String, String)>> = BTreeMap::new();
    for row in named(&spans, "ingest") {
        let [(trace, id)] = &row.links[..] else { panic!("wanted one commit: {row:?}") };
        let (id, commit) = commits.get_key_value(id.as_str()).unwrap();
        assert_eq!((&commit.trace, row.service.as_str()), (trace, "rva-ingest"));
        assert!(commit.end_ns <= row.end_ns + 1_000_000 && row.start_ns <= commit.start_ns + 1_000_000);
        held.entry(id).or_default().insert((row.trace.clone(), row.parent.clone()));
    }
    for (id, commit) in &commits {
        assert_eq!(commit.links.iter().cloned().collect::<BTreeSet<_>>(), held[id], "{commit:?}");
        assert_eq!(commit.attributes["rva.outcome"], "committed");
    }
    let rows: u32 = commits.values().map(|commit| commit.attributes["rva.rows"].parse::<u32>().unwrap()).sum();
    assert_eq!(rows, FRAMES);

    // Each commit is taken into silver and gold by one step, which is linked with it.
    let steps = named(&spans, "refine");
    let linked: BTreeSet<&str> = steps.iter().flat_map(|step| &step.links).map(|(_, id)| id.as_str()).collect();
    assert_eq!(linked, commits.keys().copied().collect());
    for step in steps {
        let parts: BTreeSet<&str> =
            spans.iter().filter(|span| span.parent == step.id).map(|part| part.name.as_str()).collect();
        assert_eq!((step.service.as_str(), parts), ("rva-refine", BTreeSet::from(["silver", "gold"])));
    }
}

#[test]
fn without_a_collector_no_message_and_no_snapshot_names_a_trace_and_one_that_is_away_holds_nothing_up() {
    let folder = tempdir().unwrap();
    let Some(clip) = clip(folder.path(), 10) else { return };
    let (clip, model) = (clip.display().to_string(), demo_model().display().to_string());
    let run = |data: &str| ["run", &clip, "--model", &model, "--data-dir", data].map(str::to_owned);
    let words = run("off");
    rva(folder.path(), &words.each_ref().map(String::as_str)).exits(0).says(&["10 rows committed"]);
    assert!(!holds(&folder.path().join("off"), "traceparent"), "somebody named a trace");

    // It takes connections and answers nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let began = SystemTime::now();
    let words = run("on");
    let ran = command(folder.path(), &words.each_ref().map(String::as_str))
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{}", silent.local_addr().unwrap()))
        .env("OTEL_TRACES_SAMPLER_ARG", "1")
        .output();
    common::Ran::from(ran.unwrap()).exits(0).says(&["10 rows committed"]);
    assert!(holds(&folder.path().join("on"), "traceparent"), "nobody named a trace");
    // The bound is three seconds for each role at the end; the rest is for a slow machine.
    assert!(began.elapsed().unwrap() < Duration::from_secs(120));
}

/// Returns whether a file of a folder holds a text.
fn holds(folder: &std::path::Path, text: &str) -> bool {
    std::fs::read_dir(folder).unwrap().flatten().any(|entry| {
        if entry.file_type().unwrap().is_dir() {
            return holds(&entry.path(), text);
        }
        let bytes = std::fs::read(entry.path()).unwrap();
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    })
}
