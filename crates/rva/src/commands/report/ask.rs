//! The rows of a report, asked of gold by SQL.

use crate::commands::query::{at, quoted};
use anyhow::Context;
use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch},
    compute::cast,
    datatypes::{DataType, Float64Type, Int64Type},
};
use rva_lake::{Lake, SqlOptions};
use rva_report::{
    Began, CellSeen, Crossed, Gap, HOUR_US, Looked, MINUTE_US, Peak, Question, Rows, Seen, Shape, ShapeKind, Visited,
};

/// The most gaps of all cameras together: the longest ones.
const GAPS_MAX: usize = 10_000;

/// A camera that gold has rows of.
pub struct Known {
    pub store: String,
    pub camera: String,
    /// The first hour with a frame, in microseconds since 1970.
    pub first_hour_us: i64,
    /// The last one.
    pub last_hour_us: i64,
}

/// A row of an answer: its texts, its whole numbers and its numbers, in this order.
struct Row {
    texts: Vec<String>,
    wholes: Vec<Option<i64>>,
    numbers: Vec<f64>,
}

impl Row {
    fn text(&mut self, at: usize) -> String {
        self.texts.get_mut(at).map(std::mem::take).unwrap_or_default()
    }

    fn whole(&self, at: usize) -> i64 {
        self.wholes.get(at).copied().flatten().unwrap_or_default()
    }

    fn number(&self, at: usize) -> f64 {
        self.numbers.get(at).copied().unwrap_or_default()
    }
}

fn of_cameras(store: &str, cameras: &[String]) -> String {
    let cameras: Vec<String> = cameras.iter().map(|camera| quoted(camera)).collect();
    format!("store_id = {} AND camera_id IN ({})", quoted(store), cameras.join(", "))
}

/// Who asks.
pub struct Asking<'a> {
    pub lake: &'a Lake,
    pub options: SqlOptions,
}

impl Asking<'_> {
    /// Runs one query whose first columns are `texts` texts, then whole numbers, and the last `numbers` numbers.
    async fn ask<T>(&self, sql: &str, texts: usize, numbers: usize, make: impl Fn(Row) -> T) -> anyhow::Result<Vec<T>> {
        let batches = self.lake.sql_with(sql, &self.options).await?.collect().await?;
        let mut made = Vec::new();
        for batch in &batches {
            made.extend(rows_of(batch, texts, numbers)?.into_iter().map(&make));
        }
        Ok(made)
    }

    /// Returns every camera of gold, ordered by store and camera.
    pub async fn known(&self) -> anyhow::Result<Vec<Known>> {
        let sql = "SELECT store_id, camera_id, CAST(min(ts_hour) AS bigint), CAST(max(ts_hour) AS bigint) \
                   FROM gold_hour_by_cam GROUP BY store_id, camera_id ORDER BY store_id, camera_id";
        let make = |mut row: Row| Known {
            store: row.text(0),
            camera: row.text(1),
            first_hour_us: row.whole(0),
            last_hour_us: row.whole(1),
        };
        self.ask(sql, 2, 0, make).await
    }

    /// Returns the first and the last minute in which one of the cameras looked.
    pub async fn minutes(&self, store: &str, cameras: &[String]) -> anyhow::Result<(i64, i64)> {
        let sql = format!(
            "SELECT CAST(min(ts_minute) AS bigint), CAST(max(ts_minute) AS bigint) FROM gold_camera_minute WHERE {}",
            of_cameras(store, cameras)
        );
        let found = self.ask(&sql, 0, 0, |row| (row.whole(0), row.whole(1))).await?;
        found.into_iter().next().context("ask for the minutes in which cameras looked")
    }

    /// Returns all rows of a report.
    pub async fn rows(&self, question: &Question) -> anyhow::Result<Rows> {
        Ok(Rows {
            seen: self.seen(question).await?,
            peaks: self.peaks(question).await?,
            began: self.began(question).await?,
            shapes: self.shapes(question).await?,
            crossed: self.crossed(question).await?,
            visited: self.visited(question).await?,
            cells: self.cells(question).await?,
            looked: self.looked(question).await?,
            gaps: self.gaps(question).await?,
        })
    }

    async fn seen(&self, question: &Question) -> anyhow::Result<Vec<Seen>> {
        let sql = format!(
            "SELECT camera_id, {} AS bin, sum(detections), sum(frames), max(people_max) \
             FROM gold_people_per_minute WHERE {} GROUP BY camera_id, bin ORDER BY camera_id, bin",
            bin("ts_minute", question),
            within("ts_minute", question)
        );
        let make = |mut row: Row| Seen {
            camera: row.text(0),
            at_us: row.whole(0),
            detections: row.whole(1),
            frames: row.whole(2),
            people_max: row.whole(3),
        };
        self.ask(&sql, 1, 0, make).await
    }

    async fn peaks(&self, question: &Question) -> anyhow::Result<Vec<Peak>> {
        let sql = format!(
            "SELECT camera_id, CAST(ts_minute AS bigint), people_max FROM (SELECT camera_id, ts_minute, people_max, \
             row_number() OVER (PARTITION BY camera_id ORDER BY people_max DESC, ts_minute) AS place \
             FROM gold_people_per_minute WHERE {}) WHERE place = 1 ORDER BY camera_id",
            within("ts_minute", question)
        );
        let make = |mut row: Row| Peak { camera: row.text(0), at_us: row.whole(0), people: row.whole(1) };
        self.ask(&sql, 1, 0, make).await
    }

    async fn began(&self, question: &Question) -> anyhow::Result<Vec<Began>> {
        let sql = format!(
            "SELECT camera_id, {} AS bin, count(*) FROM gold_track_summary WHERE {} \
             GROUP BY camera_id, bin ORDER BY camera_id, bin",
            bin("start_time", question),
            within("start_time", question)
        );
        self.ask(&sql, 1, 0, |mut row| Began { camera: row.text(0), at_us: row.whole(0), tracks: row.whole(1) }).await
    }

    async fn shapes(&self, question: &Question) -> anyhow::Result<Vec<Shape>> {
        let sql = format!(
            "SELECT camera_id, name, kind, CAST(valid_from AS bigint) AS since, CAST(valid_to AS bigint) AS until FROM zones \
             WHERE {} AND kind IN ('zone', 'line') AND valid_from < {} AND (valid_to IS NULL OR valid_to > {}) \
             ORDER BY camera_id, name, since",
            of_cameras(&question.store, &question.cameras),
            at(question.to_us),
            at(question.from_us)
        );
        let make = |mut row: Row| Shape {
            camera: row.text(0),
            name: row.text(1),
            kind: if row.text(2) == "line" { ShapeKind::Line } else { ShapeKind::Zone },
            valid_from_us: row.whole(0),
            valid_to_us: row.wholes.get(1).copied().flatten(),
        };
        self.ask(&sql, 3, 0, make).await
    }

    async fn crossed(&self, question: &Question) -> anyhow::Result<Vec<Crossed>> {
        let sql = format!(
            "SELECT camera_id, line, {} AS bin, count(*) FILTER (WHERE direction = 'in'), \
             count(*) FILTER (WHERE direction = 'out') FROM gold_line_crossings WHERE {} \
             GROUP BY camera_id, line, bin ORDER BY camera_id, line, bin",
            bin("crossed_at", question),
            within("crossed_at", question)
        );
        let make = |mut row: Row| Crossed {
            camera: row.text(0),
            line: row.text(1),
            at_us: row.whole(0),
            came_in: row.whole(1),
            went_out: row.whole(2),
        };
        self.ask(&sql, 2, 0, make).await
    }

    async fn visited(&self, question: &Question) -> anyhow::Result<Vec<Visited>> {
        let sql = format!(
            "SELECT camera_id, zone, count(*), count(DISTINCT pipeline_run_id || '/' || CAST(track_id AS varchar)), \
             sum(dwell_seconds), median(dwell_seconds), max(dwell_seconds) FROM gold_zone_visits WHERE {} \
             GROUP BY camera_id, zone ORDER BY camera_id, zone",
            within("entered_at", question)
        );
        let make = |mut row: Row| Visited {
            camera: row.text(0),
            zone: row.text(1),
            visits: row.whole(0),
            tracks: row.whole(1),
            dwell_seconds_total: row.number(0),
            dwell_seconds_median: row.number(1),
            dwell_seconds_max: row.number(2),
        };
        self.ask(&sql, 2, 3, make).await
    }

    /// Cells are by hour: every hour counts that the span touches.
    async fn cells(&self, question: &Question) -> anyhow::Result<Vec<CellSeen>> {
        let first = question.from_us.div_euclid(HOUR_US) * HOUR_US;
        let hours = Question { from_us: first, ..question.clone() };
        let hours = within("ts_hour", &hours);
        let sql = format!(
            "SELECT camera_id, x, y, sum(hits), sum(visits), sum(dwell) FROM (\
             SELECT camera_id, zone_x AS x, zone_y AS y, hits, 0 AS visits, CAST(0 AS double) AS dwell \
             FROM gold_zone_heatmap WHERE {hours} UNION ALL \
             SELECT camera_id, zone_x AS x, zone_y AS y, 0 AS hits, visits, total_dwell_seconds AS dwell \
             FROM gold_zone_dwell WHERE {hours}) GROUP BY camera_id, x, y ORDER BY camera_id, y, x"
        );
        let make = |mut row: Row| CellSeen {
            camera: row.text(0),
            x: row.whole(0),
            y: row.whole(1),
            hits: row.whole(2),
            visits: row.whole(3),
            dwell_seconds: row.number(0),
        };
        self.ask(&sql, 1, 1, make).await
    }

    async fn looked(&self, question: &Question) -> anyhow::Result<Vec<Looked>> {
        let sql = format!(
            "SELECT camera_id, {} AS bin, count(*), CAST(min(ts_minute) AS bigint), CAST(max(ts_minute) AS bigint), \
             max(longest_gap_seconds) FROM gold_camera_minute WHERE {} GROUP BY camera_id, bin ORDER BY camera_id, bin",
            bin("ts_minute", question),
            within("ts_minute", question)
        );
        let make = |mut row: Row| Looked {
            camera: row.text(0),
            at_us: row.whole(0),
            minutes: row.whole(1),
            first_us: row.whole(2),
            last_us: row.whole(3),
            longest_gap_seconds: row.number(0),
        };
        self.ask(&sql, 1, 1, make).await
    }

    async fn gaps(&self, question: &Question) -> anyhow::Result<Vec<Gap>> {
        let sql = format!(
            "SELECT camera_id, before, minute FROM (SELECT camera_id, CAST(ts_minute AS bigint) AS minute, \
             lag(CAST(ts_minute AS bigint)) OVER (PARTITION BY camera_id ORDER BY ts_minute) AS before \
             FROM gold_camera_minute WHERE {}) WHERE minute - before > {MINUTE_US} \
             ORDER BY minute - before DESC, minute, camera_id LIMIT {GAPS_MAX}",
            within("ts_minute", question)
        );
        let make = |mut row: Row| Gap { camera: row.text(0), from_us: row.whole(0) + MINUTE_US, to_us: row.whole(1) };
        self.ask(&sql, 1, 0, make).await
    }
}

/// Returns the first moment of the bin that a time is in, in microseconds since 1970.
fn bin(time: &str, question: &Question) -> String {
    let size = question.bin_us();
    format!("CAST({time} AS bigint) - CAST({time} AS bigint) % {size}")
}

/// Returns the condition for rows of the span.
fn within(time: &str, question: &Question) -> String {
    let cameras = of_cameras(&question.store, &question.cameras);
    format!("{cameras} AND {time} >= {} AND {time} < {}", at(question.from_us), at(question.to_us))
}

fn rows_of(batch: &RecordBatch, texts: usize, numbers: usize) -> anyhow::Result<Vec<Row>> {
    let columns = batch.columns();
    let (texts, rest) = columns.split_at(texts.min(columns.len()));
    let (wholes, numbers) = rest.split_at(rest.len().saturating_sub(numbers));
    let of_kind = |columns: &[ArrayRef], kind: DataType| -> anyhow::Result<Vec<ArrayRef>> {
        Ok(columns.iter().map(|column| cast(column, &kind)).collect::<Result<_, _>>()?)
    };
    let texts = of_kind(texts, DataType::Utf8)?;
    let wholes = of_kind(wholes, DataType::Int64)?;
    let numbers = of_kind(numbers, DataType::Float64)?;
    let row = |at: usize| Row {
        texts: texts.iter().map(|column| column.as_string::<i32>().value(at).to_owned()).collect(),
        wholes: wholes
            .iter()
            .map(|column| column.is_valid(at).then(|| column.as_primitive::<Int64Type>().value(at)))
            .collect(),
        numbers: numbers
            .iter()
            .map(|column| if column.is_valid(at) { column.as_primitive::<Float64Type>().value(at) } else { 0.0 })
            .collect(),
    };
    Ok((0..batch.num_rows()).map(row).collect())
}
