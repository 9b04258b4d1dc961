//! Finds the hours of cameras, and the tracks, that new rows of silver touch.

use super::extents::{CameraOf, Extents, widen};
use super::load;
use crate::counters::RefineCounters;
use crate::error::{Trouble, expired};
use crate::ids::{text, whole};
use crate::step::sequence_of;
use futures::TryStreamExt;
use rva_analytics::{FrameRows, hour_of, track_points};
use rva_lake::{CellKind, Cells, ChangedFile, Columns, RowFilter, Since, TableView};
use rva_types::OffsetMap;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The position of a table of gold in its inputs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reached<'a> {
    /// Its positions.
    pub offsets: &'a OffsetMap,
    /// The table itself, which keeps the inputs' snapshots since then.
    pub follower: Option<&'a TableView>,
}

impl Reached<'_> {
    /// Returns its position in an input; `None` before the first.
    pub(crate) fn of(self, input: &str) -> Option<u64> {
        sequence_of(self.offsets, input)
    }
}

/// The hours and tracks that have to be worked out.
#[derive(Debug, Default)]
pub(crate) struct Touched {
    /// `true` where every hour that there is has to be, and nothing that stands there counts.
    pub everything: bool,
    /// The hours of each camera, by their start in microseconds since 1970.
    pub hours: BTreeMap<CameraOf, BTreeSet<i64>>,
    /// The tracks of each camera with rows that came or went, and the extents that those rows have.
    pub tracks: BTreeMap<CameraOf, Extents>,
    /// The moment since which silver has all that gold was made of, in microseconds since 1970; `None`: it lost nothing.
    pub since: Option<i64>,
    /// The new frames of each camera, where new rows are all that touches, and they are few.
    pub fresh: Option<BTreeMap<CameraOf, Vec<FrameRows>>>,
}

/// The most new rows that are held in memory.
const FRESH_ROWS_MAX: u64 = 200_000;

const FRAME: &Columns = &[("store_id", CellKind::Text), ("camera_id", CellKind::Text), ("capture_ts", CellKind::Time)];

const DETECTION: &Columns = &[
    ("store_id", CellKind::Text),
    ("camera_id", CellKind::Text),
    ("capture_ts", CellKind::Time),
    ("pipeline_run_id", CellKind::Text),
    ("track_id", CellKind::Long),
];

impl Touched {
    /// Leaves out hours of which silver doesn't have all any more: what gold has of them stays.
    pub(super) fn begin_at(&mut self, since: Option<i64>) {
        self.since = since;
        for hours in self.hours.values_mut() {
            hours.retain(|hour| since.is_none_or(|since| *hour >= since));
        }
        self.hours.retain(|_, hours| !hours.is_empty());
    }

    /// Returns whether an hour can be worked out.
    pub(super) fn is_whole(&self, hour: i64) -> bool {
        self.since.is_none_or(|since| hour >= since)
    }

    fn row(&mut self, row: &Cells) {
        let (Some(store), Some(camera), Some(at)) = (text(row, 0), text(row, 1), whole(row, 2)) else { return };
        let key = (Arc::clone(store), Arc::clone(camera));
        if let (Some(run), Some(track)) = (text(row, 3), whole(row, 4)) {
            let track = (Arc::clone(camera), Arc::clone(run), track);
            widen(self.tracks.entry(key.clone()).or_default(), track, at, at);
        }
        self.hours.entry(key).or_default().insert(hour_of(at));
    }

    /// Adds the hours and tracks of the rows of a table of silver that came or went since a position.
    async fn take(
        &mut self,
        view: &TableView,
        columns: &'static Columns,
        reached: Reached<'_>,
        name: &str,
        counters: &mut RefineCounters,
    ) -> Result<(), Trouble> {
        let from = reached.of(name);
        match view.since_seen(from, reached.follower).await? {
            Since::Everything => self.everything = true,
            Since::Expired => return Err(expired(name, from, "gold")),
            Since::Appended(files) => self.files(view, columns, &files).await?,
            Since::Changed { added, removed } => {
                counters.corrections += 1;
                self.files(view, columns, &added).await?;
                self.files(view, columns, &removed).await?;
            }
        }
        Ok(())
    }

    async fn files(
        &mut self,
        view: &TableView,
        columns: &'static Columns,
        files: &[rva_lake::ChangedFile],
    ) -> Result<(), Trouble> {
        for file in files {
            let read = view.rows_of_file(file, columns, |rows| {
                rows.iter().for_each(|row| self.row(row));
                Ok(())
            });
            read.await?;
        }
        Ok(())
    }

    /// Returns the new frames since a position with the hours and tracks that they touch; `None` where something else
    /// than new rows touches, or they are many.
    pub(super) async fn fresh(
        reached: Reached<'_>,
        frames: &TableView,
        detections: &TableView,
    ) -> Result<Option<Self>, Trouble> {
        let since = async |view: &TableView, name| view.since_seen(reached.of(name), reached.follower).await;
        let Since::Appended(frame_files) = since(frames, "silver_frames").await? else { return Ok(None) };
        let detection_files = match detections.sequence() {
            0 => Vec::new(),
            _ => match since(detections, "silver_detections").await? {
                Since::Appended(files) => files,
                _ => return Ok(None),
            },
        };
        if frame_files.iter().chain(&detection_files).map(ChangedFile::rows).sum::<u64>() > FRESH_ROWS_MAX {
            return Ok(None);
        }
        let fresh = load::fresh((frames, &frame_files), (detections, &detection_files)).await?;
        Ok(fresh.map(|fresh| {
            let mut touched = Self::default();
            for (camera, rows) in &fresh {
                for rows in rows {
                    touched.hours.entry(camera.clone()).or_default().insert(hour_of(rows.frame.capture_ts.as_micros()));
                    for (track, point) in track_points(rows) {
                        let track = (Arc::clone(&camera.1), Arc::from(track.run.as_str()), track.track_id);
                        let extents = touched.tracks.entry(camera.clone()).or_default();
                        widen(extents, track, point.at_us, point.at_us);
                    }
                }
            }
            Self { fresh: Some(fresh), ..touched }
        }))
    }

    /// Returns the hours and tracks of all rows between a position, with the table that is at it, and now.
    pub(super) async fn since(
        reached: Reached<'_>,
        frames: &TableView,
        detections: &TableView,
        counters: &mut RefineCounters,
    ) -> Result<Self, Trouble> {
        let mut touched = Self::default();
        touched.take(frames, FRAME, reached, "silver_frames", counters).await?;
        if !touched.everything && detections.sequence() > 0 {
            touched.take(detections, DETECTION, reached, "silver_detections", counters).await?;
        }
        if touched.everything {
            touched = Self::all(frames, None).await?;
        }
        Ok(touched)
    }

    /// Adds the hours and tracks of a camera whose shapes are others now. A track is judged whole: what it does later
    /// is numbered by what it did before.
    pub(crate) async fn redrawn(
        &mut self,
        frames: &TableView,
        detections: &TableView,
        (camera, from_us, to_us): &(CameraOf, i64, i64),
    ) -> Result<(), Trouble> {
        let filter = RowFilter {
            texts: vec![("store_id", camera.0.to_string()), ("camera_id", camera.1.to_string())],
            time: Some(("capture_ts", *from_us, *to_us)),
            one_of: None,
        };
        for (view, columns) in [(frames, FRAME), (detections, DETECTION)] {
            let mut stream = std::pin::pin!(view.scan(columns, &filter).await?);
            while let Some(rows) = stream.try_next().await? {
                rows.iter().for_each(|row| self.row(row));
            }
        }
        Ok(())
    }

    /// Returns every hour of a span, or of all time.
    pub(super) async fn all(frames: &TableView, span: Option<(i64, i64)>) -> Result<Self, Trouble> {
        let mut touched = Self { everything: span.is_none(), ..Self::default() };
        let time = span.map(|(from, to)| ("capture_ts", from, to));
        let filter = RowFilter { time, ..RowFilter::default() };
        let mut stream = std::pin::pin!(frames.scan(FRAME, &filter).await?);
        while let Some(rows) = stream.try_next().await? {
            rows.iter().for_each(|row| touched.row(row));
        }
        Ok(touched)
    }
}
