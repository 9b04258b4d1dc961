//! The embedded lake: made, opened again, refused, and its rows once.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use common::{at, batch, keys_of, quick, row, row_of, table_keys};
use rva_lake::{CommitOutcome, Lake, LakeErrorKind, TableSink};
use sqlx::Connection;

#[tokio::test]
async fn rows_and_offsets_are_there_after_opening_again() {
    let dir = tempfile::tempdir().unwrap();
    {
        let lake = Lake::open_embedded(dir.path(), quick()).await.unwrap();
        let mut sink = lake.bronze_sink().unwrap();
        assert_eq!(sink.resume_point().await.unwrap(), Default::default());
        let rows = (1..=5).map(|frame| row("run", frame)).collect();
        let outcome = sink.commit(&batch(at(&[]), at(&[("cam_01", 5)]), rows)).await.unwrap();
        assert_eq!(outcome, CommitOutcome::Committed { rows_appended: 5, rows_known: 0 });
    }
    let lake = Lake::open_embedded(dir.path(), quick()).await.unwrap();
    let mut sink = lake.bronze_sink().unwrap();
    let resume = sink.resume_point().await.unwrap();
    assert_eq!(resume.offsets, at(&[("cam_01", 5)]));
    assert_eq!((resume.source.as_deref(), resume.sequence), (Some(common::SOURCE), 1));
    assert_eq!(table_keys(&lake).await, keys_of("run", 1..=5));
}

#[tokio::test]
async fn an_event_that_comes_twice_is_in_the_table_once() {
    let dir = tempfile::tempdir().unwrap();
    let lake = Lake::open_embedded(dir.path(), quick()).await.unwrap();
    let mut sink = lake.bronze_sink().unwrap();
    let rows = vec![row("run", 1), row("run", 2), row("run", 1), row("run", i64::MIN), row("run", i64::MAX)];
    let outcome = sink.commit(&batch(at(&[]), at(&[("a", 5)]), rows)).await.unwrap();
    assert_eq!(outcome, CommitOutcome::Committed { rows_appended: 4, rows_known: 1 });
    let again = vec![row("run", 2), row("run", 3), row("run", i64::MIN), row("run", -1)];
    let outcome = sink.commit(&batch(at(&[("a", 5)]), at(&[("a", 9)]), again.clone())).await.unwrap();
    assert_eq!(outcome, CommitOutcome::Committed { rows_appended: 2, rows_known: 2 });
    // A sink that remembers nothing learns it from the table.
    let mut fresh = lake.bronze_sink().unwrap();
    let outcome = fresh.commit(&batch(at(&[("a", 9)]), at(&[("a", 13)]), again)).await.unwrap();
    assert_eq!(outcome, CommitOutcome::Committed { rows_appended: 0, rows_known: 4 });
    assert_eq!(table_keys(&lake).await, keys_of("run", [i64::MIN, -1, 1, 2, 3, i64::MAX]));
    assert_eq!(fresh.resume_point().await.unwrap().offsets, at(&[("a", 13)]));
}

/// The file that the catalog names as the newest metadata of bronze.
async fn newest_metadata(lake: &Lake) -> std::path::PathBuf {
    let table =
        lake.catalog().load_table(&iceberg::TableIdent::from_strs(["rva", "bronze_raw"]).unwrap()).await.unwrap();
    table.metadata_location().unwrap().trim_start_matches("file://").into()
}

#[tokio::test]
async fn metadata_is_read_once_and_never_believed_to_be_newer_than_the_catalog_says() {
    let dir = tempfile::tempdir().unwrap();
    let ours = Lake::open_embedded(dir.path(), quick()).await.unwrap();
    let mut sink = ours.bronze_sink().unwrap();
    sink.commit(&batch(at(&[]), at(&[("a", 1)]), vec![row("run", 1)])).await.unwrap();
    // Who commits has it in memory: the file isn't opened again, by a load or by the next commit.
    let file = newest_metadata(&ours).await;
    let aside = file.with_extension("aside");
    std::fs::rename(&file, &aside).unwrap();
    assert_eq!(newest_metadata(&ours).await, file);
    sink.commit(&batch(at(&[("a", 1)]), at(&[("a", 2)]), vec![row("run", 2)])).await.unwrap();
    std::fs::rename(&aside, &file).unwrap();
    // Another program's commit is seen at once, and one of ours that doesn't know it doesn't pass.
    let theirs = Lake::open_embedded(dir.path(), quick()).await.unwrap();
    let mut other = theirs.bronze_sink().unwrap();
    other.resume_point().await.unwrap();
    other.commit(&batch(at(&[("a", 2)]), at(&[("a", 3)]), vec![row("run", 3)])).await.unwrap();
    assert_eq!(newest_metadata(&ours).await, newest_metadata(&theirs).await);
    let late = sink.commit(&batch(at(&[("a", 2)]), at(&[("a", 3)]), vec![row("run", 3)])).await.unwrap();
    assert!(matches!(late, CommitOutcome::Fenced(_)), "{late:?}");
    sink.resume_point().await.unwrap();
    sink.commit(&batch(at(&[("a", 3)]), at(&[("a", 4)]), vec![row("run", 4)])).await.unwrap();
    assert_eq!(table_keys(&theirs).await, keys_of("run", 1..=4));
}

#[tokio::test]
async fn a_store_id_with_slashes_stays_in_the_warehouse() {
    let dir = tempfile::tempdir().unwrap();
    let lake = Lake::open_embedded(dir.path(), quick()).await.unwrap();
    let mut sink = lake.bronze_sink().unwrap();
    let stores = ["../x", "../../../../tmp/y", "a b*é", "plain"];
    let rows = (1..).zip(stores).map(|(frame, store)| row_of(store, "cam_01", "run", frame)).collect();
    sink.commit(&batch(at(&[]), at(&[("a", 4)]), rows)).await.unwrap();
    let data = common::bronze_folder(dir.path()).join("data");
    let mut found: Vec<_> =
        std::fs::read_dir(data).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    found.sort();
    let wanted = ["store_id=..%2F..%2F..%2F..%2Ftmp%2Fy", "store_id=..%2Fx", "store_id=a+b*%C3%A9", "store_id=plain"];
    assert_eq!(found, wanted);
    assert_eq!(table_keys(&lake).await, keys_of("run", 1..=4));
}

#[tokio::test]
async fn a_moved_data_folder_is_refused_and_the_error_says_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = (dir.path().join("old"), dir.path().join("new"));
    drop(Lake::open_embedded(&old, quick()).await.unwrap());
    std::fs::rename(&old, &new).unwrap();
    for error in [
        Lake::open_embedded(&new, quick()).await.unwrap_err(),
        Lake::open_embedded_read_only(&new, quick()).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), LakeErrorKind::Permanent);
        let text = error.to_string();
        assert!(text.contains("moved") && text.contains(old.to_str().unwrap()), "{text}");
    }
}

#[tokio::test]
async fn opening_to_read_makes_nothing_and_says_what_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    let error = Lake::open_embedded_read_only(dir.path(), quick()).await.unwrap_err();
    assert_eq!(error.kind(), LakeErrorKind::Permanent);
    assert!(error.to_string().contains("catalog.db"), "{error}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_folder_that_cannot_be_made_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, b"not a folder").unwrap();
    let error = Lake::open_embedded(&file.join("data"), quick()).await.unwrap_err();
    assert_eq!(error.kind(), LakeErrorKind::Permanent);
    assert!(error.to_string().contains(file.to_str().unwrap()), "{error}");
    let damaged = dir.path().join("damaged");
    std::fs::create_dir(&damaged).unwrap();
    std::fs::write(damaged.join("catalog.db"), "x".repeat(8192)).unwrap();
    let error = Lake::open_embedded(&damaged, quick()).await.unwrap_err();
    assert_eq!(error.kind(), LakeErrorKind::Permanent, "{error}");
    assert!(error.to_string().contains("catalog.db"), "{error}");
}

#[tokio::test]
async fn a_data_folder_may_have_an_awkward_name() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("ein ordner%20mit é");
    let lake = Lake::open_embedded(&data, quick()).await.unwrap();
    let mut sink = lake.bronze_sink().unwrap();
    sink.commit(&batch(at(&[]), at(&[("a", 1)]), vec![row("run", 1)])).await.unwrap();
    let read = Lake::open_embedded_read_only(&data, quick()).await.unwrap();
    assert_eq!(table_keys(&read).await, keys_of("run", [1]));
    let error = Lake::open_embedded(&dir.path().join("a#b"), quick()).await.unwrap_err();
    assert!(error.to_string().contains("a#b"), "{error}");
}

/// The first release without the race of two connections in WAL mode that may damage the file, and without the faults of
/// memory before it (docs/security.md).
const SQLITE_MIN: [u32; 3] = [3, 51, 3];

#[tokio::test]
async fn the_sqlite_that_keeps_the_catalog_is_one_without_the_faults_that_were_mended_since_2024() {
    let dir = tempfile::tempdir().unwrap();
    let lake = Lake::open_embedded(dir.path(), quick()).await.unwrap();
    let url = format!("sqlite://{}/catalog.db?mode=ro", dir.path().display());
    let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
    let version: String = sqlx::query_scalar("SELECT sqlite_version()").fetch_one(&mut connection).await.unwrap();
    let tables: i64 =
        sqlx::query_scalar("SELECT count(*) FROM iceberg_tables").fetch_one(&mut connection).await.unwrap();
    let found: Vec<u32> = version.split('.').map(|part| part.parse().unwrap()).collect();
    assert!(found.as_slice() >= SQLITE_MIN.as_slice(), "found SQLite {version}, wanted {SQLITE_MIN:?} or newer");
    assert!(tables > 0, "found no table in the catalog of {}", dir.path().display());
    connection.close().await.unwrap();
    drop(lake);
}
