//! What happens in front of cameras, and what the ingest and whoever draws zones make of it.

use rva_lake::{
    Batch, BronzeRow, BronzeSink, Cell, Cells, CommitOutcome, Lake, RowChange, Span, Staged, TableSink, ZoneTable,
};
use rva_refine::Refine;
use rva_types::{BronzeEvent, CameraId, EventKey, OffsetMap, Position, RunId, StoreId, Timestamp};
use std::path::Path;

/// 2026-01-31T22:50:00Z: ten minutes before a full hour, seventy before a day.
pub const T0: i64 = 1_769_899_800_000_000;

/// A small generator: the same world from the same seed.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        // splitmix64 (Steele, Lea, Flood 2014)
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

pub use rva_testkit::lake::quick;

/// One frame of a camera that sees people walk; now and then something is wrong with it.
fn payload(random: &mut Random, at_us: i64, index: i64, people: &[(Option<i64>, f64, f64)]) -> String {
    let one = |(j, (track, x, y)): (usize, &(Option<i64>, f64, f64))| {
        let (x, y) = (x * 640.0, y * 480.0);
        let (x1, y1, x2) = ((x - 20.0).max(0.0), (y - 120.0).max(0.0), (x + 20.0).min(640.0));
        let conf = 0.3 + ((index * 31 + j as i64 * 7) % 70) as f64 / 100.0;
        let track = track.map_or("null".to_owned(), |track| track.to_string());
        let y2 = y.min(480.0);
        format!(
            r#"{{"det_id":"{index}-{j}","class":"person","class_id":0,"conf":{conf:.4},"bbox":{{"x1":{x1:.2},"y1":{y1:.2},"x2":{x2:.2},"y2":{y2:.2}}},"track_id":{track}}}"#
        )
    };
    let mut detections: Vec<String> = people.iter().enumerate().map(one).collect();
    if random.below(40) == 0 {
        detections
            .push(r#"{"det_id":"x","class":"cart","conf":0.9,"bbox":{"x1":1,"y1":1,"x2":50,"y2":60}}"#.to_owned());
    }
    if random.below(60) == 0 {
        detections.push(r#"{"det_id":"bad","class":"person","conf":7}"#.to_owned());
    }
    if random.below(80) == 0 {
        return r#"{"capture_ts":"yesterday"}"#.to_owned();
    }
    let at = Timestamp::from_micros(at_us);
    format!(
        r#"{{"capture_ts":"{at}","image_size":{{"width":640,"height":480}},"detections":[{}]}}"#,
        detections.join(",")
    )
}

/// The frames of one run of a camera, in order.
pub fn film(random: &mut Random, store: &str, camera: &str, run: &str, start_us: i64, seconds: f64) -> Vec<BronzeRow> {
    let step = [0.5, 1.0, 2.0][random.below(3) as usize];
    let walks: Vec<(i64, f64, f64, f64, f64, f64)> = (0..1 + random.below(4))
        .map(|track| {
            let begin = random.share() * seconds * 0.6;
            let end = begin + random.share() * seconds;
            (track as i64 + 1, begin, end, random.share(), random.share(), random.share())
        })
        .collect();
    let mut rows = Vec::new();
    for at in 0..(seconds / step) as i64 {
        let t = at as f64 * step;
        // The picture is lost now and then.
        if random.below(30) == 0 {
            continue;
        }
        let seen = walks.iter().filter(|walk| t >= walk.1 && t <= walk.2);
        let people: Vec<_> = seen
            .map(|(track, begin, end, x0, x1, y)| {
                let share = (t - begin) / (end - begin).max(0.001);
                let track = (random.below(25) != 0).then_some(*track);
                (track, x0 + (x1 - x0) * share, 0.3 + 0.7 * y)
            })
            .collect();
        let at_us = start_us + (t * 1e6) as i64;
        rows.push(row(store, camera, run, at + 1, payload(random, at_us, at + 1, &people)));
    }
    rows
}

pub fn row(store: &str, camera: &str, run: &str, frame_index: i64, payload: String) -> BronzeRow {
    let key = EventKey { run: RunId::parse(run).unwrap(), camera: CameraId::parse(camera).unwrap(), frame_index };
    let store = StoreId::parse(store).unwrap();
    let event = BronzeEvent { schema_version: "1.0".into(), key, payload: payload.into(), store };
    BronzeRow { event, ingest_ts: Timestamp::from_micros(T0 + 86_000_000_000) }
}

/// What the ingest does.
pub struct Bronze {
    sink: BronzeSink,
    from: OffsetMap,
    number: u64,
}

impl Bronze {
    pub fn of(lake: &Lake) -> Self {
        Self { sink: lake.bronze_sink().unwrap(), from: OffsetMap::new(), number: 0 }
    }

    pub async fn append(&mut self, rows: Vec<BronzeRow>) {
        self.number += rows.len() as u64;
        let mut to = self.from.clone();
        to.advance("log", Position::of_record(self.number));
        let batch = Batch { source: "log|1".into(), from: self.from.clone(), to: to.clone(), rows };
        let outcome = self.sink.commit(&batch).await.unwrap();
        assert!(matches!(outcome, CommitOutcome::Committed { .. }), "{outcome:?}");
        self.from = to;
    }

    /// Goes on where the table says that it is, as an ingest does that finds it changed.
    #[allow(dead_code, reason = "the simulation alone meddles with bronze")]
    pub async fn resume(&mut self) {
        self.from = self.sink.resume_point().await.unwrap().offsets;
    }
}

pub async fn open(folder: &Path) -> Lake {
    Lake::open_embedded(folder, quick()).await.unwrap()
}

pub async fn refine(lake: &Lake) -> Refine {
    Refine::open(lake, rva_analytics::Rules::default()).await.unwrap()
}

/// A row of `rva.zones`.
pub fn shape(camera: &str, name: &str, kind: &str, points: &str, from_us: i64, to_us: Option<i64>) -> Cells {
    let text = |text: &str| Cell::Text(text.into());
    let to = to_us.map_or(Cell::Null, Cell::Time);
    vec![text("a"), text(camera), text(name), text(kind), text(points), Cell::Time(from_us), to]
}

/// Somebody draws: these rows take the place of all that stood in `rva.zones`.
pub async fn draw(lake: &Lake, rows: Vec<Cells>) {
    let lake = lake.for_job("draw".parse().unwrap());
    let mut table = lake.refined::<ZoneTable>().await.unwrap();
    let from = table.resume_point().await.unwrap().offsets;
    let view = table.view().await.unwrap();
    let all = Span { store: None, from_us: i64::MIN, to_us: i64::MAX };
    let replaced = table.replace(&view, &[all], &|_| false).await.unwrap();
    let mut staged = Staged::default();
    table.stage(&view, rows, &mut staged).await.unwrap();
    let number = from.get("drawing").map_or(0, |position| position.entry) + 1;
    let mut to = from.clone();
    to.advance("drawing", Position::of_record(number));
    let change = RowChange { source: "hand".into(), from, to, staged, replaced };
    let outcome = table.commit(&view, &change).await.unwrap();
    assert!(matches!(outcome, CommitOutcome::Committed { .. }), "{outcome:?}");
}
