//! What the data files look like, what the key index costs, and what housekeeping removes.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use common::{at, batch, keys_of, quick, row, row_of, table_keys};
use futures::TryStreamExt;
use iceberg::TableIdent;
use iceberg::expr::Reference;
use iceberg::spec::{DataFile, Datum};
use parquet::basic::Compression;
use parquet::file::reader::{FileReader, SerializedFileReader};
use proptest::prelude::*;
use rva_lake::{BronzeRow, CommitOutcome, Lake, TableSink};
use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

fn bronze() -> TableIdent {
    TableIdent::from_strs(["rva", "bronze_raw"]).unwrap()
}

async fn data_files(lake: &Lake) -> Vec<DataFile> {
    let table = lake.catalog().load_table(&bronze()).await.unwrap();
    let snapshot = table.metadata().current_snapshot().unwrap();
    let mut files = Vec::new();
    for manifest in table.manifest_list_reader(snapshot).load().await.unwrap().consume_entries() {
        let loaded = manifest.load_manifest(table.file_io()).await.unwrap();
        files.extend(loaded.entries().iter().map(|entry| entry.data_file().clone()));
    }
    files
}

fn run_id(number: u64) -> String {
    format!("0190{number:028x}")
}

#[tokio::test]
async fn files_are_zstd_with_bloom_filters_and_no_statistics_on_the_payload() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = quick();
    options.row_group_bytes = 20_000;
    let lake = Lake::open_embedded(dir.path(), options).await.unwrap();
    let mut sink = lake.bronze_sink().unwrap();
    // Payloads that don't compress, so that there are several row groups; ids of the full 64 bytes.
    let long = |c: char| c.to_string().repeat(64);
    let rows: Vec<BronzeRow> = (1..=1500)
        .map(|frame| {
            let mut row = row_of(&long('s'), &long('c'), &long('r'), frame);
            let pad: String = (0..150).map(|_| uuid::Uuid::new_v4().to_string()).collect();
            row.event.payload = format!("{pad}{frame}").into();
            row.event.schema_version = "v".repeat(if frame == 1200 { 300 } else { 1 }).into();
            row
        })
        .collect();
    sink.commit(&batch(at(&[]), at(&[("a", 1500)]), rows)).await.unwrap();
    let files = data_files(&lake).await;
    assert_eq!(files.len(), 1);
    let text = |id: i32, upper: bool| {
        let bounds = if upper { files[0].upper_bounds() } else { files[0].lower_bounds() };
        bounds.get(&id).map(|datum| datum.to_string())
    };
    assert_eq!(text(4, false), None, "no bounds of the payload");
    assert_eq!(text(2, true), Some(format!("\"{}\"", long('r'))));
    assert_eq!(text(1, true), Some(format!("\"{}\"", "v".repeat(300))), "nothing is cut off, so no group is skipped");
    let path = files[0].file_path().strip_prefix("file://").unwrap().to_owned();
    let reader = SerializedFileReader::new(std::fs::File::open(path).unwrap()).unwrap();
    assert!(reader.metadata().num_row_groups() > 1, "the test needs several row groups");
    for group in reader.metadata().row_groups() {
        assert!(group.columns().iter().all(|column| matches!(column.compression(), Compression::ZSTD(_))));
        assert!(group.column(1).bloom_filter_offset().is_some());
        assert!(group.column(3).statistics().is_none());
    }
    // The bound that was wrong: a long value in a group of its own must still be found through the file's bounds.
    let table = lake.catalog().load_table(&bronze()).await.unwrap();
    let filter = Reference::new("schema_version").equal_to(Datum::string("v".repeat(300)));
    let found: Vec<_> =
        table.scan().with_filter(filter).build().unwrap().to_arrow().await.unwrap().try_collect().await.unwrap();
    let found: usize = found.iter().map(arrow::record_batch::RecordBatch::num_rows).sum();
    assert_eq!(found, 1);
}

#[tokio::test]
async fn a_brand_new_run_costs_no_file_read_and_a_restart_reads_only_what_may_hold_its_keys() {
    let dir = tempfile::tempdir().unwrap();
    let lake = Lake::open_embedded(dir.path(), quick()).await.unwrap();
    let mut sink = lake.bronze_sink().unwrap();
    let mut from = at(&[]);
    for number in 1..=10 {
        let to = at(&[("a", number)]);
        sink.commit(&batch(from, to.clone(), vec![row(&run_id(number), 1)])).await.unwrap();
        from = to;
    }
    assert_eq!(sink.key_counts().files_read, 0, "each run was new");
    let mut restarted = lake.bronze_sink().unwrap();
    let to = at(&[("a", 11)]);
    restarted.commit(&batch(from, to.clone(), vec![row(&run_id(11), 1)])).await.unwrap();
    assert_eq!(restarted.key_counts().files_read, 0, "a new run sorts after all that is there");
    let outcome = restarted.commit(&batch(to, at(&[("a", 12)]), vec![row(&run_id(7), 1)])).await.unwrap();
    assert_eq!(outcome, CommitOutcome::Committed { rows_appended: 0, rows_known: 1 });
    assert_eq!(restarted.key_counts().files_read, 1);
}

#[tokio::test]
async fn the_key_index_stays_within_its_bound_and_forgets_nothing_that_matters() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = quick();
    options.key_bytes_max = 1_500;
    let lake = Lake::open_embedded(dir.path(), options).await.unwrap();
    let mut sink = lake.bronze_sink().unwrap();
    let mut from = at(&[]);
    let mut number = 0;
    for round in 0..2 {
        for run in 1..=8 {
            number += 1;
            let to = at(&[("a", number)]);
            let outcome = sink.commit(&batch(from, to.clone(), vec![row(&run_id(run), 1)])).await.unwrap();
            let fresh = u64::from(round == 0);
            assert_eq!(outcome, CommitOutcome::Committed { rows_appended: fresh, rows_known: 1 - fresh });
            assert!(sink.key_bytes() <= 1_500, "{}", sink.key_bytes());
            from = to;
        }
    }
    assert!(sink.key_counts().blocks_dropped > 0);
}

/// A commit of both cameras of a store: one began at frame 1, the other is `ahead`.
async fn commit_both(sink: &mut rva_lake::BronzeSink, number: u64, ahead: i64) -> CommitOutcome {
    let frames = |first: i64| (first..first + 3).map(|frame| frame + i64::try_from(number).unwrap() * 3);
    let one = frames(1).map(|frame| row_of("store", "door", &run_id(2), frame));
    let other = frames(1 + ahead).map(|frame| row_of("store", "till", &run_id(1), frame));
    let from = if number == 0 { at(&[]) } else { at(&[("a", number)]) };
    sink.commit(&batch(from, at(&[("a", number + 1)]), one.chain(other).collect())).await.unwrap()
}

#[tokio::test]
async fn after_a_restart_runs_that_go_on_read_no_file_where_the_bounds_say_that_nothing_is_behind_them() {
    let dir = tempfile::tempdir().unwrap();
    let lake = Lake::open_embedded(dir.path(), quick()).await.unwrap();
    let mut sink = lake.bronze_sink().unwrap();
    let fresh = CommitOutcome::Committed { rows_appended: 6, rows_known: 0 };
    for number in 0..20 {
        assert_eq!(commit_both(&mut sink, number, 0).await, fresh);
    }
    let mut restarted = lake.bronze_sink().unwrap();
    for number in 20..23 {
        assert_eq!(commit_both(&mut restarted, number, 0).await, fresh);
    }
    assert_eq!(restarted.key_counts().files_read, 0);
    // Frames from before the restart are looked up all the same.
    let old = vec![row_of("store", "door", &run_id(2), 4), row_of("store", "door", &run_id(2), -4)];
    let outcome = restarted.commit(&batch(at(&[("a", 23)]), at(&[("a", 24)]), old)).await.unwrap();
    assert_eq!(outcome, CommitOutcome::Committed { rows_appended: 1, rows_known: 1 });
    assert_eq!(table_keys(&lake).await.len(), 23 * 6 + 1);
}

#[tokio::test]
async fn a_camera_far_behind_another_of_its_store_is_read_once_after_a_restart_and_never_again() {
    let dir = tempfile::tempdir().unwrap();
    let lake = Lake::open_embedded(dir.path(), quick()).await.unwrap();
    let mut sink = lake.bronze_sink().unwrap();
    let fresh = CommitOutcome::Committed { rows_appended: 6, rows_known: 0 };
    // Many blocks ahead: every file's bounds leave room for what comes of the other camera.
    for number in 0..20 {
        assert_eq!(commit_both(&mut sink, number, 1_000_000).await, fresh);
    }
    assert_eq!(sink.key_counts().files_read, 0, "what a process wrote itself it knows");
    let mut restarted = lake.bronze_sink().unwrap();
    assert_eq!(commit_both(&mut restarted, 20, 1_000_000).await, fresh);
    assert_eq!(restarted.key_counts().files_read, 20);
    // Over the edge of several blocks.
    let mut from = at(&[("a", 21)]);
    for (number, frame) in (22..).zip((65_530..400_000).step_by(30_000)) {
        let to = at(&[("a", number)]);
        let rows = (frame..frame + 10).map(|frame| row_of("store", "door", &run_id(2), frame)).collect();
        restarted.commit(&batch(from, to.clone(), rows)).await.unwrap();
        from = to;
    }
    assert_eq!(restarted.key_counts().files_read, 20, "a run is looked up once, however long it lasts");
}

/// Who commits a batch.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Turn {
    Ours,
    Restarted,
    Other,
}

/// Frames as store, camera and number.
type Frames = Vec<(u8, u8, i64)>;

fn arbitrary_batches() -> impl Strategy<Value = Vec<(Turn, Frames)>> {
    let turn = prop_oneof![Just(Turn::Ours), Just(Turn::Restarted), Just(Turn::Other)];
    let frame = prop_oneof![
        0..40i64,
        (65_530..65_545i64),
        (-5..5i64),
        Just(i64::MIN),
        Just(i64::MAX),
        Just(i64::MIN + 65_536),
    ];
    proptest::collection::vec((turn, proptest::collection::vec((0..3u8, 0..2u8, frame), 0..12)), 1..9)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn whatever_comes_in_whatever_order_is_in_the_table_once(
        batches in arbitrary_batches(),
        bytes_max in prop_oneof![Just(1usize), Just(800), Just(32 << 20)],
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let mut options = quick();
            options.key_bytes_max = bytes_max;
            let lake = Lake::open_embedded(dir.path(), options).await.unwrap();
            // Another worker, whose commits come between.
            let other = lake.for_job("other".parse().unwrap());
            let mut sinks = [(lake.bronze_sink().unwrap(), at(&[])), (other.bronze_sink().unwrap(), at(&[]))];
            let mut wanted = BTreeSet::new();
            for (number, (turn, keys)) in (1..).zip(&batches) {
                let (sink, from) = &mut sinks[usize::from(*turn == Turn::Other)];
                if *turn == Turn::Restarted {
                    *sink = lake.bronze_sink().unwrap();
                }
                let to = at(&[("a", number)]);
                let rows: Vec<_> = keys
                    .iter()
                    .map(|(run, camera, frame)| row_of("s", &format!("cam{camera}"), &format!("run{run}"), *frame))
                    .collect();
                let before = wanted.len();
                wanted.extend(keys.iter().map(|(run, camera, frame)| (format!("run{run}"), format!("cam{camera}"), *frame)));
                let fresh = (wanted.len() - before) as u64;
                let outcome = sink.commit(&batch(from.clone(), to.clone(), rows)).await.unwrap();
                let rows_known = keys.len() as u64 - fresh;
                assert_eq!(outcome, CommitOutcome::Committed { rows_appended: fresh, rows_known });
                *from = to;
            }
            assert_eq!(table_keys(&lake).await, wanted.into_iter().collect::<Vec<_>>());
        });
    }
}

fn set_modified(path: &std::path::Path, time: SystemTime) {
    std::fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
}

#[tokio::test]
async fn orphans_go_when_they_are_old_and_nothing_else_does() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = quick();
    options.housekeeping.orphan_age = Duration::from_secs(3600);
    let lake = Lake::open_embedded(dir.path(), options).await.unwrap();
    let mut sink = lake.bronze_sink().unwrap();
    sink.commit(&batch(at(&[]), at(&[("a", 1)]), vec![row("run", 1)])).await.unwrap();
    let root = common::bronze_folder(dir.path());
    // As if the table had been made three days ago.
    let days_ago = |days: u64| SystemTime::now() - Duration::from_secs(days * 24 * 3600);
    let made = days_ago(3).duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis().to_string();
    common::change_metadata(dir.path(), lake.catalog().as_ref(), |builder| {
        builder.set_properties([("rva.made-ms".to_owned(), made)].into())
    })
    .await;
    let make = |name: &str, old: bool| {
        let path = root.join(name);
        std::fs::write(&path, b"left by a crash").unwrap();
        if old {
            set_modified(&path, days_ago(2));
        }
        path
    };
    let ours = || uuid::Uuid::now_v7();
    let gone = [
        make(&format!("data/store_id=store_01/{}.parquet", ours()), true),
        make(&format!("metadata/{}-m0.avro", ours()), true),
        make(&format!("metadata/00009-{}.metadata.json", ours()), true),
        make(&format!("data/store_id=store_01/.{}.parquet.17.tmp", ours()), true),
    ];
    let stays = [
        make(&format!("data/store_id=store_01/{}.parquet", ours()), false),
        make("metadata/young-m0.avro", false),
        make("data/notes.txt", true),
        // What another engine is about to commit.
        make(&format!("data/store_id=store_01/00000-0-{}.parquet", ours()), true),
    ];
    // What the table references stays however old it is.
    let listed = rva_lake::storage::LakeStorage::default().list(&format!("file://{}", root.display())).await.unwrap();
    for file in listed.iter().map(|file| std::path::Path::new(file.location.strip_prefix("file://").unwrap())) {
        if !stays.iter().any(|path| path == file) {
            set_modified(file, days_ago(2));
        }
    }
    // The walk follows the first commit of a process.
    let mut restarted = lake.bronze_sink().unwrap();
    restarted.commit(&batch(at(&[("a", 1)]), at(&[("a", 2)]), vec![row("run", 2)])).await.unwrap();
    for path in gone {
        assert!(!path.exists(), "{}", path.display());
    }
    for path in &stays {
        assert!(path.exists(), "{}", path.display());
    }
    // A file from before the table was made: somebody had this folder before.
    let ours = make(&format!("data/store_id=store_01/{}.parquet", uuid::Uuid::now_v7()), true);
    let foreign = make("data/notes.parquet", true);
    set_modified(&foreign, days_ago(4));
    let mut restarted = lake.bronze_sink().unwrap();
    restarted.commit(&batch(at(&[("a", 2)]), at(&[("a", 3)]), vec![row("run", 3)])).await.unwrap();
    assert!(ours.exists() && foreign.exists());
    assert_eq!(table_keys(&lake).await, keys_of("run", 1..=3));
}

#[tokio::test]
async fn the_newest_snapshot_with_our_map_outlives_others_commits() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = quick();
    options.housekeeping.snapshots_kept = 2;
    options.housekeeping.snapshots_slack = 1;
    let mut other = options.clone();
    other.job = "other".parse().unwrap();
    let lake = Lake::open_embedded(dir.path(), options).await.unwrap();
    lake.bronze_sink().unwrap().commit(&batch(at(&[]), at(&[("a", 1)]), vec![row("run", 1)])).await.unwrap();
    let ours = lake.catalog().load_table(&bronze()).await.unwrap().metadata().current_snapshot_id().unwrap();
    let others = Lake::open_embedded(dir.path(), other).await.unwrap();
    let mut sink = others.bronze_sink().unwrap();
    let mut from = at(&[]);
    for number in 1..=9 {
        let to = at(&[("x", number)]);
        sink.commit(&batch(from, to.clone(), vec![row("other", i64::try_from(number).unwrap())])).await.unwrap();
        from = to;
    }
    let table = lake.catalog().load_table(&bronze()).await.unwrap();
    assert!(table.metadata().snapshot_by_id(ours).is_some(), "it carries our job's newest map");
    assert!(table.metadata().snapshots().len() <= 4, "{}", table.metadata().snapshots().len());
    let mut sink = lake.bronze_sink().unwrap();
    let resume = sink.resume_point().await.unwrap();
    assert_eq!((resume.offsets, resume.rolled_back_from), (at(&[("a", 1)]), None));
    sink.commit(&batch(at(&[("a", 1)]), at(&[("a", 2)]), vec![row("run", 2), row("other", 3)])).await.unwrap();
    let mut wanted = keys_of("other", 1..=9);
    wanted.extend(keys_of("run", 1..=2));
    assert_eq!(table_keys(&lake).await, wanted);
}

/// Of a file's run ids, those that its filters say may be there, and how large the filters are.
fn filtered(file: &DataFile, runs: impl Iterator<Item = String>) -> (usize, i64) {
    use parquet::file::properties::ReaderProperties;
    use parquet::file::serialized_reader::ReadOptionsBuilder;
    let path = file.file_path().strip_prefix("file://").unwrap();
    let properties = ReaderProperties::builder().set_read_bloom_filter(true).build();
    let options = ReadOptionsBuilder::new().with_reader_properties(properties).build();
    let reader = SerializedFileReader::new_with_options(std::fs::File::open(path).unwrap(), options).unwrap();
    let groups = 0..reader.num_row_groups();
    let groups: Vec<_> = groups.map(|at| reader.get_row_group(at).unwrap()).collect();
    let found = runs
        .filter(|run| groups.iter().any(|group| group.get_column_bloom_filter(1).unwrap().check(&run.as_str())))
        .count();
    let lengths = groups.iter().map(|group| group.metadata().column(1).bloom_filter_length().unwrap());
    (found, lengths.map(i64::from).sum())
}

#[tokio::test]
async fn a_filter_holds_as_many_runs_as_its_file_has_and_a_file_of_one_run_has_a_small_one() {
    for (runs, bytes_max) in [(1_u64, 64), (12_000, 40_000)] {
        let dir = tempfile::tempdir().unwrap();
        let lake = Lake::open_embedded(dir.path(), quick()).await.unwrap();
        let rows = (1..=runs).map(|number| row(&run_id(number), 1)).collect();
        lake.bronze_sink().unwrap().commit(&batch(at(&[]), at(&[("a", 1)]), rows)).await.unwrap();
        let files = data_files(&lake).await;
        assert_eq!(files.len(), 1);
        let (found, bytes) = filtered(&files[0], (1..=runs).map(run_id));
        assert_eq!(found as u64, runs, "a filter never says no to what is there");
        let (wrong, _) = filtered(&files[0], (1_000_000..1_020_000).map(run_id));
        println!("{runs} runs: a filter of {bytes} bytes, {wrong} of 20000 others pass it");
        assert!(wrong <= 500, "{wrong} of 20000, wanted about 200");
        assert!(bytes <= bytes_max, "{bytes}");
    }
}
