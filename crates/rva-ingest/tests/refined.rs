//! Silver and gold behind real REST catalogs: the same rows as a data folder gives, whatever the catalog answers, whoever
//! else refines.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[allow(dead_code, reason = "shared with the tests of rva-refine, which use all of it")]
#[path = "../../rva-refine/tests/equality/shop.rs"]
mod shop;

use iceberg::io::Storage;
use iceberg::spec::Operation;
use iceberg::{NamespaceIdent, TableIdent};
use rva_lake::{
    BackupStore, CameraMinute, Columns, HourByCam, Lake, LakeErrorKind, LakeOptions, LineCrossings, MergeLimits,
    MinuteByCam, PeoplePerMinute, RestOptions, RestoreTarget, RowFilter, Shape, SilverDetections, SilverFrames,
    SilverRejects, TrackSummary, ZoneDwell, ZoneHeatmap, ZoneMinute, ZoneVisits,
    storage::{LakeStorageFactory, S3Keys, S3Options},
};
use rva_refine::{Rebuild, RebuildTables, Refine};
use rva_stack::Stack;
use rva_stack::proxy::{Proxy, Then};
use shop::{Bronze, Random, T0, draw, film, quick, refine, shape};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime},
};
use tempfile::TempDir;

/// The tables that are compared, and the number of their last columns that say when somebody worked.
const TABLES: [(&str, &Columns, usize); 13] = [
    (SilverFrames::TABLE, SilverFrames::COLUMNS, 1),
    (SilverDetections::TABLE, SilverDetections::COLUMNS, 1),
    (SilverRejects::TABLE, SilverRejects::COLUMNS, 1),
    (MinuteByCam::TABLE, MinuteByCam::COLUMNS, 0),
    (HourByCam::TABLE, HourByCam::COLUMNS, 0),
    (PeoplePerMinute::TABLE, PeoplePerMinute::COLUMNS, 0),
    (CameraMinute::TABLE, CameraMinute::COLUMNS, 0),
    (ZoneHeatmap::TABLE, ZoneHeatmap::COLUMNS, 0),
    (ZoneDwell::TABLE, ZoneDwell::COLUMNS, 0),
    (TrackSummary::TABLE, TrackSummary::COLUMNS, 0),
    (LineCrossings::TABLE, LineCrossings::COLUMNS, 0),
    (ZoneVisits::TABLE, ZoneVisits::COLUMNS, 0),
    (ZoneMinute::TABLE, ZoneMinute::COLUMNS, 0),
];

/// Rows of a table as text, sorted, each as often as it stands there.
async fn rows(lake: &Lake, table: &str, columns: &'static Columns, left_out: usize) -> Vec<String> {
    let view = lake.view(table).await.unwrap().unwrap_or_else(|| panic!("no {table}"));
    let found = view.rows(columns, &RowFilter::default()).await.unwrap();
    let mut rows: Vec<String> = found.iter().map(|row| format!("{:?}", &row[..row.len() - left_out])).collect();
    rows.sort();
    rows
}

async fn all_rows(lake: &Lake) -> BTreeMap<&'static str, Vec<String>> {
    let mut all = BTreeMap::new();
    for (table, columns, left_out) in TABLES {
        all.insert(table, rows(lake, table, columns, left_out).await);
    }
    all
}

/// Compares every table with the data folder's, and returns the number of rows of gold.
async fn compare(found: &Lake, wanted: &Lake, place: &str) -> usize {
    let (found, wanted) = (all_rows(found).await, all_rows(wanted).await);
    for (table, rows) in &wanted {
        assert_eq!(&found[table], rows, "{place}: {table}");
    }
    wanted.iter().filter(|(table, _)| table.starts_with("gold_")).map(|(_, rows)| rows.len()).sum()
}

fn s3(stack: &Stack) -> S3Options {
    let keys = S3Keys {
        access_key: stack.get("S3_ACCESS_KEY").to_owned(),
        secret_key: stack.get("S3_SECRET_KEY").to_owned(),
        session_token: None,
    };
    S3Options {
        endpoint: Some(stack.get("S3_ENDPOINT").to_owned()),
        region: Some(stack.get("S3_REGION").to_owned()),
        keys: Some(keys),
        ..S3Options::default()
    }
}

fn options(stack: &Stack) -> LakeOptions {
    let mut options = LakeOptions::default().with_s3(s3(stack));
    options.retry = quick().retry;
    options
}

/// Opens a catalog whose namespace holds none of our tables: whoever ran before leaves what it worked on.
async fn empty(rest: &RestOptions, options: LakeOptions) -> Lake {
    let lake = Lake::open_rest(rest, options.clone()).await.unwrap();
    let catalog = lake.catalog();
    for table in catalog.list_tables(&NamespaceIdent::new("rva".to_owned())).await.unwrap() {
        catalog.drop_table(&table).await.unwrap();
    }
    Lake::open_rest(rest, options).await.unwrap()
}

/// Frames of two shops in parts, in no order.
fn parts(random: &mut Random, count: usize) -> Vec<Vec<rva_lake::BronzeRow>> {
    let mut rows = Vec::new();
    for (store, camera, run, start) in [
        ("a", "door", "run-1", T0),
        ("a", "till", "run-2", T0 + 120_000_000),
        ("b/é", "door", "run-3", T0),
        ("a", "door", "run-4", T0 + 300_000_000),
        ("a", "door", "run-0", T0 - 3_600_000_000),
    ] {
        rows.extend(film(random, store, camera, run, start, 240.0));
    }
    for at in (1..rows.len()).rev() {
        let other = random.below(at as u64 + 1) as usize;
        rows.swap(at, other);
    }
    rows.chunks(rows.len().div_ceil(count)).map(<[_]>::to_vec).collect()
}

async fn draw_first(lake: &Lake) {
    let middle = shape("door", "middle", "line", "[[0.5,0.05],[0.45,0.95]]", 0, None);
    let shelf = "[[0.2,0.3],[0.7,0.3],[0.7,0.95],[0.45,0.5],[0.2,0.95]]";
    draw(lake, vec![middle, shape("door", "shelf", "zone", shelf, 0, None)]).await;
}

/// Refines until nothing is left, also where the other one is in the way.
async fn to_the_end(job: &mut Refine) {
    for _ in 0..50 {
        match job.drain().await {
            Ok(()) => return,
            Err(error) => assert_eq!(error.kind(), LakeErrorKind::Transient, "{error}"),
        }
    }
    panic!("found no end of it");
}

/// Bronze grows; two refine it at once; `fault` happens to the catalog's answers before each part.
async fn gold_is_what_a_data_folder_gives(open: &Lake, second: &Lake, fault: impl Fn(usize)) -> (Lake, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let own = Lake::open_embedded(folder.path(), quick()).await.unwrap();
    let (mut bronze, mut own_bronze) = (Bronze::of(open), Bronze::of(&own));
    for lake in [open, &own] {
        draw_first(lake).await;
    }
    let (mut one, mut two) = (refine(open).await, refine(second).await);
    let mut own_job = refine(&own).await;
    for (at, part) in parts(&mut Random(11), 4).into_iter().enumerate() {
        own_bronze.append(part.clone()).await;
        bronze.append(part).await;
        if at % 2 == 0 {
            // Two commits of bronze at once.
            continue;
        }
        fault(at);
        tokio::join!(to_the_end(&mut one), to_the_end(&mut two));
        own_job.drain().await.unwrap();
        let compared = compare(open, &own, &format!("part {at}")).await;
        println!("part {at}: {compared} rows of gold are the same");
        assert!(compared > 100, "{compared} rows show nothing");
    }
    let overtaken = one.counters.fenced + two.counters.fenced;
    assert!(overtaken > 0, "nobody was overtaken: {:?} {:?}", one.counters, two.counters);
    // Everything once more, whatever stands there.
    let again = Rebuild { tables: RebuildTables::Gold, span: None };
    one.rebuild(&again).await.unwrap();
    compare(open, &own, "rebuilt").await;
    (own, folder)
}

async fn operations(lake: &Lake, table: &str) -> BTreeSet<String> {
    let ident = TableIdent::from_strs(["rva", table]).unwrap();
    let table = lake.catalog().load_table(&ident).await.unwrap();
    let name = |operation: &Operation| format!("{operation:?}");
    table.metadata().snapshots().map(|snapshot| name(&snapshot.summary().operation)).collect()
}

/// The rows of a table as pyiceberg counts and sums them: people of all minutes.
fn read_by_pyiceberg(stack: &Stack) -> String {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.venv/bin/python");
    let python = std::env::var_os("RVA_PYTHON").map_or(own, PathBuf::from);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/read_gold.py");
    let mut command = Command::new(&python);
    let output = command.arg(script).envs(stack.environment()).output();
    let output = output.unwrap_or_else(|error| panic!("{} didn't start: {error}", python.display()));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gold_behind_apaches_catalog_is_what_a_data_folder_gives_though_answers_are_lost() {
    let Some(stack) = rva_stack::stack() else { return };
    let _turn = stack.alone().await; // the tables of one namespace
    let proxy = Proxy::start(stack.get("ICEBERG_CATALOG_URI")).await.unwrap();
    let behind = RestOptions::new(&proxy.uri);
    let plain = RestOptions::new(stack.get("ICEBERG_CATALOG_URI"));
    let lake = empty(&plain, options(stack)).await;
    let troubled = Lake::open_rest(&behind, options(stack)).await.unwrap();
    let fault = |_| {
        let asked = AtomicU64::new(0);
        proxy.rule(move |head| {
            let is_commit = head.starts_with("POST ") && head.contains("/tables/");
            match is_commit.then(|| asked.fetch_add(1, Ordering::SeqCst) % 7) {
                Some(1) => Then::DoAndBreak,
                Some(3) => Then::DoAndFail,
                Some(5) => Then::Fail,
                _ => Then::Pass,
            }
        });
    };
    let (own, _folder) = gold_is_what_a_data_folder_gives(&lake, &troubled, fault).await;
    let people = operations(&lake, PeoplePerMinute::TABLE).await;
    assert_eq!(people, BTreeSet::from(["Append".to_owned(), "Overwrite".to_owned()]));
    // Small files merged: the same rows, by the same commit.
    let all = MergeLimits { files_min: 2, age_min: Duration::ZERO, ..MergeLimits::default() };
    let merged = lake.merge_files(None, &all, SystemTime::now()).await.unwrap();
    assert!(merged.iter().any(|table| table.commits > 0 && table.files > table.files_written), "{merged:?}");
    compare(&lake, &own, "merged").await;
    let minutes = rows(&own, PeoplePerMinute::TABLE, PeoplePerMinute::COLUMNS, 0).await.len();
    let told = read_by_pyiceberg(stack);
    assert!(told.starts_with(&format!("{minutes} minutes")), "wanted {minutes} minutes of pyiceberg: {told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gold_behind_nessie_is_what_a_data_folder_gives() {
    let Some(stack) = rva_stack::stack() else { return };
    let _turn = stack.alone().await; // the tables of one namespace
    let environment = stack.optional("nessie");
    let rest =
        RestOptions { warehouse: Some("lakehouse".into()), ..RestOptions::new(&environment["NESSIE_CATALOG_URI"]) };
    let lake = empty(&rest, options(stack)).await;
    let second = Lake::open_rest(&rest, options(stack)).await.unwrap();
    gold_is_what_a_data_folder_gives(&lake, &second, |_| {}).await;
}

/// The tables of a catalog and all their files are lost, come back from a backup, and are gone on with: the rows are
/// those of a data folder to which nothing happened.
async fn what_is_lost_comes_back(rest: &RestOptions, stack: &Stack) {
    let folder = tempfile::tempdir().unwrap();
    let own = Lake::open_embedded(&folder.path().join("own"), quick()).await.unwrap();
    let lake = empty(rest, options(stack)).await;
    for lake in [&lake, &own] {
        draw_first(lake).await;
    }
    let parts = parts(&mut Random(12), 4);
    let mut bronze = Bronze::of(&lake);
    bronze.append(parts[0].clone()).await;
    refine(&lake).await.drain().await.unwrap();
    // Silver and gold are behind bronze when the backup is made.
    bronze.append(parts[1].clone()).await;
    let place = folder.path().join("store").display().to_string();
    let store = BackupStore::at(LakeStorageFactory::default().storage(), &place).unwrap();
    let made = lake.back_up(&store, None).await.unwrap();
    assert_eq!(store.verify(None).await.unwrap().findings, []);
    bronze.append(parts[2].clone()).await;

    let (catalog, files) = (lake.catalog(), LakeStorageFactory::with_s3(s3(stack)).storage());
    for ident in catalog.list_tables(&NamespaceIdent::new("rva".to_owned())).await.unwrap() {
        let location = catalog.load_table(&ident).await.unwrap().metadata().location().to_owned();
        let target = RestoreTarget::Rest { rest: Box::new(rest.clone()), namespace: "rva".into() };
        let refused = store.restore(&made.backup, &target, &options(stack)).await.unwrap_err().to_string();
        assert!(refused.contains("already") && refused.contains("nothing was written"), "{refused}");
        catalog.drop_table(&ident).await.unwrap();
        files.delete_prefix(&location).await.unwrap();
    }
    let target = RestoreTarget::Rest { rest: Box::new(rest.clone()), namespace: "rva".into() };
    let restored = store.restore(&made.backup, &target, &options(stack)).await.unwrap();
    println!("restored {} files, {} bytes", restored.files, restored.bytes);

    let lake = Lake::open_rest(rest, options(stack)).await.unwrap();
    let mut bronze = Bronze::of(&lake);
    bronze.resume().await;
    let (mut own_bronze, mut own_job) = (Bronze::of(&own), refine(&own).await);
    for part in &parts {
        own_bronze.append(part.clone()).await;
    }
    own_job.drain().await.unwrap();
    // The log gives what came since, and some of what is there already.
    for part in &parts[1..] {
        bronze.append(part.clone()).await;
    }
    refine(&lake).await.drain().await.unwrap();
    let compared = compare(&lake, &own, "restored").await;
    assert!(compared > 100, "{compared} rows show nothing");
    let again = lake.back_up(&store, Some(1)).await.unwrap();
    assert!(again.files_copied < again.backup.size().0, "data files are known from the first backup");
    assert_eq!(store.verify(None).await.unwrap().findings, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_of_apaches_catalog_that_are_lost_with_their_store_come_back_from_a_backup() {
    let Some(stack) = rva_stack::stack() else { return };
    let _turn = stack.alone().await; // the tables of one namespace
    what_is_lost_comes_back(&RestOptions::new(stack.get("ICEBERG_CATALOG_URI")), stack).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_of_nessie_that_are_lost_with_their_store_come_back_from_a_backup() {
    let Some(stack) = rva_stack::stack() else { return };
    let _turn = stack.alone().await; // the tables of one namespace
    let environment = stack.optional("nessie");
    let rest =
        RestOptions { warehouse: Some("lakehouse".into()), ..RestOptions::new(&environment["NESSIE_CATALOG_URI"]) };
    what_is_lost_comes_back(&rest, stack).await;
}
