//! A data folder that was damaged or moved.

use crate::world::{Key, World, keys, records};
use std::{collections::BTreeSet, fs};

#[test]
fn a_damaged_record_in_the_log_is_named_and_what_stands_before_it_is_committed() {
    let world = World::seeded();
    let earlier = world.rows();
    let run = keys("damaged", "till", 1..=20);
    world.write("a.ndjson", records(&run));
    world.rva(&["replay", "a.ndjson"]).exits(0);
    let segments = world.segments("till");
    let [segment] = &segments[..] else { panic!("wanted one segment: {segments:?}") };
    let whole = fs::read(segment).unwrap();

    let middle = whole.len() / 2;
    let line = whole[..middle].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
    let before = whole[..line].iter().filter(|byte| **byte == b'\n').count() as u64;
    // Behind the crc field, so that the checksum of what is found differs from the one that is wanted.
    let place = middle.max(line + 40);
    let mut flipped = whole.clone();
    flipped[place] ^= 1;
    fs::write(segment, &flipped).unwrap();

    let end = line + whole[line..].iter().position(|byte| *byte == b'\n').unwrap();
    let wanted = String::from_utf8(whole[line + 8..line + 16].to_vec()).unwrap();
    let found = format!("{:08x}", crc32c(&flipped[line + 17..end]));
    let texts = [
        segment.display().to_string(),
        format!("at byte {line}"),
        format!("found crc {found}"),
        format!("wanted {wanted}"),
    ];
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    world.rva(&["ingest", "--drain"]).exits(1).says(&texts);
    let good: BTreeSet<Key> = run.iter().filter(|key| key.2 <= before).cloned().collect();
    assert!((5..15).contains(&before));
    assert_eq!(world.rows(), &earlier | &good);
    world.rva(&["ingest", "--drain"]).exits(1).says(&texts);
    assert_eq!(world.rows(), &earlier | &good, "a second attempt neither adds nor takes");
    assert_eq!(fs::read(segment).unwrap(), flipped, "damage is left for somebody to look at");

    // The way out that the text names: the file from a copy.
    fs::write(segment, &whole).unwrap();
    world.rva(&["ingest", "--drain"]).exits(0);
    assert_eq!(world.rows(), &earlier | &run);
}

/// CRC-32C, bit by bit: not the product's code.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0x82f6_3b78 & 0_u32.wrapping_sub(crc & 1)))
    })
}

#[test]
fn a_torn_last_record_is_cut_and_reported_and_everything_before_it_is_committed() {
    let world = World::seeded();
    let earlier = world.rows();
    let run = keys("torn", "till", 1..=5);
    world.write("a.ndjson", records(&run));
    world.rva(&["replay", "a.ndjson"]).exits(0);
    let segment = world.segments("till").remove(0);
    let whole = fs::read(&segment).unwrap();
    // As a process leaves it that was killed in the middle of a write.
    let mut torn = whole.clone();
    torn.extend_from_slice(b"{\"crc\":\"01234567\",\"n\":6,\"ts");
    fs::write(&segment, torn).unwrap();
    world.write("b.ndjson", records(&keys("later", "till", 1..=2)));
    let at = format!("offset={}", whole.len());
    world.rva(&["replay", "b.ndjson"]).exits(0).says(&["cut the torn tail", &segment.display().to_string(), &at]);
    world.rva(&["ingest", "--drain"]).exits(0).says(&["7 rows committed"]);
    assert_eq!(world.rows(), &(&earlier | &run) | &keys("later", "till", 1..=2));
}

#[test]
fn a_data_folder_that_was_moved_says_where_it_was_and_works_again_when_it_is_back() {
    let world = World::seeded();
    let earlier = world.rows();
    let more = keys("more", "till", 1..=3);
    world.write("more.ndjson", records(&more));
    world.rva(&["replay", "more.ndjson"]).exits(0);
    let was = world.data().canonicalize().unwrap().display().to_string();
    let now = world.path().canonicalize().unwrap().join("moved");
    fs::rename(world.data(), &now).unwrap();
    let moved = now.display().to_string();
    let moved_command =
        |arguments: &[&str]| crate::common::rva(world.path(), &[arguments, &["--data-dir", "moved"]].concat());
    let wanted = [&format!("data folder {moved} was moved"), &format!("move the folder back to {was}")];
    let wanted: Vec<&str> = wanted.iter().map(|text| text.as_str()).collect();
    moved_command(&["query", "SELECT 1 FROM bronze_raw"]).exits(1).says(&wanted);
    moved_command(&["tables"]).exits(1).says(&wanted);
    moved_command(&["ingest", "--drain"]).exits(1).says(&wanted);
    if let Some(clip) = world.clip(2) {
        let model = crate::common::demo_model();
        moved_command(&["run", &clip, "--model", model.to_str().unwrap()]).exits(1).says(&wanted);
    }
    assert!(!world.data().exists(), "the old place was made anew");
    fs::rename(&now, world.data()).unwrap();
    assert_eq!(world.rows(), earlier);
    world.rva(&["ingest", "--drain"]).exits(0).says(&["3 rows committed"]);
    assert_eq!(world.rows(), &earlier | &more);
}
