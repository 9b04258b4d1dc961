//! `make bench NAME=lookup`: what the lookup of events costs at scale. `lookup write FOLDER STORES CAMERAS COMMITS SHAPE` makes a
//! table of small files, one for each store and commit; `lookup read FOLDER STORES CAMERAS COMMITS SHAPE` is a process that
//! begins on it. SHAPE says how the frame indexes of a store's cameras stand to each other, and how run ids sort:
//! `together` (all runs began at once), `apart` (cameras of a store are far ahead of others, so that the bounds of a file
//! say little), `foreign` (as `apart`, with run ids that don't sort by time). Both print CSV lines `what,value,unit`.
#![allow(clippy::unwrap_used, reason = "a measurement that fails ends")]

use rva_lake::{Batch, BronzeRow, BronzeSink, CommitOutcome, Lake, LakeOptions, TableSink};
use rva_testkit::measure::status_kib;
use rva_types::{BronzeEvent, CameraId, EventKey, OffsetMap, Position, RunId, StoreId, Timestamp};
use std::path::Path;
use std::time::Instant;

/// The frames of a camera in a commit.
const FRAMES: u64 = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Together,
    Apart,
    Foreign,
}

#[derive(Debug, Clone, Copy)]
struct World {
    stores: u64,
    cameras: u64,
    commits: u64,
    shape: Shape,
}

/// Returns a number that looks like no other and is the same in every process.
fn scattered(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

fn at(number: u64) -> OffsetMap {
    let mut map = OffsetMap::new();
    if number > 0 {
        map.advance("all", Position::of_record(number));
    }
    map
}

impl World {
    /// Returns the id of a camera's run: those of a later generation sort behind all earlier ones, unless they are foreign.
    /// Within a generation cameras began in no order.
    fn run(self, camera: u64, generation: u64) -> RunId {
        let scattered = scattered(camera + generation * self.cameras);
        let text = match self.shape {
            Shape::Foreign => format!("{scattered:016x}{:016x}", camera + generation * self.cameras),
            Shape::Together | Shape::Apart => {
                format!("018f{generation:08x}7{:03x}{:016x}", scattered >> 52, scattered ^ camera)
            }
        };
        RunId::parse(text).unwrap()
    }

    /// Returns the rows of a commit: some frames of each camera.
    fn rows(self, commit: u64, generation: u64) -> Vec<BronzeRow> {
        let frames = (0..self.cameras).flat_map(|camera| (0..FRAMES).map(move |frame| (camera, frame)));
        frames
            .map(|(camera, frame)| {
                let ahead = match self.shape {
                    Shape::Together => 0,
                    // Up to a day of 30 frames a second.
                    Shape::Apart | Shape::Foreign => scattered(camera + 7_000_000) % 2_592_000,
                };
                let frame = i64::try_from(ahead + commit * FRAMES + frame).unwrap();
                let payload = format!(r#"{{"frame_index":{frame},"camera":{camera},"detections":[]}}"#);
                let (store, camera_id) = (camera % self.stores, camera / self.stores);
                let key = EventKey {
                    run: self.run(camera, generation),
                    camera: CameraId::parse(format!("store_{store:04}_cam_{camera_id:02}")).unwrap(),
                    frame_index: frame,
                };
                let store = StoreId::parse(format!("store_{store:04}")).unwrap();
                let event = BronzeEvent { schema_version: "1.0".into(), key, payload: payload.into(), store };
                BronzeRow { event, ingest_ts: Timestamp::from_micros(1_700_000_000_000_000 + frame) }
            })
            .collect()
    }
}

fn say(what: &str, value: f64, unit: &str) {
    println!("{what},{value:.3},{unit}");
}

async fn commit(sink: &mut BronzeSink, number: &mut u64, rows: Vec<BronzeRow>) -> CommitOutcome {
    let batch = Batch { source: "bench|lookup".into(), from: at(*number), to: at(*number + 1), rows };
    let outcome = sink.commit(&batch).await.unwrap();
    *number += 1;
    outcome
}

async fn write(folder: &Path, world: World) {
    let lake = Lake::open_embedded(folder, LakeOptions::default()).await.unwrap();
    let mut sink = lake.bronze_sink().unwrap();
    let mut number = 0;
    for of in 1..=world.commits {
        let began = Instant::now();
        let outcome = commit(&mut sink, &mut number, world.rows(of, 0)).await;
        assert!(matches!(outcome, CommitOutcome::Committed { rows_known: 0, .. }), "{outcome:?}");
        if of == 1 || of == world.commits {
            say(&format!("writer: commit {of}"), began.elapsed().as_secs_f64(), "s");
        }
    }
    let counts = sink.key_counts();
    say("writer: files read for keys", counts.files_read as f64, "files");
    say("writer: resident memory most", status_kib("VmHWM") as f64 / 1024.0, "MiB");
}

async fn read(folder: &Path, world: World) {
    let began = Instant::now();
    let lake = Lake::open_embedded(folder, LakeOptions::default()).await.unwrap();
    let mut sink = lake.bronze_sink().unwrap();
    let resume = sink.resume_point().await.unwrap();
    let mut number = resume.offsets.get("all").unwrap().entry;
    say("position known", began.elapsed().as_secs_f64(), "s");
    let wanted = world.cameras * FRAMES;
    let next = world.commits + 1;
    // What each batch is, and whether the table holds it already.
    let batches: [(&str, u64, u64, bool); 6] = [
        ("restart: first commit", next, 0, false),
        ("second commit", next + 1, 0, false),
        ("third commit", next + 2, 0, false),
        ("all known: what this process wrote", next + 2, 0, true),
        ("all known: what was there before", world.commits - 1, 0, true),
        ("new runs", next, 1, false),
    ];
    let mut before = sink.key_counts();
    for (name, of, generation, is_known) in batches {
        let rows = world.rows(of, generation);
        let began = Instant::now();
        let holds = sink.holds(&rows).await.unwrap();
        say(&format!("{name}: the lookup of it"), began.elapsed().as_secs_f64(), "s");
        assert!(holds.iter().all(|holds| *holds == is_known), "{name}");
        let began = Instant::now();
        let outcome = commit(&mut sink, &mut number, rows).await;
        say(&format!("{name}: looked up before"), began.elapsed().as_secs_f64(), "s");
        let expected = if is_known { (0, wanted) } else { (wanted, 0) };
        let expected = CommitOutcome::Committed { rows_appended: expected.0, rows_known: expected.1 };
        assert_eq!(outcome, expected, "{name}");
        let counts = sink.key_counts();
        say(&format!("{name}: files read for keys"), (counts.files_read - before.files_read) as f64, "files");
        let payloads = counts.payload_files_read - before.payload_files_read;
        say(&format!("{name}: files read for payloads"), payloads as f64, "files");
        before = counts;
    }
    say("resident memory most", status_kib("VmHWM") as f64 / 1024.0, "MiB");
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let work = async {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let [what, folder, stores, cameras, commits, shape] = arguments.as_slice() else {
            panic!("found {arguments:?}, wanted write|read FOLDER STORES CAMERAS COMMITS together|apart|foreign");
        };
        let shape = match *shape {
            "together" => Shape::Together,
            "apart" => Shape::Apart,
            "foreign" => Shape::Foreign,
            found => panic!("found shape {found}, wanted together, apart or foreign"),
        };
        let [stores, cameras, commits] = [stores, cameras, commits].map(|number| number.parse().unwrap());
        let world = World { stores, cameras, commits, shape };
        match *what {
            "write" => write(Path::new(folder), world).await,
            "read" => read(Path::new(folder), world).await,
            found => panic!("found {found}, wanted write or read"),
        }
    };
    runtime.block_on(runtime.spawn(work)).unwrap();
}
