//! Sources that are none, have nothing in them, or break off.

use crate::world::{World, last_without_hole};
use std::{fs, process::Command};

#[test]
fn a_source_that_is_no_source_is_named_with_found_and_wanted_and_changes_nothing() {
    let world = World::seeded();
    let before = world.rows();
    let Some(_) = world.clip(2) else { return };
    fs::create_dir(world.path().join("folder")).unwrap();
    world.write("folder/notes.txt", "x");
    world.write("text.mp4", "this is no video at all\n");
    world.write("empty.mp4", "");
    world.write("broken.jpg", "this is no picture");
    let cases: [(&str, &[&str]); 6] = [
        ("none.mp4", &["none.mp4", "found no such file", "wanted a video"]),
        ("none/*.jpg", &["none/*.jpg", "found nothing that matches", "wanted at least one image"]),
        ("folder", &["folder", "found a folder with 1 other entries and no images", "wanted files that end in jpg"]),
        ("text.mp4", &["text.mp4", "24 bytes of text that start with \"this is no", "wanted a whole video file"]),
        ("empty.mp4", &["empty.mp4", "found an empty file of 0 bytes", "wanted a whole video file"]),
        ("broken.jpg", &["broken.jpg", "found", "wanted"]),
    ];
    for (source, wanted) in cases {
        world.run(source, &[]).exits(1).says(wanted);
        // One bad source among good ones: nothing is started either.
        world.run("clip.avi", &[source]).exits(1).says(wanted);
    }
    // GStreamer is loaded for it, before anything else was opened.
    let pipeline = "gst:videotestsrc ! nosuchthing ! appsink";
    world.run(pipeline, &[]).exits(2).says(&["no element \"nosuchthing\"", "wanted a pipeline of elements"]);
    assert_eq!(world.rows(), before);
    assert!(world.logged("cam_01").is_empty(), "a frame of the good source came into the log");
}

#[test]
fn a_video_without_frames_is_refused_and_changes_nothing() {
    let world = World::seeded();
    let before = world.rows();
    let Some(clip) = world.clip(2) else { return };
    // Sound alone is a container without pictures.
    let silence = ["-v", "error", "-f", "lavfi", "-i", "anullsrc", "-t", "0.2", "sound.mp4"];
    assert!(Command::new("ffmpeg").current_dir(world.path()).args(silence).status().unwrap().success());
    world.run("sound.mp4", &[]).exits(1).says(&[
        "sound.mp4",
        "found an MP4 file of",
        "no video frames",
        "wanted at least 1",
    ]);
    // A header that announces pictures, and none behind it.
    let avi = fs::read(clip).unwrap();
    let movi = avi.windows(4).position(|name| name == b"movi").unwrap();
    world.write("header.avi", &avi[..movi + 4]);
    world.run("header.avi", &[]).exits(1).says(&["header.avi", "found", "0 frames", "wanted at least 1"]);
    assert_eq!(world.rows(), before);
}

/// Pictures that lie whole in the first `length` bytes of an AVI file.
fn whole_pictures(avi: &[u8], length: usize) -> u64 {
    let mut at = avi.windows(4).position(|name| name == b"movi").unwrap() + 4;
    let mut count = 0;
    while let Some(head) = avi.get(at..at + 8) {
        let size = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
        if at + 8 + size > length {
            break;
        }
        count += u64::from(&head[..4] == b"00dc");
        at += 8 + size + size % 2;
    }
    count
}

#[test]
fn a_video_that_breaks_off_is_committed_as_far_as_it_goes_and_the_exit_code_says_incomplete() {
    let world = World::seeded();
    let earlier = world.rows();
    let Some(clip) = world.clip(30) else { return };
    let avi = fs::read(&clip).unwrap();
    let length = avi.len() * 11 / 20;
    let whole = whole_pictures(&avi, length);
    assert!((5..25).contains(&whole), "the test's own clip is odd: {whole}");
    world.write("half.avi", &avi[..length]);
    let ran = world.run("half.avi", &["clip.avi"]).exits(3);
    let ran = ran.says(&["error: half.avi: found ", "wanted 30 frames", "breaks off"]);
    assert_eq!(ran.stderr.matches("half.avi: found").count(), 1, "said once");
    let rows = world.rows();
    assert!(rows.is_superset(&earlier));
    let last = |camera: &str| last_without_hole(rows.iter().filter(|key| key.1 == camera));
    // The picture that was cut in two may still be decoded.
    assert!((whole..=whole + 1).contains(&last("cam_01")), "{} of {whole} pictures", last("cam_01"));
    assert_eq!(last("cam_02"), 30, "the whole video beside it is there to its end");
    assert_eq!(rows.len() as u64, earlier.len() as u64 + last("cam_01") + 30);
}

#[test]
fn an_mp4_that_breaks_off_is_committed_as_far_as_it_goes_and_one_without_its_index_is_refused() {
    let world = World::new();
    let Some(clip) = world.clip(30) else { return };
    let encode = |name: &str, flags: &str| {
        let arguments = ["-v", "error", "-i", &clip, "-c:v", "mpeg4", "-g", "5", "-q:v", "4", "-movflags", flags, name];
        assert!(Command::new("ffmpeg").current_dir(world.path()).args(arguments).status().unwrap().success());
        fs::read(world.path().join(name)).unwrap()
    };
    let back = encode("back.mp4", "empty_moov-empty_moov");
    world.write("no-index.mp4", &back[..back.len() / 2]);
    world.run("no-index.mp4", &[]).exits(1).says(&[
        "no-index.mp4",
        "found an MP4 file of",
        "moov",
        "wanted a whole video",
    ]);
    assert!(!world.data().exists(), "nothing is made for what can't start");

    let front = encode("front.mp4", "+faststart");
    world.write("half.mp4", &front[..front.len() * 6 / 10]);
    let ran = world.run("half.mp4", &[]).exits(3).says(&["half.mp4", "found ", "wanted 30 frames", "breaks off"]);
    let last = last_without_hole(&world.rows());
    assert!((5..30).contains(&last), "{last}: {}", ran.stderr);
    assert!(ran.stderr.contains(&format!("{last} rows committed")), "{}", ran.stderr);
}
