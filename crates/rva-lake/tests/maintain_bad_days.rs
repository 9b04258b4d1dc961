//! Merging on bad days: delete files of another engine, a tag that needs an old snapshot, a full disk, a clock that is
//! behind, files that nobody names.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use common::{all, at, batch, bronze_folder, folder, opened, quick, row_of, soon, table_keys};
use futures::TryStreamExt;
use iceberg::spec::{
    DataContentType, DataFileBuilder, DataFileFormat, Literal, MAIN_BRANCH, ManifestListWriter, ManifestWriterBuilder,
    Operation, Snapshot, SnapshotReference, SnapshotRetention, Struct, Summary, TableMetadataBuilder,
};
use iceberg::{TableIdent, TableRequirement, TableUpdate};
use rva_lake::storage::LakeStorageFactory;
use rva_lake::{BackupStore, BronzeSink, CommitOutcome, Lake, LakeErrorKind, MergeLimits, RestoreTarget, TableSink};
use rva_testkit::lake::{FaultyFactory, FullDisk};
use rva_types::RecordChoice;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

const BRONZE: &str = "bronze_raw";

/// Commits two rows.
async fn commit(sink: &mut BronzeSink, number: u64) {
    let from = if number == 1 { at(&[]) } else { at(&[("a", number - 1)]) };
    let frame = i64::try_from(number).unwrap() * 10;
    let rows = vec![row_of("berlin", "cam", "run", frame), row_of("berlin", "cam", "run", frame + 1)];
    let outcome = sink.commit(&batch(from, at(&[("a", number)]), rows)).await.unwrap();
    assert_eq!(outcome, CommitOutcome::Committed { rows_appended: 2, rows_known: 0 }, "{number}");
}

async fn table(lake: &Lake) -> iceberg::table::Table {
    lake.catalog().load_table(&TableIdent::from_strs(["rva", BRONZE]).unwrap()).await.unwrap()
}

/// The frames of the table, or of one of its snapshots.
async fn frames(lake: &Lake, snapshot: Option<i64>) -> Vec<i64> {
    use arrow::{array::AsArray, datatypes::Int64Type};
    let table = table(lake).await;
    let scan = table.scan().select(["frame_index"]);
    let scan = snapshot.into_iter().fold(scan, |scan, id| scan.snapshot_id(id));
    let batches: Vec<_> = scan.build().unwrap().to_arrow().await.unwrap().try_collect().await.unwrap();
    let mut frames: Vec<i64> =
        batches.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec()).collect();
    frames.sort_unstable();
    frames
}

/// A file that hides the first row of each of the table's data files, as another engine writes it.
async fn hide_first_rows(lake: &Lake) {
    let table = table(lake).await;
    let metadata = table.metadata();
    let current = metadata.current_snapshot().unwrap();
    let list = table.manifest_list_reader(current).load().await.unwrap();
    let (mut paths, mut manifests) = (Vec::new(), Vec::new());
    for manifest in list.consume_entries() {
        let loaded = manifest.load_manifest(table.file_io()).await.unwrap();
        let alive = loaded.entries().iter().filter(|entry| entry.is_alive());
        paths.extend(alive.map(|entry| entry.file_path().to_owned()));
        manifests.push(manifest);
    }
    let field = |name: &str, kind: DataType, id: i32| {
        Field::new(name, kind, false).with_metadata(HashMap::from([("PARQUET:field_id".to_owned(), id.to_string())]))
    };
    paths.sort();
    let schema = Arc::new(Schema::new(vec![
        field("file_path", DataType::Utf8, 2_147_483_546),
        field("pos", DataType::Int64, 2_147_483_545),
    ]));
    let columns: Vec<ArrayRef> =
        vec![Arc::new(StringArray::from(paths.clone())), Arc::new(Int64Array::from(vec![0; paths.len()]))];
    let rows = RecordBatch::try_new(Arc::clone(&schema), columns).unwrap();
    let mut bytes = Vec::new();
    let mut writer = parquet::arrow::ArrowWriter::try_new(&mut bytes, schema, None).unwrap();
    writer.write(&rows).unwrap();
    writer.close().unwrap();
    let size = bytes.len() as u64;
    let place = format!("{}/data/store_id=berlin/00000-0-hides.parquet", metadata.location());
    table.file_io().new_output(&place).unwrap().write(bytes.into()).await.unwrap();

    let (id, sequence) = (4_711, metadata.next_sequence_number());
    let file = DataFileBuilder::default()
        .content(DataContentType::PositionDeletes)
        .file_path(place)
        .file_format(DataFileFormat::Parquet)
        .partition(Struct::from_iter([Some(Literal::string("berlin"))]))
        .partition_spec_id(metadata.default_partition_spec_id())
        .record_count(paths.len() as u64)
        .file_size_in_bytes(size)
        .build()
        .unwrap();
    let output = |name: &str| table.file_io().new_output(format!("{}/metadata/{name}", metadata.location())).unwrap();
    let spec = metadata.default_partition_spec().as_ref().clone();
    let schema = metadata.current_schema().clone();
    let builder = ManifestWriterBuilder::new(output("hides-m0.avro"), Some(id), schema, spec);
    let mut writer = builder.build_v2_deletes();
    writer.add_file(file, sequence).unwrap();
    manifests.push(writer.write_manifest_file().await.unwrap());
    let parent = current.snapshot_id();
    let lists = output("snap-hides.avro");
    let mut writer = ManifestListWriter::v2(lists.writer().await.unwrap(), id, Some(parent), sequence);
    writer.add_manifests(manifests.into_iter()).unwrap();
    writer.close().await.unwrap();
    let snapshot = Snapshot::builder()
        .with_snapshot_id(id)
        .with_parent_snapshot_id(Some(parent))
        .with_sequence_number(sequence)
        .with_timestamp_ms(metadata.last_updated_ms())
        .with_manifest_list(format!("{}/metadata/snap-hides.avro", metadata.location()))
        .with_schema_id(metadata.current_schema_id())
        .with_summary(Summary { operation: Operation::Delete, additional_properties: HashMap::new() })
        .build();
    let main = SnapshotReference::new(id, SnapshotRetention::branch(None, None, None));
    let requirement = TableRequirement::RefSnapshotIdMatch { r#ref: MAIN_BRANCH.into(), snapshot_id: Some(parent) };
    let updates = vec![
        TableUpdate::AddSnapshot { snapshot },
        TableUpdate::SetSnapshotRef { ref_name: MAIN_BRANCH.into(), reference: main },
    ];
    lake.swap().swap(table.identifier(), vec![requirement], updates).await.unwrap();
}

#[tokio::test]
async fn rows_that_a_delete_file_hides_stay_hidden_when_manifests_are_merged_and_files_are_left_alone() {
    let dir = folder();
    let mut options = quick();
    options.manifests_max = 4;
    let lake = opened(dir.path(), options).await;
    let mut sink = lake.bronze_sink().unwrap();
    for number in 1..=6 {
        commit(&mut sink, number).await;
    }
    hide_first_rows(&lake).await;
    let mut wanted: Vec<i64> = (1..=6).map(|number| number * 10 + 1).collect();
    assert_eq!(frames(&lake, None).await, wanted, "the test must hide rows");

    // Manifests are written again many times: what was there before the delete file still was there before it.
    for number in 7..=16 {
        commit(&mut sink, number).await;
        let frame = i64::try_from(number).unwrap() * 10;
        wanted.extend([frame, frame + 1]);
    }
    assert_eq!(frames(&lake, None).await, wanted);
    let plan = lake.plan_merges(Some(BRONZE), &all(), soon()).await.unwrap().remove(0);
    assert!(plan.merges.is_empty(), "{plan:?}");
    assert!(plan.left.unwrap().contains("hides.parquet"));
    let merged = lake.merge_files(Some(BRONZE), &all(), soon()).await.unwrap().remove(0);
    assert_eq!((merged.commits, merged.files), (0, 0));
    assert_eq!(frames(&lake, None).await, wanted);
    // What was deleted isn't added again.
    let again =
        (1..=16).flat_map(|n| [row_of("berlin", "cam", "run", n * 10), row_of("berlin", "cam", "run", n * 10 + 1)]);
    let outcome = sink.commit(&batch(at(&[("a", 16)]), at(&[("a", 17)]), again.collect())).await.unwrap();
    assert_eq!(outcome, CommitOutcome::Committed { rows_appended: 0, rows_known: 32 });
}

#[tokio::test]
async fn a_snapshot_that_a_tag_or_a_branch_needs_can_be_read_after_merges_and_expiry() {
    let dir = folder();
    let mut options = quick();
    options.manifests_max = 3;
    options.housekeeping.snapshots_kept = 2;
    options.housekeeping.snapshots_slack = 0;
    options.housekeeping.orphan_age = Duration::ZERO;
    options.housekeeping.walk_every = Duration::ZERO;
    let lake = opened(dir.path(), options).await;
    let mut sink = lake.bronze_sink().unwrap();
    let mut named = Vec::new();
    for number in 1..=24_u64 {
        commit(&mut sink, number).await;
        if let 5 | 9 = number {
            let id = table(&lake).await.metadata().current_snapshot_id().unwrap();
            let retention = match number {
                5 => SnapshotRetention::Tag { max_ref_age_ms: None },
                _ => SnapshotRetention::branch(None, None, None),
            };
            let reference = SnapshotReference::new(id, retention);
            let name = format!("audit-{number}");
            let change = |metadata: TableMetadataBuilder| metadata.set_ref(&name, reference);
            common::change_metadata(dir.path(), lake.catalog().as_ref(), change).await;
            named.push((id, frames(&lake, None).await));
        }
        if number % 6 == 0 {
            lake.merge_files(Some(BRONZE), &all(), soon()).await.unwrap();
        }
    }
    for (id, wanted) in named {
        assert_eq!(frames(&lake, Some(id)).await, wanted);
    }
    assert_eq!(frames(&lake, None).await.len(), 48);
}

#[tokio::test]
async fn a_disk_that_is_full_ends_a_merge_without_a_loss_and_the_next_one_does_it() {
    let dir = folder();
    let disk = FullDisk::default();
    let factory = FaultyFactory::over(LakeStorageFactory::default(), disk.clone());
    let mut options = quick().with_storage(Arc::new(factory), LakeStorageFactory::default());
    options.retry.wait_max = Duration::from_micros(100);
    let lake = opened(dir.path(), options).await;
    let mut sink = lake.bronze_sink().unwrap();
    for number in 1..=4 {
        commit(&mut sink, number).await;
    }
    let keys = table_keys(&lake).await;
    for ending in [".parquet", "m0.avro", ".avro", ".metadata.json"] {
        disk.for_files_ending_in(Some(ending));
        let error = lake.merge_files(Some(BRONZE), &all(), soon()).await.unwrap_err();
        assert_eq!(error.kind(), LakeErrorKind::Transient, "{ending}: {error}");
        assert!(error.to_string().contains("no storage space"), "{ending}: {error}");
        disk.for_files_ending_in(None);
        assert_eq!(table_keys(&lake).await, keys, "{ending}");
    }
    let merged = lake.merge_files(Some(BRONZE), &all(), soon()).await.unwrap().remove(0);
    assert_eq!((merged.files, merged.files_written), (4, 1));
    assert_eq!(table_keys(&lake).await, keys);
}

#[tokio::test]
async fn with_a_clock_an_hour_behind_nothing_is_merged_or_lost_until_it_is_right() {
    let dir = folder();
    let lake = opened(dir.path(), quick()).await;
    let mut sink = lake.bronze_sink().unwrap();
    for number in 1..=4 {
        commit(&mut sink, number).await;
    }
    let keys = table_keys(&lake).await;
    common::change_in_the_future(dir.path(), lake.catalog().as_ref(), 60 * 60 * 1000).await;
    let error = lake.merge_files(Some(BRONZE), &all(), soon()).await.unwrap_err();
    assert_eq!(error.kind(), LakeErrorKind::Transient, "{error}");
    assert!(error.to_string().contains("clock"), "{error}");
    assert_eq!(table_keys(&lake).await, keys);
    // To a clock that is behind every file is young, and so none is touched.
    let behind = SystemTime::now() - Duration::from_secs(3600);
    let plan = lake.plan_merges(Some(BRONZE), &MergeLimits::default(), behind).await.unwrap().remove(0);
    assert_eq!((plan.merges, plan.snapshots_expiring), (vec![], 0));
    common::change_in_the_future(dir.path(), lake.catalog().as_ref(), 0).await;
    let merged = lake.merge_files(Some(BRONZE), &all(), soon()).await.unwrap().remove(0);
    assert_eq!(merged.files, 4);
    assert_eq!(table_keys(&lake).await, keys);
}

#[tokio::test]
async fn a_plan_lists_orphans_and_snapshots_that_may_go_and_deletes_nothing() {
    let dir = folder();
    let mut options = quick();
    options.housekeeping.orphan_age = Duration::from_secs(3600);
    options.housekeeping.snapshots_age = Duration::from_secs(600);
    let lake = opened(dir.path(), options).await;
    let mut sink = lake.bronze_sink().unwrap();
    for number in 1..=3 {
        commit(&mut sink, number).await;
    }
    let data = bronze_folder(dir.path()).join("data/store_id=berlin");
    let (old, young) = (uuid::Uuid::now_v7(), uuid::Uuid::now_v7());
    let left = [old, young].map(|name| data.join(format!("{name}.parquet")));
    left.iter().for_each(|path| std::fs::write(path, b"left by a kill").unwrap());
    // Older than the orphan age, and younger than the table.
    let ago = |hours: u64| SystemTime::now() - Duration::from_secs(hours * 3600);
    for path in walk(&bronze_folder(dir.path())) {
        let is_left = path.ends_with(format!("{old}.parquet"));
        let time = if is_left { ago(0) } else { SystemTime::now() + Duration::from_secs(2 * 3600) };
        std::fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
    }
    let later = SystemTime::now() + Duration::from_secs(2 * 3600);
    let plan = lake.plan_merges(Some(BRONZE), &MergeLimits::default(), later).await.unwrap().remove(0);
    let orphans: Vec<_> = plan.orphans.iter().map(|orphan| (&*orphan.location, orphan.bytes)).collect();
    let place = plan.orphans.first().map(|orphan| orphan.location.clone()).unwrap_or_default();
    assert_eq!(orphans, [(&*place, 14)], "{plan:?}");
    assert!(place.ends_with(&format!("{old}.parquet")), "{place}");
    assert!(plan.orphans[0].age >= Duration::from_secs(3600), "{plan:?}");
    assert_eq!((plan.snapshots, plan.snapshots_expiring, plan.orphans_left), (3, 2, None));
    assert!(left.iter().all(|path| path.exists()), "a plan deletes nothing");
}

fn walk(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

#[tokio::test]
async fn rows_that_a_delete_file_hides_stay_hidden_in_a_restored_table() {
    let dir = folder();
    let lake = opened(dir.path(), quick()).await;
    let mut sink = lake.bronze_sink().unwrap();
    for number in 1..=3 {
        commit(&mut sink, number).await;
    }
    let tagged = table(&lake).await.metadata().current_snapshot_id().unwrap();
    let reference = SnapshotReference::new(tagged, SnapshotRetention::Tag { max_ref_age_ms: None });
    let update = TableUpdate::SetSnapshotRef { ref_name: "before".into(), reference };
    lake.swap().swap(table(&lake).await.identifier(), Vec::new(), vec![update]).await.unwrap();
    hide_first_rows(&lake).await;
    assert_eq!(frames(&lake, None).await, [11, 21, 31]);
    let offsets = sink.resume_point().await.unwrap();

    let place = dir.path().join("store").display().to_string();
    let store = BackupStore::at(LakeStorageFactory::default().storage(), &place).unwrap();
    let made = lake.back_up(&store, None).await.unwrap();
    assert_eq!(store.verify(None).await.unwrap().findings, []);
    std::fs::remove_dir_all(dir.path().join("warehouse")).unwrap();
    let target = RestoreTarget::Folder(dir.path().join("other"));
    store.restore(&made.backup, &target, &quick()).await.unwrap();

    let restored = opened(&dir.path().join("other"), quick()).await;
    assert_eq!(frames(&restored, None).await, [11, 21, 31]);
    assert_eq!(frames(&restored, Some(tagged)).await, [10, 11, 20, 21, 30, 31], "what a tag holds");
    let mut sink = restored.bronze_sink().unwrap();
    assert_eq!(sink.resume_point().await.unwrap(), offsets);
    commit(&mut sink, 4).await;
    assert_eq!(frames(&restored, None).await, [11, 21, 31, 40, 41]);
}

fn of_camera(camera: &str) -> RecordChoice {
    RecordChoice::parse(None, Some(camera), None, None).unwrap()
}

#[tokio::test]
async fn rows_beside_a_delete_file_of_another_engine_are_neither_forgotten_nor_aged_and_the_reason_is_said() {
    let dir = folder();
    let lake = opened(dir.path(), quick()).await;
    let mut sink = lake.bronze_sink().unwrap();
    for number in 1..=3 {
        commit(&mut sink, number).await;
    }
    hide_first_rows(&lake).await;
    let (wanted, before) = (frames(&lake, None).await, table(&lake).await.metadata().current_snapshot_id());
    let error = lake.forgetting(&of_camera("cam")).await.unwrap().take_events().await.unwrap_err();
    assert_eq!(error.kind(), LakeErrorKind::Permanent);
    assert!(error.to_string().contains("hides.parquet") && error.to_string().contains("wanted none"), "{error}");
    let retention = [(BRONZE.to_owned(), Duration::from_secs(86_400))].into();
    let now = SystemTime::now() + Duration::from_secs(10 * 86_400);
    let merged = lake.merge_files(Some(BRONZE), &MergeLimits { retention, ..all() }, now).await.unwrap().remove(0);
    assert_eq!(merged.aged, 0);
    assert!(merged.left.unwrap().contains("hides.parquet"));
    assert_eq!((frames(&lake, None).await, table(&lake).await.metadata().current_snapshot_id()), (wanted, before));
}

#[tokio::test]
async fn a_snapshot_that_a_tag_needs_stays_when_its_rows_are_forgotten_and_that_is_said() {
    let dir = folder();
    let lake = opened(dir.path(), quick()).await;
    let mut sink = lake.bronze_sink().unwrap();
    commit(&mut sink, 1).await;
    let id = table(&lake).await.metadata().current_snapshot_id().unwrap();
    let reference = SnapshotReference::new(id, SnapshotRetention::Tag { max_ref_age_ms: None });
    let change = |metadata: TableMetadataBuilder| metadata.set_ref("audit", reference);
    common::change_metadata(dir.path(), lake.catalog().as_ref(), change).await;
    commit(&mut sink, 2).await;
    let mut forgetting = lake.forgetting(&of_camera("cam")).await.unwrap();
    assert_eq!(forgetting.take_events().await.unwrap()[0].rows, 4);
    assert_eq!(forgetting.clean().await.unwrap(), 1);
    let erased = forgetting.erase().await.unwrap().remove(0);
    assert!(erased.left.iter().any(|why| why.contains("a branch or a tag keeps 1 old snapshots")), "{erased:?}");
    assert_eq!(frames(&lake, None).await, Vec::<i64>::new());
    assert_eq!(frames(&lake, Some(id)).await, [10, 11]);
    // The position is there, although the snapshots that had it have gone.
    assert_eq!(sink.resume_point().await.unwrap().offsets, at(&[("a", 2)]));
}

#[tokio::test]
async fn a_table_that_was_rolled_back_keeps_its_past_until_the_ingest_has_gone_on() {
    let dir = folder();
    let lake = opened(dir.path(), quick()).await;
    let mut sink = lake.bronze_sink().unwrap();
    commit(&mut sink, 1).await;
    let id = table(&lake).await.metadata().current_snapshot_id().unwrap();
    commit(&mut sink, 2).await;
    let back = SnapshotReference::new(id, SnapshotRetention::branch(None, None, None));
    let change = |metadata: TableMetadataBuilder| metadata.set_ref(MAIN_BRANCH, back);
    common::change_metadata(dir.path(), lake.catalog().as_ref(), change).await;
    for is_told in [false, true] {
        let mut forgetting = lake.forgetting(&of_camera("cam")).await.unwrap();
        forgetting.take_events().await.unwrap();
        forgetting.clean().await.unwrap();
        let erased = forgetting.erase().await.unwrap().remove(0);
        assert_eq!(erased.left.iter().any(|why| why.contains("it was rolled back")), !is_told, "{erased:?}");
        let mut other = lake.bronze_sink().unwrap();
        let resume = other.resume_point().await.unwrap();
        assert_eq!(resume.rolled_back_from.is_some(), !is_told, "{resume:?}");
        if !is_told {
            // What the rollback took back is read again: of another camera, that it has something to commit.
            assert_eq!(resume.offsets, at(&[("a", 1)]));
            let rows = vec![row_of("berlin", "other", "run", 20)];
            other.commit(&batch(at(&[("a", 1)]), at(&[("a", 2)]), rows)).await.unwrap();
        }
    }
    assert_eq!(frames(&lake, None).await, [20]);
    assert_eq!(lake.bronze_sink().unwrap().resume_point().await.unwrap().offsets, at(&[("a", 2)]));
}
