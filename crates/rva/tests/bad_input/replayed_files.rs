//! Files of records as other programs write them, and files that hold none.

use crate::{
    common::record,
    world::{World, keys, records},
};
use std::{
    io::Write,
    process::{Command, Stdio},
};

fn utf16(text: &str) -> Vec<u8> {
    let units = std::iter::once(0xfeff).chain(text.encode_utf16());
    units.flat_map(u16::to_le_bytes).collect()
}

/// A text as a program packs it; nothing where the program is not installed.
fn packed(program: &str, text: &str) -> Option<Vec<u8>> {
    let packer = Command::new(program).arg("-c").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut packer = packer.ok()?;
    packer.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    Some(packer.wait_with_output().unwrap().stdout)
}

#[test]
fn every_way_to_write_the_same_records_gives_the_same_rows() {
    let world = World::new();
    let run = keys("same", "till", 1..=5);
    let text = records(&run);
    let array = format!("[\n{}\n]", text.trim_end().replace('\n', ",\n"));
    let spread =
        text.replace("{\"schema_version\"", "{\n  \"schema_version\"").replace(",\"source\":", ",\n  \"source\": ");
    let mut files = vec![
        ("plain.ndjson", text.clone().into_bytes()),
        ("marked.ndjson", format!("\u{feff}{text}\u{feff}{text}").into_bytes()),
        ("windows.ndjson", text.replace('\n', "\r\n").into_bytes()),
        ("old-mac.ndjson", text.replace('\n', "\r").into_bytes()),
        ("utf16.ndjson", utf16(&text)),
        ("array.json", array.into_bytes()),
        ("spread.json", spread.into_bytes()),
    ];
    files.extend(packed("gzip", &text).map(|bytes| ("packed-but-not-named-so", bytes)));
    files.extend(packed("zstd", &text).map(|bytes| ("also-packed", bytes)));
    for (at, (name, bytes)) in files.iter().enumerate() {
        world.write(name, bytes);
        world.rva(&["replay", name]).exits(0).says(&["0 of them can't be rows"]);
        let new = if at == 0 { 5 } else { 0 };
        world.rva(&["ingest", "--drain"]).exits(0).says(&[&format!("{new} rows committed")]);
        assert_eq!(world.rows(), run, "{name}");
    }
    let found = world.query("SELECT count(*) AS n FROM bronze_dead_letters");
    assert_eq!(found[0]["n"], 0, "another way of writing is no other payload");
    let payloads = world.query("SELECT payload FROM bronze_raw ORDER BY frame_index");
    let lines: Vec<&str> = payloads.iter().map(|row| row["payload"].as_str().unwrap()).collect();
    assert_eq!(lines, text.lines().collect::<Vec<_>>());
}

#[test]
fn standard_input_is_replayed_and_named_once() {
    let world = World::new();
    let run = keys("piped", "till", 1..=5);
    let mut replay = world.command(&["replay", "-"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    replay.stdin.take().unwrap().write_all(records(&run).as_bytes()).unwrap();
    assert_eq!(replay.wait().unwrap().code(), Some(0));
    world.rva(&["ingest", "--drain"]).exits(0).says(&["5 rows committed"]);
    assert_eq!(world.rows(), run);
    world.rva(&["replay", "-", "-"]).exits(2).says(&["found - more than once"]);
}

#[test]
fn a_stop_is_heard_while_standard_input_is_silent() {
    let world = World::new();
    let mut replay = world.command(&["replay", "-"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut input = replay.stdin.take().unwrap();
    input.write_all(records(&keys("piped", "till", 1..=2)).as_bytes()).unwrap();
    let started = std::time::Instant::now();
    while world.logged("till").len() < 2 {
        assert!(started.elapsed().as_secs() < 60, "found no record in the log, wanted two");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert!(Command::new("kill").arg(replay.id().to_string()).status().unwrap().success());
    assert_eq!(replay.wait().unwrap().code(), Some(130));
    drop(input);
}

#[test]
fn files_of_another_kind_are_refused_with_what_they_are() {
    let world = World::seeded();
    let before = world.rows();
    let cases: [(&str, &[u8], &str); 6] = [
        ("video.mp4", b"\0\0\0\x20ftypisom\0\0\x02\0isomiso2avc1mp41", "a video (MP4"),
        ("table.parquet", b"PAR1\x15\x04\x15\x10", "a Parquet file"),
        ("all.zip", b"PK\x03\x04\x14\0\0\0", "a zip archive"),
        ("page.ndjson", b"<!DOCTYPE html>\n<html><body>404</body></html>\n", "an HTML page"),
        ("gt.txt", b"1,1,10,20,30,40,1,-1,-1,-1\n1,2,10,20,30,40,1,-1,-1,-1\n", "MOTChallenge"),
        ("rows.csv", b"frame,track,x\n1,2,3\n2,2,4\n", "CSV"),
    ];
    for (name, bytes, what) in cases {
        world.write(name, bytes);
        world.rva(&["replay", name]).exits(5).says(&[name, what, "nothing of it was put into the log"]);
    }
    world.write("good.ndjson", records(&keys("good", "till", 1..=3)));
    world.rva(&["replay", "rows.csv", "good.ndjson"]).exits(5).says(&["3 records put into"]);
    world.rva(&["ingest", "--drain"]).exits(0).says(&["3 rows committed"]);
    assert_eq!(world.rows(), &before | &keys("good", "till", 1..=3));
    assert_eq!(world.query("SELECT count(*) AS n FROM bronze_dead_letters")[0]["n"], 0);
}

#[test]
fn a_file_most_of_whose_lines_are_no_records_is_complained_about_with_a_guess() {
    let world = World::new();
    world.write("coco.json", "{\"images\":[],\"annotations\":[]}");
    world.rva(&["replay", "coco.json"]).exits(5).says(&["1 records that are none among 1", "looks like COCO"]);
    let half = format!("{}\nnonsense\n", record("half", "till", 1));
    world.write("half.ndjson", half);
    world.rva(&["replay", "half.ndjson"]).exits(0).says(&["1 of them can't be rows"]);
}

#[test]
fn a_packed_file_that_breaks_off_is_told_and_what_was_read_is_kept() {
    let world = World::new();
    let run = keys("long", "till", 1..=2000);
    let Some(bytes) = packed("gzip", &records(&run)) else { return };
    world.write("half.gz", &bytes[..bytes.len() / 2]);
    let ran = world.rva(&["replay", "half.gz"]).exits(1).says(&["half.gz", "the gzip data breaks off"]);
    assert!(!ran.stderr.contains("can't be rows"), "{}", ran.stderr);
    world.rva(&["ingest", "--drain"]).exits(0);
    let rows = world.rows();
    assert!(!rows.is_empty() && rows.is_subset(&run), "{} rows", rows.len());
}

#[test]
fn an_odd_capture_time_is_a_dead_letter_and_breaks_no_query() {
    let world = World::new();
    let line = record("r", "till", 1);
    let odd = |found: &str, frame: u64| {
        let line = record("r", "till", frame);
        let (start, rest) = line.split_once("\"capture_ts\":\"").unwrap();
        let rest = rest.split_once('"').unwrap().1;
        format!("{start}\"capture_ts\":{found}{rest}\n")
    };
    let times = ["\"\"", "1769846400", "\"2026-01-31T08:00Z\"", "\"9999-12-31T23:59:59Z\"", "\"1970-01-01T00:00:00Z\""];
    let mut text: String = (2..).zip(times).map(|(frame, found)| odd(found, frame)).collect();
    text.push_str(&line);
    world.write("odd.ndjson", text);
    world.rva(&["replay", "odd.ndjson"]).exits(5);
    world.rva(&["ingest", "--drain"]).exits(0).says(&["1 rows committed", "invalid_capture_ts 5"]);
    assert_eq!(world.rows(), keys("r", "till", 1..=1));
    let dead = world.query("SELECT detail FROM bronze_dead_letters WHERE reason = 'invalid_capture_ts'");
    let details: Vec<&str> = dead.iter().map(|row| row["detail"].as_str().unwrap()).collect();
    for found in times {
        assert!(details.iter().any(|detail| detail.contains(found)), "{found} is in none of {details:?}");
    }
    for name in ["people_per_minute", "rows_per_camera", "detections"] {
        let path = crate::common::workspace().join(format!("data/queries/{name}.sql"));
        assert_eq!(world.query(&std::fs::read_to_string(path).unwrap()).len(), 1, "{name}");
    }
}

/// A line of a record with another detection.
fn claimed(line: &str) -> String {
    line.replace("\"conf\":0.9", "\"conf\":0.5")
}

#[test]
fn who_claims_a_frame_first_has_it_and_the_genuine_record_is_a_dead_letter_once() {
    let world = World::new();
    let run = keys("known", "till", 1..=4);
    let genuine = records(&run);
    let lines: Vec<&str> = genuine.lines().collect();
    world.write("claims.ndjson", format!("{}\n{}\n", claimed(lines[1]), claimed(lines[2])));
    world.rva(&["replay", "claims.ndjson"]).exits(0);
    world.rva(&["ingest", "--drain"]).exits(0).says(&["2 rows committed"]);
    world.write("genuine.ndjson", &genuine);
    world.rva(&["replay", "genuine.ndjson"]).exits(0);
    world.rva(&["ingest", "--drain"]).exits(0).says(&["2 rows committed", "2 dead letters", "key_conflict 2"]);
    assert_eq!(world.rows(), run);
    let dead = world.query("SELECT detail, encode(raw, 'base64') AS raw FROM bronze_dead_letters ORDER BY detail");
    let details: Vec<&str> = dead.iter().map(|row| row["detail"].as_str().unwrap()).collect();
    assert!(details[0].contains("run known, camera till, frame 2") && details[1].contains("frame 3"), "{details:?}");
    // The same claims again are repeats, and the ingest itself started twice makes nothing twice.
    world.rva(&["replay", "claims.ndjson"]).exits(0);
    world.rva(&["ingest", "--drain"]).exits(0).says(&["0 rows committed", "2 were there already"]);
    world.rva(&["ingest", "--drain"]).exits(0);
    assert_eq!(world.query("SELECT count(*) AS n FROM bronze_dead_letters")[0]["n"], 2);
}

#[test]
fn a_query_ends_at_once_on_a_signal_while_nobody_reads_its_rows() {
    let world = World::seeded();
    let spill = world.path().join("spill");
    std::fs::create_dir(&spill).unwrap();
    // Six rows joined with themselves ten times over are 60 million.
    let tables: Vec<String> = ('a'..='j').map(|name| format!("bronze_raw {name}")).collect();
    let sql = format!("SELECT a.payload FROM {}", tables.join(", "));
    let mut query = world.command(&["query", &sql, "--format", "csv"]);
    query.env("RVA_QUERY_SPILL_DIR", &spill).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut query = query.spawn().unwrap();
    let started = std::time::Instant::now();
    while std::fs::read_dir(&spill).unwrap().count() == 0 {
        assert!(started.elapsed().as_secs() < 60, "found no folder to spill to");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    std::thread::sleep(std::time::Duration::from_secs(2));
    let signalled = std::time::Instant::now();
    assert!(Command::new("kill").args(["-INT", &query.id().to_string()]).status().unwrap().success());
    let code = query.wait().unwrap().code();
    assert_eq!(code, Some(130));
    assert!(signalled.elapsed().as_secs() < 3, "{:?}", signalled.elapsed());
    assert_eq!(std::fs::read_dir(&spill).unwrap().count(), 0, "nothing is left to clean up");
}

#[test]
fn a_query_reads_the_tables_as_they_were() {
    let world = World::seeded();
    world.write("later.ndjson", records(&keys("later", "till", 1..=2)));
    world.rva(&["replay", "later.ndjson"]).exits(0);
    world.rva(&["ingest", "--drain"]).exits(0);
    let count = |more: &[&str]| {
        let ran =
            world.rva(&[&["query", "SELECT count(*) FROM bronze_raw", "--format", "csv"], more].concat()).exits(0);
        ran.stdout.lines().nth(1).unwrap().to_owned()
    };
    assert_eq!((count(&[]), count(&["--as-of", "2020-01-01T00:00:00Z"])), ("8".to_owned(), "0".to_owned()));
    let sql = "SELECT 1";
    world.rva(&["query", sql, "--as-of", "yesterday"]).exits(2).says(&["--as-of", "yesterday", "RFC 3339"]);
    world
        .rva(&["query", sql, "--snapshot", "5"])
        .exits(1)
        .says(&["no table with snapshot 5", "the oldest of bronze_raw"]);
}
