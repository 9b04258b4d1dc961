//! The choice of rows, and of files that may hold such rows: by their bounds, as the manifests have them, and by their
//! rows.

use crate::errors::permanent;
use crate::seam::{LakeError, LakeErrorKind};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, MapArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimeUnit, TimestampMicrosecondType};
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use iceberg::spec::{DataFile, PrimitiveLiteral, Schema};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use rva_types::{RecordChoice, Timestamp};
use std::collections::BTreeMap;

/// The rows that are looked at together: each may have a payload.
const BATCH_ROWS: usize = 1024;

/// The beginning of the topic of a partition of the embedded log.
const EMBEDDED: &str = "embedded/";

const HOUR_US: i64 = 3_600_000_000;

const STORE: &str = "store_id";
const CAMERA: &str = "camera_id";

/// The rows of a table, as far as a choice asks about them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RowKind {
    /// Events: a frame record each.
    Events,
    /// Messages that may be anything.
    Letters,
    /// Rows of a moment, which this column has.
    Moments(&'static str),
    /// Rows that are worked out of an hour or a part of it, whose begin this column has.
    Hours(&'static str),
    /// Rows that have no time of a record.
    Timeless,
    /// Rows of any table that are old by this column.
    Aged(&'static str),
}

impl RowKind {
    fn columns(self) -> Vec<&'static str> {
        match self {
            Self::Events => vec![STORE, CAMERA, "payload", "ingest_ts"],
            Self::Letters => vec!["topic", "raw", "properties", "ingest_ts"],
            Self::Moments(time) | Self::Hours(time) => vec![STORE, CAMERA, time],
            Self::Timeless => vec![STORE, CAMERA],
            Self::Aged(time) => vec![time],
        }
    }
}

/// A choice, asked of one table.
#[derive(Debug, Clone)]
pub(crate) struct Matcher {
    pub choice: RecordChoice,
    pub kind: RowKind,
}

fn column(batch: &RecordBatch, name: &str, kind: &DataType) -> Result<ArrayRef, LakeError> {
    let Some(column) = batch.column_by_name(name) else {
        let text = format!("found no column {name} in a file, wanted it to tell what is chosen");
        return Err(LakeError::new(LakeErrorKind::Permanent, text));
    };
    cast(column, kind).map_err(|error| permanent(format_args!("read column {name}"), error))
}

fn moments(batch: &RecordBatch, name: &str) -> Result<ArrayRef, LakeError> {
    column(batch, name, &DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into())))
}

/// Returns the properties of a row.
fn properties_of(map: &MapArray, at: usize) -> BTreeMap<String, String> {
    if map.is_null(at) {
        return BTreeMap::new();
    }
    let pairs = map.value(at);
    let text = |place: usize| cast(pairs.column(place), &DataType::Utf8).ok();
    let (Some(keys), Some(values)) = (text(0), text(1)) else { return BTreeMap::new() };
    let (keys, values) = (keys.as_string::<i32>(), values.as_string::<i32>());
    let whole = (0..keys.len()).filter(|at| keys.is_valid(*at) && values.is_valid(*at));
    whole.map(|at| (keys.value(at).to_owned(), values.value(at).to_owned())).collect()
}

impl Matcher {
    /// Returns whether a row of a moment is chosen.
    fn holds_moment(&self, micros: i64) -> bool {
        let (from, to) = self.choice.span_us();
        let from = match self.kind {
            // The hour that holds the first moment; there is no hour before all of time.
            RowKind::Hours(_) => from.div_euclid(HOUR_US).saturating_mul(HOUR_US),
            _ => from,
        };
        from <= micros && micros < to
    }

    /// Returns which rows of a batch are chosen.
    ///
    /// # Errors
    /// Returns `Permanent` for a batch without the columns that say it.
    pub(crate) fn mask(&self, batch: &RecordBatch) -> Result<BooleanArray, LakeError> {
        match self.kind {
            RowKind::Letters => return self.letters(batch),
            RowKind::Aged(time) => {
                let times = moments(batch, time)?;
                let times = times.as_primitive::<TimestampMicrosecondType>();
                let is_old = |at: usize| times.is_valid(at) && self.holds_moment(times.value(at));
                return Ok((0..batch.num_rows()).map(|at| Some(is_old(at))).collect());
            }
            _ => {}
        }
        let (stores, cameras) = (column(batch, STORE, &DataType::Utf8)?, column(batch, CAMERA, &DataType::Utf8)?);
        let (stores, cameras) = (stores.as_string::<i32>(), cameras.as_string::<i32>());
        let is_of = |at: usize| {
            let of = |column: &arrow::array::StringArray| {
                if column.is_valid(at) { column.value(at).to_owned() } else { String::new() }
            };
            self.choice.is_of(&of(stores), &of(cameras))
        };
        match self.kind {
            RowKind::Events => {
                let payloads = column(batch, "payload", &DataType::Utf8)?;
                let (payloads, times) = (payloads.as_string::<i32>(), moments(batch, "ingest_ts")?);
                let times = times.as_primitive::<TimestampMicrosecondType>();
                let holds = |at: usize| {
                    let payload = if payloads.is_valid(at) { payloads.value(at) } else { "" };
                    let received = Timestamp::from_micros(if times.is_valid(at) { times.value(at) } else { 0 });
                    is_of(at) && self.choice.holds_event(stores.value(at), cameras.value(at), payload, received)
                };
                Ok((0..batch.num_rows()).map(|at| Some(holds(at))).collect())
            }
            RowKind::Moments(name) | RowKind::Hours(name) => {
                let times = moments(batch, name)?;
                let times = times.as_primitive::<TimestampMicrosecondType>();
                let is_then = |at: usize| times.is_valid(at) && self.holds_moment(times.value(at));
                Ok((0..batch.num_rows()).map(|at| Some(is_of(at) && is_then(at))).collect())
            }
            RowKind::Timeless | RowKind::Letters | RowKind::Aged(_) => {
                Ok((0..batch.num_rows()).map(|at| Some(is_of(at))).collect())
            }
        }
    }

    fn letters(&self, batch: &RecordBatch) -> Result<BooleanArray, LakeError> {
        let (topics, raws) = (column(batch, "topic", &DataType::Utf8)?, column(batch, "raw", &DataType::LargeBinary)?);
        let (topics, raws) = (topics.as_string::<i32>(), raws.as_binary::<i64>());
        let times = moments(batch, "ingest_ts")?;
        let times = times.as_primitive::<TimestampMicrosecondType>();
        let maps = batch.column_by_name("properties").and_then(|column| column.as_map_opt());
        let Some(maps) = maps else {
            let text = "found no map properties in a file of dead letters, wanted it to tell what is chosen";
            return Err(LakeError::new(LakeErrorKind::Permanent, text));
        };
        let holds = |at: usize| {
            let raw: &[u8] = if raws.is_valid(at) { raws.value(at) } else { &[] };
            let topic = if topics.is_valid(at) { topics.value(at) } else { "" };
            let received = Timestamp::from_micros(if times.is_valid(at) { times.value(at) } else { 0 });
            self.choice.holds_message(&properties_of(maps, at), raw, topic.strip_prefix(EMBEDDED), received)
        };
        Ok((0..batch.num_rows()).map(|at| Some(holds(at))).collect())
    }

    /// Returns whether a file may hold chosen rows, by its bounds.
    pub(crate) fn may_hold(&self, file: &DataFile, schema: &Schema) -> bool {
        let bounds = |name: &str| {
            let id = schema.field_id_by_name(name)?;
            Some((file.lower_bounds().get(&id)?.literal(), file.upper_bounds().get(&id)?.literal()))
        };
        let may_be = |name: &str, wanted: Option<&str>| match (wanted, bounds(name)) {
            (Some(wanted), Some((PrimitiveLiteral::String(low), PrimitiveLiteral::String(high)))) => {
                low.as_str() <= wanted && wanted <= high.as_str()
            }
            _ => true,
        };
        let may_be_then = |name: &str| match bounds(name) {
            Some((PrimitiveLiteral::Long(low), PrimitiveLiteral::Long(high))) => {
                let (_, to) = self.choice.span_us();
                *low < to && (self.holds_moment(*high) || *high >= to)
            }
            _ => true,
        };
        match self.kind {
            RowKind::Letters => true,
            RowKind::Aged(name) => may_be_then(name),
            RowKind::Events | RowKind::Timeless => {
                may_be(STORE, self.choice.store()) && may_be(CAMERA, self.choice.camera())
            }
            RowKind::Moments(name) | RowKind::Hours(name) => {
                may_be(STORE, self.choice.store()) && may_be(CAMERA, self.choice.camera()) && may_be_then(name)
            }
        }
    }

    /// Returns whether rows are chosen because they are old.
    pub(crate) fn ages(&self) -> bool {
        matches!(self.kind, RowKind::Aged(_))
    }

    /// Returns whether every row of a file is chosen because it is old, by its bounds; `false` where they don't say.
    pub(crate) fn holds_all(&self, file: &DataFile, schema: &Schema) -> bool {
        let RowKind::Aged(name) = self.kind else { return false };
        let high = |id: i32| {
            let is_there = file.null_value_counts().get(&id) == Some(&0);
            file.upper_bounds().get(&id).filter(|_| is_there).map(|high| high.literal())
        };
        matches!(schema.field_id_by_name(name).and_then(high), Some(PrimitiveLiteral::Long(high)) if *high < self.choice.span_us().1)
    }

    /// Returns the number of chosen rows of a data file, which is given whole.
    ///
    /// # Errors
    /// Returns `Permanent` for bytes that are no Parquet, or lack the columns.
    pub(crate) fn rows_in(&self, place: &str, bytes: Bytes) -> Result<u64, LakeError> {
        let failed = |error| permanent(format_args!("read {place}"), error);
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let builder = ParquetRecordBatchReaderBuilder::try_new_with_options(bytes, options).map_err(failed)?;
        let mask = ProjectionMask::columns(builder.parquet_schema(), self.kind.columns());
        let reader = builder.with_projection(mask).with_batch_size(BATCH_ROWS).build().map_err(failed)?;
        let mut rows = 0;
        for batch in reader {
            let batch = batch.map_err(|error| permanent(format_args!("read {place}"), error))?;
            rows += self.mask(&batch)?.true_count() as u64;
        }
        Ok(rows)
    }
}
