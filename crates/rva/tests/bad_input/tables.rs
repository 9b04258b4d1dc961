//! Tables of another schema.

use crate::{
    common::workspace,
    world::{World, keys, records},
};
use std::{
    fs,
    path::PathBuf,
    process::{Command, Output},
};

fn foreign(python: &PathBuf, world: &World, arguments: &[&str]) -> Output {
    let script = workspace().join("crates/rva/tests/python/foreign_table.py");
    Command::new(python).arg(script).arg(world.data().canonicalize().unwrap()).args(arguments).output().unwrap()
}

#[test]
fn a_table_of_another_schema_is_refused_with_the_difference_and_the_log_keeps_everything() {
    let Some(python) = rva_testkit::python_with(&["pyiceberg", "pyarrow"]) else { return };
    let cases: [(&str, &[&str]); 4] = [
        (
            "predecessor",
            &[
                "rva.bronze_raw",
                "column ingest_ts",
                "found timestamp without zone",
                "wanted timestamptz",
                "copy_predecessor_bronze.sql",
            ],
        ),
        ("no-store", &["rva.bronze_raw", "column store_id", "found ingest_ts in place 6", "wanted store_id there"]),
        ("text-index", &["rva.bronze_raw", "column frame_index", "found string", "wanted long"]),
        ("dead-letters", &["rva.bronze_dead_letters", "column raw", "found string", "wanted binary"]),
    ];
    for (kind, wanted) in cases {
        let world = World::new();
        let run = keys("mine", "door", 1..=5);
        world.write("mine.ndjson", records(&run));
        world.rva(&["replay", "mine.ndjson"]).exits(0);
        let made = foreign(&python, &world, &["make", kind]);
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let rows = |world: &World| String::from_utf8(foreign(&python, world, &["read", kind]).stdout).unwrap();
        let before = rows(&world);
        assert!(before.contains("foreign-run"), "{kind}: {before}");

        world.rva(&["ingest", "--drain"]).exits(1).says(wanted);
        if let Some(clip) = world.clip(2) {
            world.run(&clip, &[]).exits(1).says(wanted);
        }
        assert_eq!(rows(&world), before, "{kind}: the foreign table was changed");
        assert_eq!(world.logged("door"), run, "{kind}: the log lost something");

        // Out of the way with it, and nothing that was accepted is lost.
        for name in ["catalog.db", "catalog.db-wal", "catalog.db-shm"] {
            let _ = fs::remove_file(world.data().join(name));
        }
        fs::rename(world.data().join("warehouse"), world.path().join("foreign-warehouse")).unwrap();
        world.rva(&["ingest", "--drain"]).exits(0);
        let door = world.rows().into_iter().filter(|key| key.1 == "door").collect();
        assert_eq!(run, door, "{kind}");
    }
}
