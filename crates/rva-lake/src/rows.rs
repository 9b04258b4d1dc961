//! Rows of the bronze tables as Iceberg schemas and Arrow columns.

use arrow::array::{
    ArrayRef, Int32Array, Int64Array, LargeBinaryArray, MapArray, StringBuilder, StructArray,
    TimestampMicrosecondArray, new_null_array,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use iceberg::spec::{MapType, NestedField, PrimitiveType, Schema, Transform, Type};
use rva_types::{BRONZE_COLUMNS, BronzeEvent, DEAD_LETTER_COLUMNS, DeadLetter, Timestamp};
use std::sync::Arc;

/// A row of `rva.bronze_raw`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BronzeRow {
    /// The event that the message held.
    pub event: BronzeEvent,
    /// The time at which ingest received the message.
    pub ingest_ts: Timestamp,
}

/// A row of one table.
pub(crate) trait TableRow: Send + Sync + 'static {
    /// The table's name in namespace `rva`.
    const TABLE: &'static str;
    /// The columns that a new table's partitions are made of, and their transforms.
    const PARTITION: &'static [(&'static str, Transform)];
    /// The columns without statistics: free text, whose bounds nobody prunes by.
    const PLAIN: &'static [&'static str];
    /// The column with a bloom filter.
    const BLOOM: &'static str;
    /// The columns that the rows of a file are sorted by once small files are merged.
    const SORTED_BY: &'static [&'static str];
    /// Whether the job replaces rows that it wrote before, so that a partition rests only once nothing new comes to it.
    const REPLACES: bool = false;

    /// Returns names and types in order; field ids count from 1, those inside a map from 101.
    fn columns() -> Vec<(&'static str, Type)>;

    /// Returns about how many bytes a row takes in memory.
    fn size_bytes(&self) -> usize;

    /// Returns its value of the column with a bloom filter.
    fn bloom(&self) -> &str;

    /// Returns whether a column is one that our rows have a value in.
    fn is_ours(name: &str) -> bool {
        Self::columns().iter().any(|(ours, _)| *ours == name)
    }

    /// Returns the values of one of our columns, in the Arrow type that Iceberg gives it.
    fn column(name: &str, kind: &DataType, rows: &[&Self]) -> Result<Option<ArrayRef>, ArrowError>;

    /// Returns the schema: every column optional, none ever null from us.
    fn schema() -> iceberg::Result<Schema> {
        let fields =
            (1..).zip(Self::columns()).map(|(id, (name, kind))| Arc::new(NestedField::optional(id, name, kind)));
        Schema::builder().with_fields(fields).build()
    }

    /// Returns rows as a batch of the table's current schema; columns that aren't ours are null.
    fn batch(schema: &SchemaRef, rows: &[&Self]) -> Result<RecordBatch, ArrowError> {
        let columns = schema.fields().iter().map(|field| {
            match Self::column(field.name(), field.data_type(), rows)? {
                // Somebody promoted the column (int to long).
                Some(ours) if ours.data_type() != field.data_type() => cast(&ours, field.data_type()),
                Some(ours) => Ok(ours),
                None => Ok(new_null_array(field.data_type(), rows.len())),
            }
        });
        RecordBatch::try_new(Arc::clone(schema), columns.collect::<Result<_, ArrowError>>()?)
    }
}

pub(crate) fn strings<'a>(values: impl Iterator<Item = &'a str> + Clone) -> ArrayRef {
    let (count, bytes) = values.clone().fold((0, 0), |(count, bytes), value| (count + 1, bytes + value.len()));
    let mut builder = StringBuilder::with_capacity(count, bytes);
    values.for_each(|value| builder.append_value(value));
    Arc::new(builder.finish())
}

/// Returns times as Iceberg's timestamptz is in Arrow: `+00:00`, not `UTC`.
pub(crate) fn times(values: impl Iterator<Item = Timestamp>) -> ArrayRef {
    let micros = values.map(Timestamp::as_micros);
    Arc::new(TimestampMicrosecondArray::from_iter_values(micros).with_timezone("+00:00"))
}

const TEXT: Type = Type::Primitive(PrimitiveType::String);
const TIME: Type = Type::Primitive(PrimitiveType::Timestamptz);

impl TableRow for BronzeRow {
    const TABLE: &'static str = "bronze_raw";
    const PARTITION: &'static [(&'static str, Transform)] = &[("store_id", Transform::Identity)];
    const PLAIN: &'static [&'static str] = &["payload"];
    const BLOOM: &'static str = "pipeline_run_id";
    const SORTED_BY: &'static [&'static str] = &["pipeline_run_id", "camera_id", "frame_index"];

    fn columns() -> Vec<(&'static str, Type)> {
        let kinds = [TEXT, TEXT, Type::Primitive(PrimitiveType::Long), TEXT, TEXT, TEXT, TIME];
        BRONZE_COLUMNS.into_iter().zip(kinds).collect()
    }

    fn size_bytes(&self) -> usize {
        self.event.payload.len() + 256
    }

    fn bloom(&self) -> &str {
        self.event.key.run.as_str()
    }

    fn column(name: &str, _kind: &DataType, rows: &[&Self]) -> Result<Option<ArrayRef>, ArrowError> {
        let rows = rows.iter();
        Ok(Some(match name {
            "schema_version" => strings(rows.map(|row| &*row.event.schema_version)),
            "pipeline_run_id" => strings(rows.map(|row| row.event.key.run.as_str())),
            "frame_index" => Arc::new(Int64Array::from_iter_values(rows.map(|row| row.event.key.frame_index))),
            "payload" => strings(rows.map(|row| &*row.event.payload)),
            "camera_id" => strings(rows.map(|row| row.event.key.camera.as_str())),
            "store_id" => strings(rows.map(|row| row.event.store.as_str())),
            "ingest_ts" => times(rows.map(|row| row.ingest_ts)),
            _ => return Ok(None),
        }))
    }
}

/// Has no partition: a message that can't be read has no store, and the rows are few, so one file a commit is best.
impl TableRow for DeadLetter {
    const TABLE: &'static str = "bronze_dead_letters";
    const PARTITION: &'static [(&'static str, Transform)] = &[];
    const PLAIN: &'static [&'static str] = &["raw", "detail", "properties.key_value.key", "properties.key_value.value"];
    const BLOOM: &'static str = "message_id";
    const SORTED_BY: &'static [&'static str] = &["topic", "partition", "ingest_ts", "message_id"];

    fn columns() -> Vec<(&'static str, Type)> {
        let properties = Type::Map(MapType {
            key_field: Arc::new(NestedField::map_key_element(101, TEXT)),
            value_field: Arc::new(NestedField::map_value_element(102, TEXT, false)),
        });
        let int = Type::Primitive(PrimitiveType::Int);
        let bytes = Type::Primitive(PrimitiveType::Binary);
        let kinds = [TEXT, int, TEXT, TIME, TEXT, TEXT, bytes, properties, TIME];
        DEAD_LETTER_COLUMNS.into_iter().zip(kinds).collect()
    }

    fn size_bytes(&self) -> usize {
        let properties: usize = self.properties.iter().map(|(key, value)| key.len() + value.len() + 16).sum();
        self.raw.len() + self.detail.len() + properties + 256
    }

    fn bloom(&self) -> &str {
        &self.message_id
    }

    fn column(name: &str, kind: &DataType, rows: &[&Self]) -> Result<Option<ArrayRef>, ArrowError> {
        let all = rows;
        let rows = rows.iter();
        Ok(Some(match name {
            "topic" => strings(rows.map(|row| row.topic.as_str())),
            "partition" => Arc::new(Int32Array::from_iter_values(rows.map(|row| row.partition))),
            "message_id" => strings(rows.map(|row| row.message_id.as_str())),
            "publish_ts" => times(rows.map(|row| row.publish_ts)),
            "reason" => strings(rows.map(|row| row.reason.code())),
            "detail" => strings(rows.map(|row| row.detail.as_str())),
            "raw" => Arc::new(LargeBinaryArray::from_iter_values(rows.map(|row| row.raw.as_slice()))),
            "properties" => properties_column(kind, all)?,
            "ingest_ts" => times(rows.map(|row| row.ingest_ts)),
            _ => return Ok(None),
        }))
    }
}

fn properties_column(kind: &DataType, rows: &[&DeadLetter]) -> Result<ArrayRef, ArrowError> {
    let DataType::Map(entry, sorted) = kind else {
        return Err(ArrowError::SchemaError(format!("found properties of type {kind}, wanted a map")));
    };
    let DataType::Struct(fields) = entry.data_type() else {
        return Err(ArrowError::SchemaError(format!(
            "found map entries of type {}, wanted a struct",
            entry.data_type()
        )));
    };
    // Collected: an Arrow builder wants to know how many come.
    let pairs: Vec<(&String, &String)> = rows.iter().flat_map(|row| &row.properties).collect();
    let keys = strings(pairs.iter().map(|(key, _)| key.as_str()));
    let columns = vec![keys, strings(pairs.iter().map(|(_, value)| value.as_str()))];
    let entries = StructArray::try_new(fields.clone(), columns, None)?;
    let offsets = OffsetBuffer::from_lengths(rows.iter().map(|row| row.properties.len()));
    Ok(Arc::new(MapArray::try_new(Arc::clone(entry), offsets, entries, None, *sorted)?))
}
