//! What no camera should send and no other engine should make: each is a reject, or an error that names the way out, and
//! what is good beside it counts.

use crate::world::{Bronze, T0, assert_equal, film, open, refine, row, sql};
use iceberg::spec::{NestedField, PrimitiveType, Schema, Type};
use iceberg::{NamespaceIdent, TableCreation, TableIdent};
use rva_analytics::Rules;
use rva_lake::{BronzeRow, Lake, LakeErrorKind};
use rva_refine::Refine;
use rva_types::Timestamp;
use std::sync::Arc;
use tempfile::tempdir;

fn payload(second: f64, detections: &str) -> String {
    let at = Timestamp::from_micros(T0 + (second * 1e6) as i64);
    dated(&format!("\"{at}\""), detections)
}

fn dated(capture_ts: &str, detections: &str) -> String {
    format!(r#"{{"capture_ts":{capture_ts},"image_size":{{"width":640,"height":480}},"detections":[{detections}]}}"#)
}

fn person(id: &str, bbox: [&str; 4], track: i64) -> String {
    let [x1, y1, x2, y2] = bbox;
    format!(
        r#"{{"det_id":"{id}","class":"person","conf":0.9,"bbox":{{"x1":{x1},"y1":{y1},"x2":{x2},"y2":{y2}}},"track_id":{track}}}"#
    )
}

const GOOD: [&str; 4] = ["10", "10", "50", "200"];

fn numbered(payloads: Vec<String>) -> Vec<BronzeRow> {
    let of = |(number, payload)| row("a", "door", "run", number, payload);
    (1..).zip(payloads).map(of).collect()
}

async fn told(lake: &Lake, text: &str) -> Vec<String> {
    sql(lake, text).await.into_iter().map(|cells| cells.join(" ")).collect()
}

#[test]
fn records_and_detections_that_cannot_be_are_rejects_with_their_reason_and_all_else_counts() {
    crate::block_on(async {
        let folder = tempdir().unwrap();
        let lake = open(folder.path()).await;
        let mut rows = numbered(vec![
            payload(1.0, &person("1-0", GOOD, 1)),
            dated("null", &person("2-0", GOOD, 1)),
            dated("\"1999-12-31T23:59:59Z\"", ""),
            dated("\"9999-01-01T00:00:00Z\"", ""),
            // The clock goes back within the run, by more than a minute.
            payload(-100.0, &person("5-0", GOOD, 1)),
            payload(2.0, &format!("{},{}", person("x", GOOD, 1), person("x", GOOD, 2))),
            payload(3.0, &person("7-0", ["700", "10", "750", "200"], 1)),
            payload(4.0, &person("8-0", ["-90", "-90", "-1", "-1"], 1)),
            payload(5.0, &person("9-0", ["10", "10", "10", "200"], 1)),
            payload(6.0, &person("10-0", ["50", "10", "10", "200"], 1)),
            payload(7.0, &person("11-0", ["NaN", "10", "50", "200"], 1)),
            payload(8.0, &person("12-0", ["1e999", "10", "50", "200"], 1)),
            payload(9.0, &person("13-0", GOOD, 1).replace("0.9", "7")),
            payload(10.0, &person("14-0", GOOD, 1).replace("0.9", "0.1")),
            "no record".to_owned(),
        ]);
        let mut other = row("a", "door", "run", 99, payload(11.0, &person("99-0", GOOD, 1)));
        other.event.schema_version = "2.0".into();
        rows.push(other);
        Bronze::of(&lake).append(rows).await;
        let mut job = refine(&lake).await;
        job.drain().await.unwrap();
        let rejects = "SELECT reason, count(*), sum(CASE WHEN det_id IS NULL THEN 1 ELSE 0 END) FROM silver_rejects GROUP BY reason";
        let wanted = [
            "absurd_capture_ts 2 2",
            "bbox_outside 2 0",
            "duplicate_det_id 1 0",
            "empty_bbox 2 0",
            "no_capture_ts 1 1",
            "no_conf 1 0",
            // What isn't JSON: NaN, a number beyond all doubles, no record at all.
            "payload_shape 3 3",
            "schema_version 1 1",
        ];
        assert_eq!(told(&lake, rejects).await, wanted);
        assert_eq!(job.counters.under_threshold, 1);
    });
}

#[test]
fn five_thousand_detections_in_a_frame_are_as_many_rows_and_people() {
    crate::block_on(async {
        let folder = tempdir().unwrap();
        let lake = open(folder.path()).await;
        let all: Vec<_> = (0..5_000).map(|i| person(&format!("1-{i}"), GOOD, i + 1)).collect();
        Bronze::of(&lake).append(numbered(vec![payload(1.0, &all.join(","))])).await;
        refine(&lake).await.drain().await.unwrap();
        let minute = "SELECT detections, unique_people, frames, people_max FROM gold_people_per_minute";
        assert_eq!(told(&lake, minute).await, ["5000 5000 1 5000"]);
        assert_eq!(told(&lake, "SELECT count(*) FROM gold_track_summary").await, ["5000"]);
        assert_equal(&lake, "a crowd").await;
    });
}

/// `RVA_REFINE_TRACKS=1000000` tries a million, by hand.
#[test]
fn very_many_tracks_in_a_day_are_a_row_each() {
    let tracks: i64 = std::env::var("RVA_REFINE_TRACKS").ok().and_then(|text| text.parse().ok()).unwrap_or(1_000);
    crate::block_on(async {
        let folder = tempdir().unwrap();
        let lake = open(folder.path()).await;
        let mut bronze = Bronze::of(&lake);
        let each = 25;
        let frames = tracks / each;
        // From midnight to midnight.
        let step = 86_000.0 / frames as f64;
        let frame = |frame: i64| {
            let people: Vec<_> =
                (0..each).map(|i| person(&format!("{frame}-{i}"), GOOD, frame * each + i + 1)).collect();
            row("a", "door", "run", frame + 1, payload(frame as f64 * step - 82_200.0, &people.join(",")))
        };
        for first in (0..frames).step_by(1_000) {
            bronze.append((first..frames.min(first + 1_000)).map(frame).collect()).await;
        }
        let began = std::time::Instant::now();
        refine(&lake).await.drain().await.unwrap();
        println!("{tracks} tracks in {:.1} s", began.elapsed().as_secs_f64());
        let counts = "SELECT count(*), count(DISTINCT track_id), sum(frames) FROM gold_track_summary";
        assert_eq!(told(&lake, counts).await, [format!("{tracks} {tracks} {tracks}")]);
        let hours = "SELECT sum(unique_tracks), count(*) FROM gold_hour_by_cam";
        assert_eq!(told(&lake, hours).await, [format!("{tracks} 24")]);
    });
}

async fn make(lake: &Lake, name: &str, columns: &[(&str, PrimitiveType, bool)]) {
    let field = |(at, (name, kind, is_required)): (i32, &(&str, PrimitiveType, bool))| {
        Arc::new(NestedField::new(at, *name, Type::Primitive(kind.clone()), *is_required))
    };
    let schema = Schema::builder().with_fields((1..).zip(columns).map(field)).build().unwrap();
    let namespace = NamespaceIdent::new("rva".to_owned());
    let creation = TableCreation::builder().name(name.to_owned()).schema(schema).build();
    if !lake.catalog().namespace_exists(&namespace).await.unwrap() {
        lake.catalog().create_namespace(&namespace, Default::default()).await.unwrap();
    }
    lake.catalog().create_table(&namespace, creation).await.unwrap();
}

#[test]
fn a_table_of_these_names_with_other_columns_is_refused_with_the_difference_and_the_way_out() {
    use PrimitiveType::{Double, Int, Long, String as Text, Timestamp as Zoneless, Timestamptz};
    let camera = [("store_id", Text, false), ("camera_id", Text, false)];
    let cases = [
        // The predecessor's times had no zone.
        (
            "gold_people_per_minute",
            vec![("ts_minute", Zoneless, false), ("detections", Long, false)],
            "rva.gold_people_per_minute, column ts_minute: found timestamp, wanted timestamptz",
        ),
        // It knew no runs.
        (
            "gold_track_summary",
            vec![("track_id", Long, false), ("frames", Long, false)],
            "rva.gold_track_summary, column pipeline_run_id: found track_id in place 3, wanted pipeline_run_id there",
        ),
        (
            "gold_hour_by_cam",
            vec![("ts_hour", Timestamptz, false), ("detection_count", Long, false), ("unique_tracks", Long, false)],
            "rva.gold_hour_by_cam, column avg_conf: found no such column, wanted double",
        ),
        (
            "gold_camera_minute",
            vec![
                ("ts_minute", Timestamptz, false),
                ("frames", Long, false),
                ("first_ts", Timestamptz, false),
                ("last_ts", Timestamptz, false),
                ("longest_gap_seconds", Double, false),
                ("runs", Long, false),
                ("owner", Int, true),
            ],
            "rva.gold_camera_minute, column owner: found a required column that is not ours, wanted an optional one",
        ),
        (
            "silver_frames",
            vec![("frame_index", Long, false)],
            "rva.silver_frames, column pipeline_run_id: found store_id in place 1, wanted pipeline_run_id there",
        ),
    ];
    crate::block_on(async {
        for (name, columns, wanted) in cases {
            let folder = tempdir().unwrap();
            let lake = open(folder.path()).await;
            let mut random = crate::world::Random(1);
            Bronze::of(&lake).append(film(&mut random, "a", "door", "run", T0, 30.0)).await;
            make(&lake, name, &[&camera[..], &columns].concat()).await;
            let error = match Refine::open(&lake, Rules::default()).await {
                Ok(_) => panic!("{name} was taken"),
                Err(error) => error,
            };
            assert_eq!(error.kind(), LakeErrorKind::Permanent, "{name}");
            let text = error.to_string();
            assert!(text.contains(wanted), "{text}");
            assert!(text.contains("rename or drop it, and the next start makes its own"), "{text}");
            // Out of the way with it, as the error says.
            let ident = |name: &str| TableIdent::from_strs(["rva", name]).unwrap();
            lake.catalog().rename_table(&ident(name), &ident("theirs")).await.unwrap();
            refine(&lake).await.drain().await.unwrap();
            let frames = "SELECT CAST(sum(frames) AS bigint) FROM gold_people_per_minute";
            assert_eq!(told(&lake, frames).await, told(&lake, "SELECT count(*) FROM silver_frames").await, "{name}");
        }
    });
}
