//! A command that is killed leaves tables that are right, and the next one ends what it began.

use crate::{SPAN, fill, in_span, keys, mark, search::files_holding, world::World};
use std::{process::Stdio, thread::sleep, time::Duration};

#[test]
fn a_forget_that_is_killed_anywhere_leaves_right_tables_and_the_next_one_ends_it() {
    let world = World::new();
    fill(&world, |_, _| true);
    let wanted: Vec<_> = keys(&world).into_iter().filter(|(camera, frame)| !in_span(camera, *frame)).collect();
    let marks: Vec<String> = (30..150).map(|frame| mark("door", frame)).collect();
    let log = world.path().join("forget.log");
    let mut killed = 0;
    // Later each time, by more and more, until one gets to its end.
    for wait in (0..).map(|round: u64| Duration::from_millis(100 + round * round * 60)) {
        let mut forget = world.command(&[&["forget", "--yes"], &SPAN[..]].concat());
        let said = std::fs::File::create(&log).unwrap();
        let mut child = forget.stdout(Stdio::null()).stderr(said).spawn().unwrap();
        sleep(wait);
        if let Some(ended) = child.try_wait().unwrap() {
            assert!(ended.success(), "{ended} after {wait:?}: {}", std::fs::read_to_string(&log).unwrap());
            break;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        killed += 1;
        // What isn't chosen is there, each key once, and everything can be worked out.
        let found = keys(&world);
        assert!(wanted.iter().all(|key| found.contains(key)), "after {wait:?}");
        world.rva(&["refine", "--drain"]).exits(0);
        world.rva(&["verify"]).exits(0);
    }
    println!("{killed} kills");
    assert!(killed > 2, "no kill cut it off");
    assert_eq!(keys(&world).into_iter().collect::<Vec<_>>(), wanted);
    world.rva(&["verify"]).exits(0);
    assert_eq!(files_holding(&world.data(), &marks), Vec::<String>::new());
    world.rva(&["ingest", "--drain"]).exits(0);
    world.rva(&["maintain", "--once"]).exits(0);
    world.rva(&[&["forget", "--yes"], &SPAN[..]].concat()).exits(0).says(&["nothing of it is there"]);
}
