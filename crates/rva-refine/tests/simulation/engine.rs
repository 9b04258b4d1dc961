//! What others do to the tables: small files merged, a file's rows gone, an older snapshot made the newest again,
//! snapshots expired.

use crate::world::Random;
use iceberg::spec::{
    ManifestListWriter, ManifestWriterBuilder, Operation, Snapshot, SnapshotReference, SnapshotRetention, Summary,
};
use iceberg::table::Table;
use iceberg::{TableIdent, TableRequirement, TableUpdate};
use rva_lake::{Lake, MergeLimits};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

/// Every file of bronze, silver and gold that can be merged with another one is.
pub async fn compact(lake: &Lake) {
    let limits = MergeLimits { files_min: 2, age_min: Duration::ZERO, ..MergeLimits::default() };
    let merged = lake.merge_files(None, &limits, SystemTime::now() + Duration::from_secs(1)).await.unwrap();
    MERGES.fetch_add(merged.iter().map(|table| table.commits).sum(), Ordering::Relaxed);
}

static MERGES: AtomicU64 = AtomicU64::new(0);
static ROLLBACKS: AtomicU64 = AtomicU64::new(0);
static EXPIRIES: AtomicU64 = AtomicU64::new(0);

/// How many merges there were.
pub fn merges() -> u64 {
    MERGES.load(Ordering::Relaxed)
}

/// How often a table was rolled back.
pub fn rollbacks() -> u64 {
    ROLLBACKS.load(Ordering::Relaxed)
}

/// How often snapshots that somebody may have wanted were expired.
pub fn expiries() -> u64 {
    EXPIRIES.load(Ordering::Relaxed)
}

/// One of the snapshots before the newest is the newest again.
pub async fn roll_back(lake: &Lake, name: &str, random: &mut Random) {
    let ident = TableIdent::from_strs(["rva", name]).unwrap();
    let table = lake.catalog().load_table(&ident).await.unwrap();
    let metadata = table.metadata();
    let mut before = Vec::new();
    let mut at = metadata.current_snapshot().cloned();
    while let Some(parent) = at.and_then(|at| at.parent_snapshot_id()).and_then(|id| metadata.snapshot_by_id(id)) {
        before.push(parent.snapshot_id());
        at = Some(parent.clone());
    }
    if before.is_empty() {
        return;
    }
    let id = before[random.below(before.len() as u64) as usize];
    let reference = SnapshotReference::new(id, SnapshotRetention::branch(None, None, None));
    let updates = vec![TableUpdate::SetSnapshotRef { ref_name: "main".to_owned(), reference }];
    lake.swap().swap(&ident, vec![TableRequirement::UuidMatch { uuid: metadata.uuid() }], updates).await.unwrap();
    ROLLBACKS.fetch_add(1, Ordering::Relaxed);
}

/// Every snapshot but the newest is gone.
pub async fn expire(lake: &Lake, name: &str) {
    let ident = TableIdent::from_strs(["rva", name]).unwrap();
    let table = lake.catalog().load_table(&ident).await.unwrap();
    let metadata = table.metadata();
    let newest = metadata.current_snapshot_id();
    let snapshot_ids: Vec<i64> =
        metadata.snapshots().map(|snapshot| snapshot.snapshot_id()).filter(|id| Some(*id) != newest).collect();
    if snapshot_ids.is_empty() {
        return;
    }
    let updates = vec![TableUpdate::RemoveSnapshots { snapshot_ids }];
    lake.swap().swap(&ident, vec![TableRequirement::UuidMatch { uuid: metadata.uuid() }], updates).await.unwrap();
    EXPIRIES.fetch_add(1, Ordering::Relaxed);
}

/// The rows of the first file are gone.
pub async fn take_a_file_away(lake: &Lake) {
    let ident = TableIdent::from_strs(["rva", "bronze_raw"]).unwrap();
    let table = lake.catalog().load_table(&ident).await.unwrap();
    let (metadata, io) = (table.metadata(), table.file_io());
    let parent = metadata.current_snapshot().unwrap();
    let (id, sequence) = (metadata.last_sequence_number() + 1_000, metadata.last_sequence_number() + 1);
    let name = |what: &str| format!("{}/metadata/{what}-{}.avro", metadata.location(), uuid::Uuid::new_v4());
    let spec = metadata.default_partition_spec().as_ref().clone();
    let output = io.new_output(name("other")).unwrap();
    let mut writer =
        ManifestWriterBuilder::new(output, Some(id), metadata.current_schema().clone(), spec).build_v2_data();
    let mut is_taken = false;
    for manifest in table.manifest_list_reader(parent).load().await.unwrap().entries() {
        let loaded = manifest.load_manifest(io).await.unwrap();
        for entry in loaded.entries().iter().filter(|entry| entry.is_alive()) {
            let (file, at) = (entry.data_file().clone(), entry.sequence_number().unwrap());
            if is_taken {
                writer.add_existing_file(file, entry.snapshot_id().unwrap(), at, Some(at)).unwrap();
                continue;
            }
            is_taken = true;
            writer.add_delete_file(file, at, Some(at)).unwrap();
        }
    }
    let manifest = writer.write_manifest_file().await.unwrap();
    commit(lake, &table, Operation::Delete, (id, sequence), manifest, &name("snap")).await;
}

async fn commit(
    lake: &Lake,
    table: &Table,
    operation: Operation,
    (id, sequence): (i64, i64),
    manifest: iceberg::spec::ManifestFile,
    list: &str,
) {
    let metadata = table.metadata();
    let parent = metadata.current_snapshot_id();
    let output = table.file_io().new_output(list).unwrap().writer().await.unwrap();
    let mut writer = ManifestListWriter::v2(output, id, parent, sequence);
    writer.add_manifests([manifest].into_iter()).unwrap();
    writer.close().await.unwrap();
    let snapshot = Snapshot::builder()
        .with_snapshot_id(id)
        .with_parent_snapshot_id(parent)
        .with_sequence_number(sequence)
        .with_timestamp_ms(metadata.last_updated_ms() + 1)
        .with_manifest_list(list)
        .with_schema_id(metadata.current_schema_id())
        .with_summary(Summary { operation, additional_properties: HashMap::new() })
        .build();
    let main = SnapshotReference::new(id, SnapshotRetention::branch(None, None, None));
    let updates = vec![
        TableUpdate::AddSnapshot { snapshot },
        TableUpdate::SetSnapshotRef { ref_name: "main".to_owned(), reference: main },
    ];
    let requirements = vec![TableRequirement::UuidMatch { uuid: metadata.uuid() }];
    lake.swap().swap(table.identifier(), requirements, updates).await.unwrap();
}
