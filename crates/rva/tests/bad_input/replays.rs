//! Files of records with bad lines, and files that are replayed again.

use crate::world::{World, keys, records};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Reason, line, file and bytes of the dead letters.
fn dead_letters(world: &World) -> BTreeSet<(String, u64, String, Vec<u8>)> {
    let sql = "SELECT reason, properties['replay_line'] AS line, properties['replay_file'] AS file, \
               encode(raw, 'hex') AS raw, detail FROM bronze_dead_letters";
    let letter = |row: &Value| {
        let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
        assert!(!text("detail").is_empty(), "{row}");
        let hex = text("raw");
        let raw = (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
        (text("reason"), text("line").parse().unwrap(), text("file"), raw)
    };
    world.query(sql).iter().map(letter).collect()
}

#[test]
fn bad_lines_of_a_replay_are_dead_letters_with_reason_and_number_and_the_good_ones_are_rows() {
    let world = World::seeded();
    let earlier = world.rows();
    let good = keys("again", "till", 1..=4);
    let lines: Vec<String> = records(&good).lines().map(str::to_owned).collect();
    let mut half_frame: Value = serde_json::from_str(&lines[0]).unwrap();
    half_frame["frame_index"] = json!(1.5);
    let mut nameless: Value = serde_json::from_str(&lines[0]).unwrap();
    nameless["source"] = json!(null);
    let envelope = json!({
        "schema_version": "1.0", "pipeline_run_id": "another", "frame_index": 1, "payload": lines[0],
    });
    let bad: Vec<(&str, Vec<u8>)> = vec![
        ("invalid_json", b"not json".to_vec()),
        ("invalid_json", lines[0].as_bytes()[..100].to_vec()),
        ("wrong_shape", b"[1, 2]".to_vec()),
        ("wrong_shape", b"17".to_vec()),
        ("missing_field", b"{\"schema_version\":\"1.0\",\"pipeline_run_id\":\"r\"}".to_vec()),
        ("invalid_utf8", b"{\"schema_version\":\"\xff\"}".to_vec()),
        ("invalid_field", half_frame.to_string().into_bytes()),
        ("missing_source", nameless.to_string().into_bytes()),
        ("envelope_mismatch", envelope.to_string().into_bytes()),
    ];
    let mut file = Vec::new();
    let mut wanted = BTreeSet::new();
    let mut number = 0;
    let mut put = |line: &[u8], end: &[u8]| {
        file.extend_from_slice(line);
        file.extend_from_slice(end);
        number += 1;
        number
    };
    for (at, (reason, line)) in bad.iter().enumerate() {
        if let Some(good) = lines.get(at) {
            put(good.as_bytes(), if at % 2 == 0 { b"\r\n" } else { b"\n" });
        }
        put(b"", b"\n");
        let number = put(line, b"\n");
        wanted.insert(((*reason).to_owned(), number, "mixed.ndjson".to_owned(), line.clone()));
    }
    world.write("mixed.ndjson", file);
    let wanted_texts = ["13 records", "9 of them can't be rows", "found 9 records that are none among 13"];
    world.rva(&["replay", "mixed.ndjson"]).exits(5).says(&wanted_texts);
    world.rva(&["ingest", "--drain"]).exits(0).says(&["4 rows committed", "9 dead letters"]);
    assert_eq!(dead_letters(&world), wanted);
    assert_eq!(world.rows(), &earlier | &good);
}

#[test]
fn the_same_file_replayed_twice_adds_nothing_and_neither_does_one_that_is_turned_round() {
    let world = World::seeded();
    let earlier = world.rows();
    let run = keys("once", "till", 1..=50);
    world.write("once.ndjson", records(&run));
    let turned: String = records(&run).lines().rev().map(|line| format!("{line}\n")).collect();
    world.write("turned.ndjson", turned);
    for (file, new, known) in [("once.ndjson", 50, 0), ("once.ndjson", 0, 50), ("turned.ndjson", 0, 50)] {
        world.rva(&["replay", file]).exits(0);
        let ran = world.rva(&["ingest", "--drain"]).exits(0).says(&[&format!("{new} rows committed")]);
        assert!(known == 0 || ran.stderr.contains(&format!("{known} were there already")), "{}", ran.stderr);
        assert_eq!(world.rows(), &earlier | &run);
    }
    world.rva(&["replay", "once.ndjson", "turned.ndjson", "once.ndjson"]).exits(0);
    world.rva(&["ingest", "--drain"]).exits(0).says(&["0 rows committed", "150 were there already"]);
    assert_eq!(world.rows(), &earlier | &run);
}

#[test]
fn a_replay_of_a_file_that_is_none_puts_nothing_into_the_log() {
    let world = World::seeded();
    let earlier = world.rows();
    world.write("good.ndjson", records(&keys("good", "till", 1..=3)));
    world.rva(&["replay", "good.ndjson", "none.ndjson"]).exits(1).says(&["none.ndjson", "No such file"]);
    world.rva(&["replay", "good.ndjson", "d"]).exits(1).says(&["replay d", "found a folder", "wanted an NDJSON file"]);
    assert!(world.logged("till").is_empty());
    world.rva(&["ingest", "--drain"]).exits(0).says(&["0 rows committed"]);
    assert_eq!(world.rows(), earlier);
}
