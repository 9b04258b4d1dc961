//! More cameras and shops than files that may be open.

use crate::{
    common::{Ran, record},
    world::{Key, World},
};
use std::{collections::BTreeSet, process::Command};

/// What shells give, and here the system too: nothing raises it.
const OPEN_FILES: &str = "1024";

impl World {
    /// Runs it with few open files.
    fn rva_with_few_files(&self, arguments: &[&str]) -> Ran {
        let inner = self.command(arguments);
        let mut command = Command::new("sh");
        command.args(["-c", r#"ulimit -n "$0" && exec "$@""#, OPEN_FILES]).arg(inner.get_program());
        command.args(inner.get_args()).current_dir(self.path());
        for (name, value) in inner.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.output().unwrap().into()
    }

    /// Replays, ingests, and compares the keys.
    fn takes_all(&self, lines: &[String], wanted: &BTreeSet<Key>) {
        self.write("all.ndjson", lines.join("\n"));
        self.rva_with_few_files(&["replay", "all.ndjson"]).exits(0);
        self.rva_with_few_files(&["ingest", "--drain"]).exits(0);
        let found = self.rows();
        let (lost, strange) = (wanted.difference(&found).count(), found.difference(wanted).count());
        assert_eq!((lost, strange), (0, 0), "keys lost, and keys that nobody sent");
    }
}

#[test]
fn two_thousand_cameras_in_turn_are_replayed_and_ingested_with_a_thousand_open_files() {
    let world = World::new();
    let (mut lines, mut wanted) = (Vec::new(), BTreeSet::new());
    for frame in 1..=3 {
        for camera in 0..2_000 {
            let (run, camera) = (format!("run-{camera:04}"), format!("cam_{camera:04}"));
            lines.push(record(&run, &camera, frame));
            wanted.insert((run, camera, frame));
        }
    }
    world.takes_all(&lines, &wanted);
}

#[test]
fn ten_thousand_stores_are_replayed_and_ingested_with_a_thousand_open_files() {
    let world = World::new();
    let (mut lines, mut wanted) = (Vec::new(), BTreeSet::new());
    for store in 0..10_000 {
        let (run, camera) = (format!("run-{store:05}"), format!("cam_{:02}", store % 20));
        let line = record(&run, &camera, 1);
        lines.push(line.replace(r#""store_id":"store_01""#, &format!(r#""store_id":"store_{store:05}""#)));
        wanted.insert((run, camera, 1));
    }
    world.takes_all(&lines, &wanted);
}
