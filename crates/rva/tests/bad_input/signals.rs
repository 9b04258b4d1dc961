//! Ctrl-C, once and twice, and a second process on one data folder.

use crate::{
    common::footage,
    world::{World, keys, last_without_hole, records},
};
use std::{collections::BTreeSet, thread::sleep, time::Duration};

/// The whole footage: more than any of these tests lets a run see. `None` where it or the runtime is absent.
fn long_video(world: &World) -> Option<String> {
    world.clip(1)?;
    footage().map(|path| path.display().to_string())
}

#[test]
fn ctrl_c_at_any_time_commits_every_frame_that_was_decoded() {
    let world = World::seeded();
    let Some(video) = long_video(&world) else { return };
    let mut known = world.rows();
    for (camera, after) in [("c0", None), ("c1", Some(0)), ("c2", Some(1)), ("c3", Some(9)), ("c4", Some(40))] {
        let mut run = world.start_run(&video, &["--camera-id", camera, "--commit-interval", "500ms"]);
        if let Some(frames) = after {
            let folder = world.data().join("log").join(camera);
            run.wait_for("frames in the log", |_| folder.exists() && world.logged(camera).len() >= frames);
        }
        run.signal("-INT");
        let ran = run.end().exits(130);
        let rows = world.rows();
        assert!(rows.is_superset(&known), "rows are gone");
        let new: BTreeSet<_> = rows.difference(&known).cloned().collect();
        assert!(new.iter().all(|key| key.1 == camera), "{new:?}");
        assert_eq!(new, world.logged(camera), "what is in the log is in the table");
        let last = last_without_hole(&new);
        assert!(last >= after.unwrap_or(0) as u64 && last < 795, "{last}");
        // A signal that comes before the run has begun ends it like any program, and there is nothing to say.
        if last > 0 {
            let said = [format!("{last} frames in"), format!("{last} rows committed")];
            assert!(said.iter().all(|text| ran.stderr.contains(text)), "wanted {said:?}:\n{}", ran.stderr);
        }
        known = rows;
    }
}

#[test]
fn a_second_ctrl_c_ends_at_once_and_the_next_ingest_brings_what_the_log_holds() {
    let world = World::seeded();
    let Some(video) = long_video(&world) else { return };
    let earlier = world.rows();
    let mut run = world.start_run(&video, &["--commit-interval", "1h"]);
    run.wait_for("frames in the log", |_| world.logged("cam_01").len() >= 5);
    // Somebody who writes to the catalog and doesn't come to an end, so that no commit gets through.
    let lock = world.hold_catalog("BEGIN IMMEDIATE");
    run.signal("-INT");
    // With the catalog held nothing but the second signal can end it; how long lies between them changes nothing.
    sleep(Duration::from_millis(500));
    run.signal("-INT");
    run.end().exits(130);
    drop(lock);

    assert_eq!(world.rows(), earlier, "nothing was committed, that is what the test is about");
    let logged = world.logged("cam_01");
    assert!(last_without_hole(&logged) >= 5);
    world.rva(&["ingest", "--drain"]).exits(0).says(&[&format!("{} rows committed", logged.len())]);
    assert_eq!(world.rows(), &earlier | &logged);
}

#[test]
fn a_second_writer_on_a_data_folder_is_refused_and_names_the_first() {
    let world = World::seeded();
    let Some(video) = long_video(&world) else { return };
    let earlier = world.rows();
    let mut first = world.start_run(&video, &["--camera-id", "first"]);
    first.wait_for("frames in the log", |_| !world.logged("first").is_empty());
    let pid = format!("process {}", first.pid());
    world.run("clip.avi", &["--camera-id", "second"]).exits(4).says(&[&pid, "has a writer already"]);
    world.write("more.ndjson", records(&keys("more", "second", 1..=3)));
    world.rva(&["replay", "more.ndjson"]).exits(4).says(&[&pid, "has a writer already"]);
    first.signal("-INT");
    first.end().exits(130);
    assert!(world.segments("second").is_empty(), "the refused ones wrote all the same");
    assert_eq!(world.rows(), &earlier | &world.logged("first"));

    let mut ingest = world.start(&["ingest"]);
    ingest.wait_until_it_says(&["following"]);
    let pid = format!("process {}", ingest.pid());
    world.run("clip.avi", &["--camera-id", "second"]).exits(4).says(&[&pid, "wanted a data folder of its own"]);
    ingest.signal("-INT");
    ingest.end().exits(0);
    assert_eq!(world.rows(), &earlier | &world.logged("first"));
    assert!(world.logged("second").is_empty());
}

#[test]
fn queries_beside_a_running_ingest_take_nothing_from_its_commits() {
    let world = World::seeded();
    let mut wanted = world.rows();
    let mut ingest = world.start(&["ingest", "--commit-interval", "100ms"]);
    ingest.wait_until_it_says(&["following"]);
    for round in 0..4_u64 {
        // Each opens the catalog and closes it again: only the last of all programs may remove its write-ahead log.
        for _ in 0..3 {
            assert!(world.rows().is_subset(&wanted));
        }
        let more = keys(&format!("round-{round}"), "till", 1..=5);
        world.write("more.ndjson", records(&more));
        world.rva(&["replay", "more.ndjson"]).exits(0);
        wanted.extend(more);
        let number = (round + 1) * 5;
        let committed = world.data().join("log/till/committed");
        ingest.wait_for("the commit", |_| {
            std::fs::read_to_string(&committed).is_ok_and(|text| text.starts_with(&format!("{number:020}")))
        });
        assert_eq!(world.rows(), wanted, "what was acknowledged is in the table");
    }
    ingest.signal("-INT");
    ingest.end().exits(0).says(&["20 rows committed"]);
    assert_eq!(world.rows(), wanted);
}
