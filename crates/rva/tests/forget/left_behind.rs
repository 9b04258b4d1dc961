//! What a program that was killed left in the folders of the tables, which no snapshot names.

use crate::{SPAN, fill, in_span, keys, mark, search::files, search::files_holding, world::World};
use std::{fs, path::PathBuf};

/// The files of a table whose name ends so and that hold a mark.
fn marked(world: &World, table: &str, ending: &str, marks: &[String]) -> Vec<PathBuf> {
    let held = files_holding(&world.data().join("warehouse/rva"), marks);
    let of_table = |path: &String| path.contains(&format!("/{table}-")) && path.ends_with(ending);
    held.into_iter().filter(of_table).map(PathBuf::from).collect()
}

#[test]
fn what_a_killed_program_left_is_said_while_another_writes_and_goes_when_none_does() {
    let world = World::new();
    fill(&world, |_, _| true);
    let wanted: Vec<_> = keys(&world).into_iter().filter(|(camera, frame)| !in_span(camera, *frame)).collect();
    let marks: Vec<String> = (30..150).map(|frame| mark("door", frame)).collect();
    let mut planted = Vec::new();
    for (table, ending, name) in [
        ("bronze_raw", ".parquet", "01a2328e-313e-75e2-a89b-e1e29be4bdda.parquet"),
        ("silver_detections", ".avro", "01a2328e-313e-75e2-a89b-e1e29be4bddb-m0.avro"),
        ("silver_frames", ".parquet", ".01a2328e-313e-75e2-a89b-e1e29be4bddc.parquet.733358c4d51b.tmp"),
        ("silver_detections", ".avro", ".01a2328e-313e-75e2-a89b-e1e29be4bddd-m0.avro.733358c4d51b.tmp"),
    ] {
        // An id of a detection is no column of `silver_frames`: a file of the other table stands for one.
        let from = if table == "silver_frames" { "silver_detections" } else { table };
        let model = marked(&world, from, ending, &marks).remove(0);
        let folder = files(&world.data().join("warehouse/rva")).into_iter().find(|path| {
            path.display().to_string().contains(&format!("/{table}-")) && path.extension() == model.extension()
        });
        let copy = folder.unwrap().with_file_name(name);
        fs::copy(&model, &copy).unwrap();
        planted.push(copy);
    }
    let notes = planted[1].with_file_name("notes.tmp");
    fs::write(&notes, "somebody's own").unwrap();
    let mut ingest = world.start(&["ingest"]);
    ingest.wait_until_it_says(&["following"]);
    let forget = [&["forget", "--yes"], &SPAN[..]].concat();
    let stays = world.rva(&forget).exits(1).stdout;
    for (table, count) in [("bronze_raw", 1), ("silver_detections", 2), ("silver_frames", 1)] {
        let wanted = format!("stays: rva.{table}: {count} files that no snapshot names");
        assert!(stays.contains(&wanted), "wanted {wanted:?} in:\n{stays}");
    }
    assert!(planted.iter().all(|path| path.exists()), "somebody may be about to commit them");
    ingest.signal("-INT");
    assert_eq!(ingest.end().code, 0);
    world.rva(&forget).exits(0);
    assert_eq!(planted.iter().filter(|path| path.exists()).collect::<Vec<_>>(), Vec::<&PathBuf>::new());
    assert_eq!(files_holding(&world.data(), &marks), Vec::<String>::new());
    assert!(notes.exists());
    assert_eq!(keys(&world).into_iter().collect::<Vec<_>>(), wanted);
    world.rva(&["verify"]).exits(0);
}
