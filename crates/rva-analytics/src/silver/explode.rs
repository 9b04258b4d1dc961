//! The way from one row of bronze to rows of silver.

use super::{
    BronzeRow, Exploded, FrameKey, FrameRows, Reject, RejectReason, SilverDetection, SilverFrame,
    json::{BoxJson, DetectionJson, Maybe, RecordJson, SizeJson},
};
use crate::Rules;
use rva_types::Timestamp;
use std::{collections::HashSet, sync::Arc};

/// The earliest capture time that is taken: no shop camera is older.
const EARLIEST: Timestamp = Timestamp::from_micros(946_684_800_000_000);
const DAY_US: i64 = 86_400_000_000;

/// Turns a row of bronze into its frame, its detections, and rejects.
///
/// This never fails: anything that is wrong is a [`Reject`] of the frame or of a detection. It is a pure function of
/// the row and the rules.
pub fn explode(row: &BronzeRow<'_>, rules: &Rules) -> Exploded {
    let key = FrameKey {
        store: row.store.clone(),
        camera: row.camera.clone(),
        run: row.run.clone(),
        frame_index: row.frame_index,
    };
    match read_frame(row) {
        Ok(read) => of_frame(key, &read, rules),
        Err((reason, detail)) => {
            let rejects = vec![Reject { key, det_id: None, reason, detail }];
            Exploded { rows: None, rejects, under_threshold: 0 }
        }
    }
}

type Trouble = (RejectReason, String);

struct Read<'a> {
    capture_ts: Timestamp,
    img_w: i32,
    img_h: i32,
    detections: Vec<Maybe<DetectionJson<'a>>>,
}

fn read_frame<'a>(row: &BronzeRow<'a>) -> Result<Read<'a>, Trouble> {
    let version = row.schema_version;
    if version != "1" && !version.starts_with("1.") {
        return Err((RejectReason::SchemaVersion, format!("found schema_version {version:?}, wanted 1.0")));
    }
    let shape =
        |found: &str| (RejectReason::PayloadShape, format!("found a payload that {found}, wanted a JSON object"));
    let record: Maybe<RecordJson<'a>> =
        serde_json::from_str(row.payload).map_err(|error| shape(&format!("can't be read ({error})")))?;
    let record = record.0.ok_or_else(|| shape("is another value"))?;
    let capture_ts = capture_time(&record, row.ingest_ts)?;
    let (img_w, img_h) = picture_size(record.image_size.0.as_ref())?;
    let Some(detections) = record.detections.0 else {
        return Err((RejectReason::PayloadShape, "found no list of detections, wanted one, empty or not".to_owned()));
    };
    Ok(Read { capture_ts, img_w, img_h, detections })
}

fn capture_time(record: &RecordJson<'_>, ingest_ts: Timestamp) -> Result<Timestamp, Trouble> {
    let found = &record.capture_ts;
    let parsed = found.text().and_then(|text| Timestamp::parse(text).ok()).ok_or_else(|| {
        let wanted = "wanted an RFC 3339 time like 2026-01-31T08:00:00.000000+00:00";
        (RejectReason::NoCaptureTime, format!("found capture_ts {found}, {wanted}"))
    })?;
    let latest = Timestamp::from_micros(ingest_ts.as_micros().saturating_add(DAY_US));
    if parsed < EARLIEST || parsed > latest {
        let text = format!("found capture_ts {parsed}, wanted one from {EARLIEST} to {latest}");
        return Err((RejectReason::AbsurdCaptureTime, text));
    }
    Ok(parsed)
}

fn picture_size(size: Option<&SizeJson<'_>>) -> Result<(i32, i32), Trouble> {
    let side = |found: Option<i64>| found.and_then(|side| i32::try_from(side).ok()).filter(|side| *side > 0);
    let sides = size.map(|size| (side(size.width.integer()), side(size.height.integer())));
    match sides {
        Some((Some(width), Some(height))) => Ok((width, height)),
        _ => {
            let found = size.map_or("nothing".to_owned(), |size| format!("{} x {}", size.width, size.height));
            Err((RejectReason::PayloadShape, format!("found image_size {found}, wanted width and height in pixels")))
        }
    }
}

fn of_frame(key: FrameKey, read: &Read<'_>, rules: &Rules) -> Exploded {
    let mut kept = Vec::with_capacity(read.detections.len());
    let mut rejects = Vec::new();
    let mut under_threshold = 0;
    let mut seen = HashSet::with_capacity(read.detections.len());
    for detection in &read.detections {
        match of_detection(detection.0.as_ref(), read, rules, &mut seen) {
            Ok(Some(detection)) => kept.push(detection),
            Ok(None) => under_threshold += 1,
            Err((reason, detail)) => {
                let det_id = detection.0.as_ref().and_then(|found| found.det_id.text()).map(str::to_owned);
                rejects.push(Reject { key: key.clone(), det_id, reason, detail });
            }
        }
    }
    let count = |of: usize| i32::try_from(of).unwrap_or(i32::MAX);
    let frame = SilverFrame {
        key,
        capture_ts: read.capture_ts,
        img_w: read.img_w,
        img_h: read.img_h,
        people: count(kept.iter().filter(|detection| detection.is_person()).count()),
        detections: count(kept.len()),
    };
    Exploded { rows: Some(FrameRows { frame, detections: kept }), rejects, under_threshold }
}

/// Reads a detection; `None` for one under the threshold.
fn of_detection<'a>(
    found: Option<&'a DetectionJson<'_>>,
    frame: &Read<'_>,
    rules: &Rules,
    seen: &mut HashSet<&'a str>,
) -> Result<Option<SilverDetection>, Trouble> {
    let found = found.ok_or_else(|| {
        (RejectReason::DetectionShape, "found a detection of another type, wanted a JSON object".into())
    })?;
    let det_id = found.det_id.text().filter(|id| !id.is_empty()).ok_or_else(|| {
        (RejectReason::NoDetId, format!("found det_id {}, wanted a text that isn't empty", found.det_id))
    })?;
    if !seen.insert(det_id) {
        return Err((RejectReason::DuplicateDetId, "found it a second time in its frame, wanted it once".to_owned()));
    }
    let conf = found.conf.number().filter(|conf| (0.0..=1.0).contains(conf));
    let conf = conf.ok_or_else(|| (RejectReason::NoConf, format!("found conf {}, wanted 0 to 1", found.conf)))?;
    if conf < rules.conf_min {
        return Ok(None);
    }
    let bbox = whole_box(found.bbox.0.as_ref(), frame.img_w, frame.img_h)?;
    Ok(Some(SilverDetection {
        det_id: Arc::from(det_id),
        class_name: found.class.text().filter(|label| !label.is_empty()).map(Arc::from),
        class_id: found.class_id.integer().and_then(|id| i32::try_from(id).ok()),
        conf,
        bbox,
        // The predecessor wrote -1 for no track, and counted it as a person.
        track_id: found.track_id.integer().filter(|id| *id >= 0),
    }))
}

/// Rounds a box half up to whole pixels, then clips it to the picture.
fn whole_box(found: Option<&BoxJson<'_>>, img_w: i32, img_h: i32) -> Result<[i32; 4], Trouble> {
    let sides = found.map(|found| [&found.x1, &found.y1, &found.x2, &found.y2]);
    let numbers = sides.and_then(|sides| {
        let [x1, y1, x2, y2] = sides.map(|side| side.number());
        Some([x1?, y1?, x2?, y2?])
    });
    let Some([x1, y1, x2, y2]) = numbers else {
        return Err((RejectReason::NoBox, "found no bbox of four numbers, wanted x1, y1, x2 and y2".to_owned()));
    };
    let named = || format!("found the box {x1} {y1} {x2} {y2} in a picture of {img_w} x {img_h}");
    if x2 <= x1 || y2 <= y1 {
        return Err((RejectReason::EmptyBox, format!("{}, wanted x2 > x1 and y2 > y1", named())));
    }
    if x2 <= 0.0 || y2 <= 0.0 || x1 >= f64::from(img_w) || y1 >= f64::from(img_h) {
        return Err((RejectReason::BoxOutside, format!("{}, wanted one that touches it", named())));
    }
    // A cast of a float saturates.
    let whole = |value: f64, most: i32| ((value + 0.5).floor() as i32).clamp(0, most);
    let bbox = [whole(x1, img_w), whole(y1, img_h), whole(x2, img_w), whole(y2, img_h)];
    if bbox[2] <= bbox[0] || bbox[3] <= bbox[1] {
        return Err((RejectReason::EmptyBox, format!("{}, wanted a whole pixel of area", named())));
    }
    Ok(bbox)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rva_types::{CameraId, RunId, StoreId};

    fn exploded(version: &str, payload: &str) -> Exploded {
        let (run, camera, store) =
            (RunId::parse("r").unwrap(), CameraId::parse("c").unwrap(), StoreId::parse("s").unwrap());
        let ingest_ts = Timestamp::parse("2026-01-31T08:00:10Z").unwrap();
        let row = BronzeRow {
            schema_version: version,
            run: &run,
            frame_index: 7,
            payload,
            camera: &camera,
            store: &store,
            ingest_ts,
        };
        explode(&row, &Rules::default())
    }

    fn payload(detections: &str) -> String {
        format!(
            r#"{{"capture_ts":"2026-01-31T08:00:00.000000+00:00","image_size":{{"width":100,"height":50}},"detections":{detections},"later":[1]}}"#
        )
    }

    fn detection(id: &str, conf: &str, bbox: &str, more: &str) -> String {
        format!(r#"{{"det_id":{id},"conf":{conf},"bbox":{bbox}{more}}}"#)
    }

    const BOX: &str = r#"{"x1":1.5,"y1":2.49,"x2":10.5,"y2":20}"#;

    #[test]
    fn a_record_becomes_a_frame_and_its_detections() {
        let person = detection(r#""7-0""#, "0.9", BOX, r#","class":"person","class_id":0,"track_id":3"#);
        let cart =
            detection(r#""7-1""#, "0.4", r#"{"x1":-5,"y1":0,"x2":200,"y2":60}"#, r#","class_id":1,"track_id":-1"#);
        let faint = detection(r#""7-2""#, "0.39", BOX, r#","class":"person""#);
        let found = exploded("1.0", &payload(&format!("[{person},{cart},{faint}]")));
        assert_eq!((found.rejects.len(), found.under_threshold), (0, 1));
        let rows = found.rows.unwrap();
        let frame = &rows.frame;
        assert_eq!((frame.people, frame.detections, frame.img_w, frame.img_h), (1, 2, 100, 50));
        assert_eq!(frame.capture_ts, Timestamp::parse("2026-01-31T08:00:00Z").unwrap());
        let [first, second] = &rows.detections[..] else { panic!("{rows:?}") };
        assert_eq!(
            (first.bbox, first.track_id, first.class_name.as_deref()),
            ([2, 2, 11, 20], Some(3), Some("person"))
        );
        assert_eq!((second.bbox, second.track_id, second.class_name.as_deref()), ([0, 0, 100, 50], None, None));
        assert_eq!(second.class_id, Some(1));
    }

    #[test]
    fn an_empty_frame_is_a_frame() {
        let rows = exploded("1.0", &payload("[]")).rows.unwrap();
        assert_eq!((rows.frame.people, rows.frame.detections, rows.detections.len()), (0, 0, 0));
    }

    #[test]
    fn a_frame_that_does_not_count_is_one_reject() {
        let at = |capture_ts: &str| {
            format!(r#"{{"capture_ts":{capture_ts},"image_size":{{"width":1,"height":1}},"detections":[]}}"#)
        };
        let cases = [
            ("2.0", payload("[]"), RejectReason::SchemaVersion),
            ("1.0", "[1]".to_owned(), RejectReason::PayloadShape),
            ("1.0", "{".to_owned(), RejectReason::PayloadShape),
            ("1.0", payload(r#""none""#), RejectReason::PayloadShape),
            ("1.0", r#"{"capture_ts":"2026-01-31T08:00:00Z","detections":[]}"#.to_owned(), RejectReason::PayloadShape),
            (
                "1.0",
                r#"{"capture_ts":"2026-01-31T08:00:00Z","image_size":{"width":0,"height":9},"detections":[]}"#
                    .to_owned(),
                RejectReason::PayloadShape,
            ),
            ("1.0", at("null"), RejectReason::NoCaptureTime),
            ("1.0", at(r#""""#), RejectReason::NoCaptureTime),
            ("1.0", at("1769846400"), RejectReason::NoCaptureTime),
            ("1.0", at(r#""2026-01-31T08:00Z""#), RejectReason::NoCaptureTime),
            ("1.0", at(r#""1999-12-31T23:59:59Z""#), RejectReason::AbsurdCaptureTime),
            ("1.0", at(r#""2026-02-01T08:00:11Z""#), RejectReason::AbsurdCaptureTime),
            ("1.0", at(r#""9999-01-01T00:00:00Z""#), RejectReason::AbsurdCaptureTime),
        ];
        for (version, payload, wanted) in cases {
            let found = exploded(version, &payload);
            assert_eq!(found.rows, None, "{payload}");
            let [reject] = &found.rejects[..] else { panic!("{payload}: {found:?}") };
            assert_eq!((reject.reason, &reject.det_id), (wanted, &None), "{payload}");
            assert!(reject.detail.contains("found") && reject.detail.contains("wanted"), "{}", reject.detail);
        }
    }

    #[test]
    fn a_detection_that_does_not_count_is_a_reject_and_the_others_stay() {
        let bad = [
            ("5".to_owned(), RejectReason::DetectionShape),
            (detection("null", "0.9", BOX, ""), RejectReason::NoDetId),
            (detection(r#""""#, "0.9", BOX, ""), RejectReason::NoDetId),
            (detection(r#""good""#, "0.1", BOX, ""), RejectReason::DuplicateDetId),
            (detection(r#""a""#, "1.01", BOX, ""), RejectReason::NoConf),
            (detection(r#""b""#, r#""0.9""#, BOX, ""), RejectReason::NoConf),
            (detection(r#""c""#, "0.9", "[1,2,3,4]", ""), RejectReason::NoBox),
            (detection(r#""d""#, "0.9", r#"{"x1":1,"y1":1,"x2":null,"y2":5}"#, ""), RejectReason::NoBox),
            (detection(r#""e""#, "0.9", r#"{"x1":9,"y1":1,"x2":9,"y2":5}"#, ""), RejectReason::EmptyBox),
            (detection(r#""f""#, "0.9", r#"{"x1":9.1,"y1":1,"x2":9.4,"y2":5}"#, ""), RejectReason::EmptyBox),
            (detection(r#""g""#, "0.9", r#"{"x1":100,"y1":1,"x2":120,"y2":5}"#, ""), RejectReason::BoxOutside),
        ];
        let texts: Vec<_> = bad.iter().map(|(text, _)| text.as_str()).collect();
        let good = detection(r#""good""#, "0.9", BOX, "");
        let found = exploded("1.2", &payload(&format!("[{good},{}]", texts.join(","))));
        assert_eq!(found.rows.unwrap().detections.len(), 1);
        let reasons: Vec<_> = found.rejects.iter().map(|reject| reject.reason).collect();
        assert_eq!(reasons, bad.iter().map(|(_, reason)| *reason).collect::<Vec<_>>());
        assert_eq!(found.under_threshold, 0);
    }

    #[test]
    fn five_thousand_detections_in_a_frame_are_read() {
        let all: Vec<_> = (0..5000).map(|i| detection(&format!("\"7-{i}\""), "0.9", BOX, "")).collect();
        assert_eq!(exploded("1.0", &payload(&format!("[{}]", all.join(",")))).rows.unwrap().frame.detections, 5000);
    }

    #[test]
    fn codes_are_a_closed_set_without_repeats() {
        let codes: HashSet<_> = RejectReason::ALL.iter().map(|reason| reason.code()).collect();
        assert_eq!(codes.len(), RejectReason::ALL.len());
    }
}
