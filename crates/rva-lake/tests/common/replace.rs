//! A compaction by somebody: the same rows in other files, in a `replace` snapshot that carries our marks on.
#![allow(dead_code, clippy::unwrap_used, reason = "each test program uses a part; a panic is how a test fails")]

use iceberg::spec::{
    DataFile, DataFileBuilder, ManifestListWriter, ManifestWriterBuilder, Operation, Snapshot, SnapshotReference,
    SnapshotRetention, Summary,
};
use iceberg::table::Table;

/// Each data file of the table under another name, and the old ones removed from the table.
pub async fn replace_files(data_dir: &std::path::Path, catalog: &dyn iceberg::Catalog) {
    let ident = iceberg::TableIdent::from_strs(["rva", "bronze_raw"]).unwrap();
    let table = catalog.load_table(&ident).await.unwrap();
    let parent = table.metadata().current_snapshot().unwrap();
    let mut files = Vec::new();
    for manifest in table.manifest_list_reader(parent).load().await.unwrap().entries() {
        let loaded = manifest.load_manifest(table.file_io()).await.unwrap();
        files.extend(loaded.entries().iter().filter(|entry| entry.is_alive()).map(|entry| copy(entry.data_file())));
    }
    let snapshot = snapshot_of(&table, files).await;
    super::common::change_metadata(data_dir, catalog, |builder| {
        let id = snapshot.snapshot_id();
        let main = SnapshotReference::new(id, SnapshotRetention::branch(None, None, None));
        builder.add_snapshot(snapshot)?.set_ref("main", main)
    })
    .await;
}

fn copy(file: &DataFile) -> DataFile {
    let path = file.file_path().replace(".parquet", "-compacted.parquet");
    std::fs::copy(file.file_path().trim_start_matches("file://"), path.trim_start_matches("file://")).unwrap();
    DataFileBuilder::default()
        .content(file.content_type())
        .file_path(path)
        .file_format(file.file_format())
        .partition(file.partition().clone())
        .partition_spec_id(0)
        .record_count(file.record_count())
        .file_size_in_bytes(file.file_size_in_bytes())
        .lower_bounds(file.lower_bounds().clone())
        .upper_bounds(file.upper_bounds().clone())
        .build()
        .unwrap()
}

async fn snapshot_of(table: &Table, files: Vec<DataFile>) -> Snapshot {
    let (metadata, io) = (table.metadata(), table.file_io());
    let parent = metadata.current_snapshot().unwrap();
    let (id, sequence) = (4711, metadata.last_sequence_number() + 1);
    let name = |what: &str| format!("{}/metadata/{what}-{}.avro", metadata.location(), uuid::Uuid::new_v4());
    let spec = metadata.default_partition_spec().as_ref().clone();
    let output = io.new_output(name("compaction")).unwrap();
    let mut writer =
        ManifestWriterBuilder::new(output, Some(id), metadata.current_schema().clone(), spec).build_v2_data();
    for file in files {
        writer.add_file(file, sequence).unwrap();
    }
    let manifest = writer.write_manifest_file().await.unwrap();
    let list = name("snap");
    let output = io.new_output(&list).unwrap().writer().await.unwrap();
    let mut writer = ManifestListWriter::v2(output, id, Some(parent.snapshot_id()), sequence);
    writer.add_manifests([manifest].into_iter()).unwrap();
    writer.close().await.unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Snapshot::builder()
        .with_snapshot_id(id)
        .with_parent_snapshot_id(Some(parent.snapshot_id()))
        .with_sequence_number(sequence)
        .with_timestamp_ms(i64::try_from(now.as_millis()).unwrap())
        .with_manifest_list(list)
        .with_schema_id(metadata.current_schema_id())
        .with_summary(Summary {
            operation: Operation::Replace,
            additional_properties: parent.summary().additional_properties.clone(),
        })
        .build()
}
