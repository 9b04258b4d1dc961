//! Tests of what a look for orphans reads, and of what it finds.

use super::*;
use crate::cells::Shape;
use crate::lake::Lake;
use crate::medallion::{CameraMinute, SilverFrames};
use crate::small::{add, avro_files, files, replace};
use std::path::{Path, PathBuf};

const HOUR: Duration = Duration::from_secs(3600);

async fn opened(folder: &Path) -> Lake {
    let mut options = LakeOptions::default();
    options.housekeeping.orphan_age = HOUR;
    Lake::open_embedded(folder, options).await.unwrap()
}

async fn table(lake: &Lake) -> Table {
    let ident = iceberg::TableIdent::from_strs(["rva", CameraMinute::TABLE]).unwrap();
    lake.catalog.load_table(&ident).await.unwrap()
}

/// Returns what a process finds that has just begun.
async fn found(lake: &Lake) -> std::result::Result<Vec<PathBuf>, LakeError> {
    let mut list = FileList::of_columns(CameraMinute::SPAN);
    let orphans = Housekeeper::default().orphans(&lake.catalog, &table(lake).await, &mut list, &lake.options).await?;
    Ok(orphans.unwrap().into_iter().map(|file| PathBuf::from(plain(&file.location))).collect())
}

/// Makes a file as old as two orphan ages.
fn age(path: &Path) {
    let file = std::fs::File::options().write(true).open(path).unwrap();
    file.set_modified(SystemTime::now() - 2 * HOUR).unwrap();
}

/// Returns the manifests that a snapshot needs, and their list.
async fn needed(table: &Table, snapshots: &[SnapshotRef]) -> HashSet<PathBuf> {
    let manifests = manifests_of(table, snapshots).await.unwrap().into_keys();
    let lists = snapshots.iter().map(|snapshot| plain(snapshot.manifest_list()));
    manifests.chain(lists).map(PathBuf::from).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn while_no_file_is_old_only_the_first_and_the_last_snapshot_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let lake = opened(folder.path()).await;
    add::<CameraMinute>(&lake, 1).await;
    replace::<CameraMinute>(&lake, 8).await;
    let table = table(&lake).await;
    let kept = needed(&table, &ends(table.metadata())).await;
    let spoilt: Vec<PathBuf> = avro_files(folder.path()).into_iter().filter(|path| !kept.contains(path)).collect();
    assert!(spoilt.len() >= 7, "{spoilt:?}");
    spoilt.iter().for_each(|path| std::fs::write(path, "spoilt").unwrap());
    // What both name may be old.
    kept.iter()
        .filter(|path| **path != Path::new(&plain(table.metadata().current_snapshot().unwrap().manifest_list())))
        .for_each(|path| age(path));
    assert_eq!(found(&lake).await.unwrap(), [] as [PathBuf; 0]);
    // An old file that neither of them names: all must be asked.
    let is_list = |path: &Path| path.file_name().unwrap().to_string_lossy().starts_with("snap-");
    age(spoilt.iter().find(|path| !is_list(path)).unwrap());
    let text = found(&lake).await.unwrap_err().to_string();
    assert!(text.contains("could not look for orphans"), "{text}");
}

/// Of files that went long ago nothing stays in memory, unless somebody asks for them later.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_whose_changes_nobody_takes_keeps_the_live_files_only() {
    let folder = tempfile::tempdir().unwrap();
    let lake = opened(folder.path()).await;
    add::<CameraMinute>(&lake, 1).await;
    let mut walked = FileList::of_columns(CameraMinute::SPAN);
    let mut asked = FileList::with_changes(CameraMinute::SPAN);
    let mut seen = Vec::new();
    for _ in 0..4 {
        for list in [&mut walked, &mut asked] {
            list.follow(&table(&lake).await).await.unwrap();
        }
        seen.extend(walked.iter().map(std::sync::Arc::downgrade));
        replace::<CameraMinute>(&lake, 1).await;
    }
    assert_eq!(asked.take_changes().added.len(), seen.len(), "these are told of all of them");
    let live: Vec<_> = walked.iter().map(|file| file.path.clone()).collect();
    let held: Vec<_> = seen.iter().filter_map(std::sync::Weak::upgrade).map(|file| file.path.clone()).collect();
    assert_eq!(held, live);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_file_goes_unless_any_snapshot_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let lake = opened(folder.path()).await;
    add::<CameraMinute>(&lake, 1).await;
    replace::<CameraMinute>(&lake, 6).await;
    let data = files(folder.path(), ".parquet");
    assert_eq!(data.len(), 7);
    let newest = table(&lake).await.metadata_location().map(plain).unwrap();
    let all = files(folder.path(), "").into_iter().filter(|path| path.starts_with(folder.path().join("warehouse")));
    all.filter(|path| *path != Path::new(&newest)).for_each(|path| age(&path));
    assert_eq!(found(&lake).await.unwrap(), [] as [PathBuf; 0]);
    let orphan = data[0].with_file_name(format!("{}.parquet", uuid::Uuid::now_v7()));
    std::fs::write(&orphan, "cut off").unwrap();
    assert_eq!(found(&lake).await.unwrap(), [] as [PathBuf; 0], "it is young");
    // It must not be older than its table.
    let mut metadata = HashMap::new();
    metadata.insert(crate::definition::MADE.to_owned(), "1".to_owned());
    let ident = table(&lake).await.identifier().clone();
    let made = iceberg::TableUpdate::SetProperties { updates: metadata };
    lake.swap.swap(&ident, Vec::new(), vec![made]).await.unwrap();
    age(&orphan);
    assert_eq!(found(&lake).await.unwrap(), [orphan]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_gold_keeps_fewer_snapshots() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = LakeOptions::default();
    let limits = &mut options.housekeeping;
    (limits.snapshots_kept, limits.gold_snapshots_kept, limits.snapshots_slack) = (6, 3, 0);
    let lake = Lake::open_embedded(folder.path(), options).await.unwrap();
    add::<SilverFrames>(&lake, 9).await;
    add::<CameraMinute>(&lake, 9).await;
    for (name, wanted) in [(SilverFrames::TABLE, 6), (CameraMinute::TABLE, 3)] {
        let ident = iceberg::TableIdent::from_strs(["rva", name]).unwrap();
        let found = lake.catalog.load_table(&ident).await.unwrap().metadata().snapshots().len();
        assert_eq!(found, wanted, "{name}");
    }
}
