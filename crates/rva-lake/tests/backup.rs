//! Backups of tables without a follower: only new files are copied, damage is named, old ones go.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use common::{at, batch, folder, keys_of, opened, quick, row, table_keys};
use rva_lake::{BackupStore, RestoreTarget, TableSink, storage::LakeStorageFactory};

#[tokio::test]
async fn only_new_files_are_copied_damage_is_named_and_old_backups_go() {
    let dir = folder();
    let lake = opened(&dir.path().join("d"), quick()).await;
    let mut sink = lake.bronze_sink().unwrap();
    let store = dir.path().join("store").display().to_string();
    let store = BackupStore::at(LakeStorageFactory::default().storage(), &store).unwrap();
    sink.commit(&batch(at(&[]), at(&[("a", 1)]), vec![row("run", 1)])).await.unwrap();
    let first = lake.back_up(&store, None).await.unwrap();
    assert_eq!(first.files_copied, first.backup.size().0);
    let same = lake.back_up(&store, None).await.unwrap();
    assert_eq!((same.files_copied, same.bytes_copied), (0, 0));
    sink.commit(&batch(at(&[("a", 1)]), at(&[("a", 2)]), vec![row("run", 2)])).await.unwrap();
    let second = lake.back_up(&store, None).await.unwrap();
    // The data file, its manifest and the list.
    assert_eq!(second.files_copied, 3, "{:?}", second.backup.tables);

    let data = second.backup.tables.iter().flat_map(|table| &table.files).find(|file| file.path.starts_with("data/"));
    let name = data.unwrap().path.rsplit('/').next().unwrap().to_owned();
    let uuid = second.backup.tables.iter().find(|table| table.name == "bronze_raw").unwrap().metadata.uuid();
    let path = dir.path().join("store/files").join(uuid.to_string()).join(&data.unwrap().path);
    let whole = std::fs::read(&path).unwrap();
    let mut damaged = whole.clone();
    damaged[whole.len() / 2] ^= 1;
    std::fs::write(&path, &damaged).unwrap();
    let findings = store.verify(None).await.unwrap().findings;
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert!(findings[0].place.ends_with(&name) && findings[0].text.starts_with("damaged"), "{findings:?}");
    let target = RestoreTarget::Folder(dir.path().join("other"));
    let refused = store.restore(&second.backup, &target, &quick()).await.unwrap_err().to_string();
    assert!(refused.contains(&name) && refused.contains("damaged"), "{refused}");
    assert!(!dir.path().join("other/catalog.db").exists());
    std::fs::write(&path, &whole[..10]).unwrap();
    let again = lake.back_up(&store, Some(1)).await.unwrap();
    assert_eq!((again.files_copied, again.pruned.unwrap().backups.len()), (1, 3));
    let verified = store.verify(None).await.unwrap();
    assert_eq!((verified.findings.len(), verified.unnamed, verified.foreign.len()), (0, 0, 0), "{verified:?}");

    store.restore(&again.backup, &target, &quick()).await.unwrap();
    let refused = store.restore(&again.backup, &target, &quick()).await.unwrap_err().to_string();
    assert!(refused.contains("catalog.db already") && refused.contains("nothing was written"), "{refused}");
    let restored = opened(&dir.path().join("other"), quick()).await;
    assert_eq!(table_keys(&restored).await, keys_of("run", 1..=2));
    let mut sink = restored.bronze_sink().unwrap();
    assert_eq!(sink.resume_point().await.unwrap().offsets, at(&[("a", 2)]));
    sink.commit(&batch(at(&[("a", 2)]), at(&[("a", 3)]), vec![row("run", 2), row("run", 3)])).await.unwrap();
    assert_eq!(table_keys(&restored).await, keys_of("run", 1..=3));
}
