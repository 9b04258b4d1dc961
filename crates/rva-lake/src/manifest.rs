//! A manifest of data files.
//!
//! The crate's own writer leaks the name of each partition field for each entry that it writes (iceberg 0.10.1,
//! `Box::leak` in `spec/values/serde.rs`), which an ingest that merges manifests for months can't afford. So it writes
//! the head of a manifest alone, which says schema and partition spec and names the Avro schema, and the entries behind
//! it are written here, as the specification of Iceberg and that of Avro's object container files have them.

use apache_avro::Reader;
use apache_avro::types::Value;
use bytes::Bytes;
use iceberg::io::{FileIO, OutputFile};
use iceberg::spec::{
    DataFile, Datum, FieldSummary, FormatVersion, ManifestFile, ManifestStatus, ManifestWriterBuilder, PartitionSpec,
    PrimitiveLiteral, PrimitiveType, SchemaRef, StructType,
};
use iceberg::{Error, ErrorKind, Result};
use std::collections::HashMap;

/// The bytes between two blocks of an Avro file, and behind its head.
const MARKER_BYTES: usize = 16;

/// Where the head is written first.
const HEAD: &str = "memory:///head.avro";

fn damaged(text: String) -> Error {
    Error::new(ErrorKind::DataInvalid, text)
}

struct Entry {
    status: ManifestStatus,
    snapshot: i64,
    sequence: i64,
    /// The sequence number of the snapshot that added the file; of one that is added now it is inherited.
    file_sequence: Option<i64>,
    file: DataFile,
}

/// Writes one manifest of data files.
pub(crate) struct ManifestBuilder {
    output: OutputFile,
    snapshot: i64,
    schema: SchemaRef,
    spec: PartitionSpec,
    format: FormatVersion,
    entries: Vec<Entry>,
}

impl ManifestBuilder {
    /// Begins a manifest that a snapshot adds.
    pub(crate) fn new(
        output: OutputFile,
        snapshot: i64,
        schema: SchemaRef,
        spec: PartitionSpec,
        format: FormatVersion,
    ) -> Self {
        Self { output, snapshot, schema, spec, format, entries: Vec::new() }
    }

    /// Adds a file that comes with the snapshot.
    pub(crate) fn add(&mut self, file: DataFile, sequence: i64) {
        let status = ManifestStatus::Added;
        self.entries.push(Entry { status, snapshot: self.snapshot, sequence, file_sequence: None, file });
    }

    /// Adds a file that was there before, with the snapshot and the sequence numbers that it came with.
    pub(crate) fn keep(&mut self, file: DataFile, snapshot: i64, sequence: i64, file_sequence: i64) {
        let (status, file_sequence) = (ManifestStatus::Existing, Some(file_sequence));
        self.entries.push(Entry { status, snapshot, sequence, file_sequence, file });
    }

    /// Adds a file that goes with the snapshot, with the sequence numbers that it came with.
    pub(crate) fn delete(&mut self, file: DataFile, sequence: i64, file_sequence: i64) {
        let (status, file_sequence) = (ManifestStatus::Deleted, Some(file_sequence));
        self.entries.push(Entry { status, snapshot: self.snapshot, sequence, file_sequence, file });
    }

    /// Returns whether it has no entries.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Writes it.
    ///
    /// # Errors
    /// Returns an error for a partition value of a type that can't be in a manifest, and where the file can't be written.
    pub(crate) async fn write(self) -> Result<ManifestFile> {
        let (head, template) = self.head().await?;
        let partition = self.spec.partition_type(&self.schema)?;
        let body = body(&head, &self.entries, &partition)?;
        let file = self.file(template, &partition, body.len() as i64)?;
        self.output.write(Bytes::from(body)).await?;
        Ok(file)
    }

    /// Has the crate write a manifest without entries.
    async fn head(&self) -> Result<(Bytes, ManifestFile)> {
        let io = FileIO::new_with_memory();
        let output = io.new_output(HEAD)?;
        let builder = ManifestWriterBuilder::new(output, Some(self.snapshot), self.schema.clone(), self.spec.clone());
        let writer = match self.format {
            FormatVersion::V1 => builder.build_v1(),
            FormatVersion::V2 => builder.build_v2_data(),
            FormatVersion::V3 => builder.build_v3_data(),
        };
        let template = writer.write_manifest_file().await?;
        Ok((io.new_input(HEAD)?.read().await?, template))
    }

    /// Returns what the manifest list says of the manifest.
    fn file(&self, template: ManifestFile, partition: &StructType, bytes: i64) -> Result<ManifestFile> {
        let count = |status| {
            let of_status = self.entries.iter().filter(move |entry| entry.status == status);
            let rows = of_status.clone().map(|entry| entry.file.record_count()).sum();
            (u32::try_from(of_status.count()).ok(), Some(rows))
        };
        let (added_files_count, added_rows_count) = count(ManifestStatus::Added);
        let (existing_files_count, existing_rows_count) = count(ManifestStatus::Existing);
        let (deleted_files_count, deleted_rows_count) = count(ManifestStatus::Deleted);
        let alive = self.entries.iter().filter(|entry| entry.status != ManifestStatus::Deleted);
        Ok(ManifestFile {
            manifest_path: self.output.location().to_owned(),
            manifest_length: bytes,
            min_sequence_number: alive.map(|entry| entry.sequence).min().unwrap_or(template.min_sequence_number),
            added_files_count,
            existing_files_count,
            deleted_files_count,
            added_rows_count,
            existing_rows_count,
            deleted_rows_count,
            partitions: Some(summaries(&self.entries, partition)?),
            ..template
        })
    }
}

/// Returns the type of a partition field.
fn primitive(partition: &StructType, at: usize) -> Result<&PrimitiveType> {
    let field = partition.fields().get(at).ok_or_else(|| damaged(format!("found no partition field {at}")))?;
    let kind = field.field_type.as_primitive_type();
    kind.ok_or_else(|| damaged(format!("found partition field {} of type {}", field.name, field.field_type)))
}

/// Returns the value of a partition field of a file; `None` where it is null.
fn value_of(file: &DataFile, at: usize) -> Result<Option<PrimitiveLiteral>> {
    let Some(literal) = file.partition().fields().get(at) else {
        return Err(damaged(format!("found no value of partition field {at} of {}", file.file_path())));
    };
    let primitive = literal.as_ref().map(|literal| {
        let value = literal.as_primitive_literal();
        value.ok_or_else(|| damaged(format!("found a nested partition value of {}", file.file_path())))
    });
    primitive.transpose()
}

/// Returns the least and the greatest value of each partition field.
fn summaries(entries: &[Entry], partition: &StructType) -> Result<Vec<FieldSummary>> {
    let of_field = |at: usize| {
        let kind = primitive(partition, at)?;
        let mut summary = FieldSummary { contains_nan: Some(false), ..FieldSummary::default() };
        let (mut least, mut greatest) = (None::<Datum>, None::<Datum>);
        for entry in entries {
            let Some(value) = value_of(&entry.file, at)? else {
                summary.contains_null = true;
                continue;
            };
            let value = datum(value, kind)?;
            if value.is_nan() {
                summary.contains_nan = Some(true);
                continue;
            }
            if least.as_ref().is_none_or(|least| value < *least) {
                least = Some(value.clone());
            }
            if greatest.as_ref().is_none_or(|greatest| value > *greatest) {
                greatest = Some(value);
            }
        }
        summary.lower_bound = least.map(|value| value.to_bytes()).transpose()?;
        summary.upper_bound = greatest.map(|value| value.to_bytes()).transpose()?;
        Ok(summary)
    };
    (0..partition.fields().len()).map(of_field).collect()
}

/// Returns the whole file: the head, and one block of entries where there are any.
fn body(head: &[u8], entries: &[Entry], partition: &StructType) -> Result<Vec<u8>> {
    let failed = |error: apache_avro::Error| damaged(format!("could not write a manifest: {error}"));
    let schema = Reader::new(head).map_err(failed)?.writer_schema().clone();
    let mut block = Vec::new();
    for entry in entries {
        let value = entry_value(entry, partition)?.resolve(&schema).map_err(failed)?;
        block.extend(apache_avro::to_avro_datum(&schema, value).map_err(failed)?);
    }
    let mut body = head.to_vec();
    if !entries.is_empty() {
        let marker = head.len().checked_sub(MARKER_BYTES).and_then(|at| head.get(at..));
        let marker = marker.ok_or_else(|| damaged("found a head without a marker".to_owned()))?;
        body.extend(avro_long(entries.len() as i64));
        body.extend(avro_long(block.len() as i64));
        body.extend(block);
        body.extend(marker);
    }
    Ok(body)
}

/// Returns a number as Avro writes it: zigzag, seven bits a byte, the low ones first.
fn avro_long(value: i64) -> Vec<u8> {
    let mut rest = (value.wrapping_shl(1) ^ (value >> 63)).cast_unsigned();
    let mut bytes = Vec::new();
    while rest > 0x7f {
        bytes.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
    bytes
}

fn record(fields: Vec<(&str, Value)>) -> Value {
    Value::Record(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

fn optional(value: Option<Value>) -> Value {
    value.unwrap_or(Value::Null)
}

fn long(value: u64, of: &str) -> Result<Value> {
    let fits = i64::try_from(value).map(Value::Long);
    fits.map_err(|_| damaged(format!("found {value} as the {of} of a data file, wanted less than 2^63")))
}

fn entry_value(entry: &Entry, partition: &StructType) -> Result<Value> {
    Ok(record(vec![
        ("status", Value::Int(entry.status as i32)),
        ("snapshot_id", Value::Long(entry.snapshot)),
        ("sequence_number", Value::Long(entry.sequence)),
        ("file_sequence_number", optional(entry.file_sequence.map(Value::Long))),
        ("data_file", file_value(&entry.file, partition)?),
    ]))
}

fn file_value(file: &DataFile, partition: &StructType) -> Result<Value> {
    let values = partition.fields().iter().enumerate().map(|(at, field)| {
        let value = value_of(file, at)?.map(|value| partition_value(value, primitive(partition, at)?));
        Ok((field.name.clone(), optional(value.transpose()?)))
    });
    let partition = Value::Record(values.collect::<Result<_>>()?);
    let longs = |values: &[i64]| Value::Array(values.iter().copied().map(Value::Long).collect());
    let ints = |values: Vec<i32>| Value::Array(values.into_iter().map(Value::Int).collect());
    Ok(record(vec![
        ("content", Value::Int(file.content_type() as i32)),
        ("file_path", Value::String(file.file_path().to_owned())),
        ("file_format", Value::String(file.file_format().to_string().to_ascii_uppercase())),
        ("partition", partition),
        ("record_count", long(file.record_count(), "rows")?),
        ("file_size_in_bytes", long(file.file_size_in_bytes(), "bytes")?),
        // Of the first version of the format alone.
        ("block_size_in_bytes", Value::Long(0)),
        ("column_sizes", counts(file.column_sizes())?),
        ("value_counts", counts(file.value_counts())?),
        ("null_value_counts", counts(file.null_value_counts())?),
        ("nan_value_counts", counts(file.nan_value_counts())?),
        ("lower_bounds", bounds(file.lower_bounds())?),
        ("upper_bounds", bounds(file.upper_bounds())?),
        ("key_metadata", optional(file.key_metadata().map(|key| Value::Bytes(key.to_vec())))),
        ("split_offsets", optional(file.split_offsets().map(longs))),
        ("equality_ids", optional(file.equality_ids().map(ints))),
        ("sort_order_id", optional(file.sort_order_id().map(Value::Int))),
        ("first_row_id", optional(file.first_row_id().map(Value::Long))),
        ("referenced_data_file", optional(file.referenced_data_file().map(Value::String))),
        ("content_offset", optional(file.content_offset().map(Value::Long))),
        ("content_size_in_bytes", optional(file.content_size_in_bytes().map(Value::Long))),
    ]))
}

/// Returns a value that is compared and written as those of its type are: days as whole numbers, moments as long ones.
fn datum(value: PrimitiveLiteral, kind: &PrimitiveType) -> Result<Datum> {
    Ok(match value {
        PrimitiveLiteral::Boolean(value) => Datum::bool(value),
        PrimitiveLiteral::Int(value) => Datum::int(value),
        PrimitiveLiteral::Long(value) => Datum::long(value),
        PrimitiveLiteral::Float(value) => Datum::float(value.0),
        PrimitiveLiteral::Double(value) => Datum::double(value.0),
        PrimitiveLiteral::String(value) => Datum::string(value),
        PrimitiveLiteral::Binary(value) => Datum::binary(value),
        _ => return Err(damaged(format!("found a table that is parted by a field of type {kind}"))),
    })
}

fn partition_value(value: PrimitiveLiteral, kind: &PrimitiveType) -> Result<Value> {
    Ok(match value {
        PrimitiveLiteral::Boolean(value) => Value::Boolean(value),
        PrimitiveLiteral::Int(value) => Value::Int(value),
        PrimitiveLiteral::Long(value) => Value::Long(value),
        PrimitiveLiteral::Float(value) => Value::Float(value.0),
        PrimitiveLiteral::Double(value) => Value::Double(value.0),
        PrimitiveLiteral::String(value) => Value::String(value),
        PrimitiveLiteral::Binary(value) => Value::Bytes(value),
        _ => return Err(damaged(format!("found a table that is parted by a field of type {kind}"))),
    })
}

/// A map from field ids, as a manifest has it: a list of pairs.
fn pairs<T>(map: &HashMap<i32, T>, value: impl Fn(&T) -> Result<Value>) -> Result<Value> {
    let mut ids: Vec<&i32> = map.keys().collect();
    ids.sort_unstable();
    let pair = |id: &i32| Ok(record(vec![("key", Value::Int(*id)), ("value", value(&map[id])?)]));
    ids.into_iter().map(pair).collect::<Result<_>>().map(Value::Array)
}

fn counts(map: &HashMap<i32, u64>) -> Result<Value> {
    pairs(map, |count| long(*count, "count"))
}

fn bounds(map: &HashMap<i32, Datum>) -> Result<Value> {
    pairs(map, |bound| Ok(Value::Bytes(bound.to_bytes()?.into_vec())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cells::Shape;
    use crate::lake::Lake;
    use crate::medallion::CameraMinute;
    use crate::options::LakeOptions;
    use crate::small::{add, replace};
    use iceberg::spec::Manifest;
    use iceberg::table::Table;

    /// What the crate's writer makes of the same entries.
    async fn by_the_crate(table: &Table, format: FormatVersion, entries: &[Entry]) -> (ManifestFile, Manifest) {
        let (io, metadata) = (FileIO::new_with_memory(), table.metadata());
        let spec = metadata.default_partition_spec().as_ref().clone();
        let output = io.new_output("memory:///m.avro").unwrap();
        let builder = ManifestWriterBuilder::new(output, Some(7), metadata.current_schema().clone(), spec);
        let mut writer = match format {
            FormatVersion::V1 => builder.build_v1(),
            FormatVersion::V2 => builder.build_v2_data(),
            FormatVersion::V3 => builder.build_v3_data(),
        };
        for Entry { status, snapshot, sequence, file_sequence, file } in entries {
            let file = file.clone();
            match status {
                ManifestStatus::Added => writer.add_file(file, *sequence),
                ManifestStatus::Existing => writer.add_existing_file(file, *snapshot, *sequence, *file_sequence),
                ManifestStatus::Deleted => writer.add_delete_file(file, *sequence, *file_sequence),
            }
            .unwrap();
        }
        let file = writer.write_manifest_file().await.unwrap();
        let bytes = io.new_input("memory:///m.avro").unwrap().read().await.unwrap();
        (file, Manifest::parse_avro(&bytes).unwrap())
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_manifest_is_what_the_crate_would_have_written() {
        let folder = tempfile::tempdir().unwrap();
        let lake = Lake::open_embedded(folder.path(), LakeOptions::default()).await.unwrap();
        add::<CameraMinute>(&lake, 3).await;
        replace::<CameraMinute>(&lake, 1).await;
        let ident = iceberg::TableIdent::from_strs(["rva", CameraMinute::TABLE]).unwrap();
        let table = lake.catalog.load_table(&ident).await.unwrap();
        let metadata = table.metadata();
        let list = table.manifest_list_reader(metadata.current_snapshot().unwrap()).load().await.unwrap();
        let mut files = Vec::new();
        for manifest in list.entries() {
            let loaded = manifest.load_manifest(table.file_io()).await.unwrap();
            files.extend(loaded.entries().iter().map(|entry| entry.data_file().clone()));
        }
        assert!(files.len() >= 3 && !files[0].lower_bounds().is_empty(), "{files:?}");
        for format in [FormatVersion::V1, FormatVersion::V2, FormatVersion::V3] {
            for count in [0, 1, files.len()] {
                let io = FileIO::new_with_memory();
                let output = io.new_output("memory:///m.avro").unwrap();
                let spec = metadata.default_partition_spec().as_ref().clone();
                let mut built = ManifestBuilder::new(output, 7, metadata.current_schema().clone(), spec, format);
                for (at, file) in files.iter().take(count).cloned().enumerate() {
                    match at % 3 {
                        0 => built.keep(file, 5, 4, 3),
                        1 => built.add(file, 6),
                        _ => built.delete(file, 2, 1),
                    }
                }
                let (wanted_file, wanted) = by_the_crate(&table, format, &built.entries).await;
                let file = built.write().await.unwrap();
                let bytes = io.new_input("memory:///m.avro").unwrap().read().await.unwrap();
                let found = Manifest::parse_avro(&bytes).unwrap();
                assert_eq!(found, wanted, "{format:?}, {count} entries");
                assert_eq!(file.manifest_length, bytes.len() as i64);
                assert_eq!(file, wanted_file, "{format:?}, {count} entries");
            }
        }
    }

    #[test]
    fn a_number_is_written_as_avro_has_it() {
        for value in [0, -1, 1, 63, -64, 64, 8191, 1 << 40, i64::MAX, i64::MIN] {
            let wanted = apache_avro::to_avro_datum(&apache_avro::Schema::Long, Value::Long(value)).unwrap();
            assert_eq!(avro_long(value), wanted, "{value}");
        }
    }
}
