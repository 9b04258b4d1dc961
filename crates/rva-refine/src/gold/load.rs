//! Reads silver as the definition wants it: frames with their detections, and tracks from their first detection to
//! their last.

use super::extents::{CameraOf, Extents, TrackOf, widen};
use crate::error::Trouble;
use crate::ids::{Ids, small, text, whole};
use futures::TryStreamExt;
use rva_analytics::{FrameKey, FrameRows, SilverDetection, SilverFrame, TrackKey, TrackPoint, track_points};
use rva_lake::{CellKind, Cells, ChangedFile, Columns, RowFilter, TableView};
use rva_types::Timestamp;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

const FRAME: &Columns = &[
    ("pipeline_run_id", CellKind::Text),
    ("store_id", CellKind::Text),
    ("camera_id", CellKind::Text),
    ("frame_index", CellKind::Long),
    ("capture_ts", CellKind::Time),
    ("img_w", CellKind::Int),
    ("img_h", CellKind::Int),
    ("people", CellKind::Int),
    ("detections", CellKind::Int),
];

const DETECTION: &Columns = &[
    ("pipeline_run_id", CellKind::Text),
    ("store_id", CellKind::Text),
    ("camera_id", CellKind::Text),
    ("frame_index", CellKind::Long),
    ("capture_ts", CellKind::Time),
    ("img_w", CellKind::Int),
    ("img_h", CellKind::Int),
    ("det_id", CellKind::Text),
    ("class_name", CellKind::Text),
    ("class_id", CellKind::Int),
    ("conf", CellKind::Double),
    ("bbox_x1", CellKind::Int),
    ("bbox_y1", CellKind::Int),
    ("bbox_x2", CellKind::Int),
    ("bbox_y2", CellKind::Int),
    ("track_id", CellKind::Long),
];

const TRACK: &Columns = &[
    ("camera_id", CellKind::Text),
    ("pipeline_run_id", CellKind::Text),
    ("track_id", CellKind::Long),
    ("capture_ts", CellKind::Time),
];

const SUMMARY: &Columns = &[
    ("camera_id", CellKind::Text),
    ("pipeline_run_id", CellKind::Text),
    ("track_id", CellKind::Long),
    ("start_time", CellKind::Time),
    ("end_time", CellKind::Time),
];

/// Reads the silver of some cameras of a shop.
pub(super) struct StoreSilver<'a> {
    pub store: &'a str,
    pub cameras: Vec<Arc<str>>,
    pub frames: &'a TableView,
    pub detections: &'a TableView,
}

fn detection(row: &Cells) -> Option<SilverDetection> {
    Some(SilverDetection {
        det_id: Arc::clone(text(row, 7)?),
        class_name: text(row, 8).cloned(),
        class_id: small(row, 9),
        conf: row.get(10)?.number()?,
        bbox: [small(row, 11)?, small(row, 12)?, small(row, 13)?, small(row, 14)?],
        track_id: whole(row, 15),
    })
}

impl StoreSilver<'_> {
    fn filter(&self, from_us: i64, to_us: i64) -> RowFilter {
        RowFilter {
            texts: vec![("store_id", self.store.to_owned())],
            time: Some(("capture_ts", from_us, to_us)),
            one_of: Some(("camera_id", self.cameras.iter().map(ToString::to_string).collect())),
        }
    }

    fn holds(&self, camera: &Arc<str>) -> bool {
        self.cameras.contains(camera)
    }

    /// Returns the frames of a stretch of time (`to_us` excluded) with their detections.
    pub(super) async fn frames(&self, from_us: i64, to_us: i64) -> Result<Vec<FrameRows>, Trouble> {
        let mut ids = Ids::default();
        let (mut frames, mut places) = (Vec::new(), Places::new());
        let mut stream = std::pin::pin!(self.frames.scan(FRAME, &self.filter(from_us, to_us)).await?);
        while let Some(rows) = stream.try_next().await? {
            for row in rows {
                let Some(frame) = frame(&mut ids, &row) else { continue };
                places.insert(frame.key.clone(), frames.len());
                frames.push(FrameRows { frame, detections: Vec::new() });
            }
        }
        let mut stream = std::pin::pin!(self.detections.scan(DETECTION, &self.filter(from_us, to_us)).await?);
        while let Some(rows) = stream.try_next().await? {
            for row in rows {
                let Some(key) = ids.frame_key(&row, [0, 1, 2, 3]) else { continue };
                if let (Some(place), Some(found)) = (places.get(&key), detection(&row)) {
                    frames[*place].detections.push(found);
                }
            }
        }
        Ok(frames)
    }

    /// Returns the detections of some tracks in a stretch of time.
    pub(super) async fn points(
        &self,
        tracks: &Extents,
        from_us: i64,
        to_us: i64,
    ) -> Result<Vec<(TrackKey, TrackPoint)>, Trouble> {
        let mut points = Vec::new();
        if from_us >= to_us || tracks.is_empty() {
            return Ok(points);
        }
        let mut ids = Ids::default();
        let filter = RowFilter { one_of: Some(("pipeline_run_id", runs_of(tracks))), ..self.filter(from_us, to_us) };
        let mut stream = std::pin::pin!(self.detections.scan(DETECTION, &filter).await?);
        while let Some(rows) = stream.try_next().await? {
            for row in rows {
                let (Some(run), Some(camera), Some(track)) = (text(&row, 0), text(&row, 2), whole(&row, 15)) else {
                    continue;
                };
                if !tracks.contains_key(&(Arc::clone(camera), Arc::clone(run), track)) {
                    continue;
                }
                let Some(frame) = frame_of_detection(&mut ids, &row) else { continue };
                let detections = detection(&row).into_iter().collect();
                points.extend(track_points(&FrameRows { frame, detections }));
            }
        }
        Ok(points)
    }

    /// Returns the first and the last moment of every track, read from the detections themselves.
    pub(super) async fn all_extents(&self) -> Result<Extents, Trouble> {
        let mut extents = Extents::new();
        let filter = RowFilter { time: None, ..self.filter(0, 0) };
        let mut stream = std::pin::pin!(self.detections.scan(TRACK, &filter).await?);
        while let Some(rows) = stream.try_next().await? {
            for row in rows {
                let (Some(camera), Some(run)) = (text(&row, 0), text(&row, 1)) else { continue };
                if let (Some(track), Some(at)) = (whole(&row, 2), whole(&row, 3)) {
                    widen(&mut extents, (Arc::clone(camera), Arc::clone(run), track), at, at);
                }
            }
        }
        Ok(extents)
    }

    /// Returns the first and the last moment of tracks of some runs, as the table of tracks knows them.
    pub(super) async fn known_extents(
        &self,
        summary: &TableView,
        runs: &BTreeSet<Arc<str>>,
    ) -> Result<Extents, Trouble> {
        let mut extents = Extents::new();
        if runs.is_empty() {
            return Ok(extents);
        }
        let one_of = Some(("pipeline_run_id", runs.iter().map(ToString::to_string).collect()));
        let filter = RowFilter { time: None, one_of, ..self.filter(0, 0) };
        for row in summary.rows(SUMMARY, &filter).await? {
            let (Some(camera), Some(run), Some(track)) = (text(&row, 0), text(&row, 1), whole(&row, 2)) else {
                continue;
            };
            if let (true, Some(first), Some(last)) = (self.holds(camera), whole(&row, 3), whole(&row, 4)) {
                widen(&mut extents, (Arc::clone(camera), Arc::clone(run), track), first, last);
            }
        }
        Ok(extents)
    }
}

/// Frames by their run, shop, camera and number, with their places in a list.
type Places = HashMap<FrameKey, usize>;

/// Returns the rows of new files, frames with their detections, by camera; `None`: a detection's frame isn't among them.
pub(super) async fn fresh(
    (frames, frame_files): (&TableView, &[ChangedFile]),
    (detections, detection_files): (&TableView, &[ChangedFile]),
) -> Result<Option<BTreeMap<CameraOf, Vec<FrameRows>>>, Trouble> {
    let mut ids = Ids::default();
    let (mut found, mut places) = (Vec::new(), Places::new());
    for file in frame_files {
        let read = frames.rows_of_file(file, FRAME, |rows| {
            for frame in rows.iter().filter_map(|row| frame(&mut ids, row)) {
                places.insert(frame.key.clone(), found.len());
                found.push(FrameRows { frame, detections: Vec::new() });
            }
            Ok(())
        });
        read.await?;
    }
    let mut all_belong = true;
    for file in detection_files {
        let read = detections.rows_of_file(file, DETECTION, |rows| {
            for row in &rows {
                let place = ids.frame_key(row, [0, 1, 2, 3]).and_then(|key| places.get(&key));
                match (place, detection(row)) {
                    (Some(place), Some(detection)) => found[*place].detections.push(detection),
                    _ => all_belong = false,
                }
            }
            Ok(())
        });
        read.await?;
    }
    let mut cameras: BTreeMap<CameraOf, Vec<FrameRows>> = BTreeMap::new();
    for rows in found {
        let key = &rows.frame.key;
        let camera = (Arc::from(key.store.as_str()), Arc::from(key.camera.as_str()));
        cameras.entry(camera).or_default().push(rows);
    }
    Ok(all_belong.then_some(cameras))
}

/// Returns the runs of tracks.
fn runs_of(tracks: &Extents) -> Vec<String> {
    let runs: BTreeSet<&Arc<str>> = tracks.keys().map(|(_, run, _): &TrackOf| run).collect();
    runs.into_iter().map(ToString::to_string).collect()
}

fn frame(ids: &mut Ids, row: &Cells) -> Option<SilverFrame> {
    Some(SilverFrame {
        key: ids.frame_key(row, [0, 1, 2, 3])?,
        capture_ts: Timestamp::from_micros(whole(row, 4)?),
        img_w: small(row, 5)?,
        img_h: small(row, 6)?,
        people: small(row, 7)?,
        detections: small(row, 8)?,
    })
}

/// Returns the frame of a detection, as far as its track needs it.
fn frame_of_detection(ids: &mut Ids, row: &Cells) -> Option<SilverFrame> {
    Some(SilverFrame {
        key: ids.frame_key(row, [0, 1, 2, 3])?,
        capture_ts: Timestamp::from_micros(whole(row, 4)?),
        img_w: small(row, 5)?,
        img_h: small(row, 6)?,
        people: 0,
        detections: 0,
    })
}
