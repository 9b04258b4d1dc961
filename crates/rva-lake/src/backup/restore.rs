//! Restoring a backup.

use crate::backup::copy::{COPIES_AT_ONCE, Content, copy};
use crate::backup::record::{Backup, TableBackup};
use crate::backup::rewrite::Moving;
use crate::backup::store::BackupStore;
use crate::backup::target::RestoreTarget;
use crate::errors::lake_error;
use crate::options::LakeOptions;
use crate::seam::LakeError;
use crate::storage::LakeStorage;
use async_recursion::async_recursion as boxed;
use futures::{StreamExt, TryStreamExt};
use iceberg::io::Storage;
use std::collections::HashMap;

/// The outcome of a restore.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Restored {
    /// The tables and where they are, in the order of the backup.
    pub tables: Vec<(String, String)>,
    /// The number of files that were copied.
    pub files: u64,
    /// The bytes of those files.
    pub bytes: u64,
}

impl BackupStore {
    /// Restores a backup into a fresh catalog. Tables keep their identity, their snapshots' numbers and their jobs'
    /// positions, so that whoever wrote and followed them goes on.
    ///
    /// # Errors
    /// Returns `Permanent` where the target has one of the tables already, or a file of the backup is damaged, which is
    /// named; else it fails as catalog and storages do. A data folder has no catalog then, and the same restore may be
    /// begun again.
    #[boxed(?Send)]
    pub async fn restore(
        &self,
        backup: &Backup,
        target: &RestoreTarget,
        options: &LakeOptions,
    ) -> Result<Restored, LakeError> {
        let prepared = target.prepare(backup, options).await?;
        prepared.make_namespace(backup).await?;
        let (mut restored, mut places) = (Restored::default(), HashMap::new());
        for table in &backup.tables {
            let location = prepared.location(table, options).await?;
            let place = self.restore_table(table, &location, options.lister.storage(), &mut restored).await?;
            places.insert(table.name.as_str(), place);
            restored.tables.push((table.name.clone(), location));
        }
        prepared.register(places).await?;
        Ok(restored)
    }

    /// Writes the files of a table, and returns where its metadata is.
    async fn restore_table(
        &self,
        table: &TableBackup,
        location: &str,
        storage: LakeStorage,
        restored: &mut Restored,
    ) -> Result<String, LakeError> {
        let mut moving = Moving::new(self, table, storage.clone(), location);
        let copies = moving.copied().map(|file| {
            let (from, to) = (self.file(&table.folder(), &file.path), moving.moved(&file.location));
            let storage = &storage;
            async move {
                let failed = |error| lake_error(format_args!("restore {to} of {} from {from}", table.name), error);
                let (input, output) = (self.input(&from)?, storage.new_output(&to).map_err(failed)?);
                let wanted = Content { size: file.size, sha256: file.sha256.clone() };
                copy(&input, &output, Some(&wanted)).await.map_err(failed)
            }
        });
        let copies: Vec<_> = copies.collect();
        let mut copies = futures::stream::iter(copies).buffer_unordered(COPIES_AT_ONCE);
        while let Some(content) = copies.try_next().await? {
            restored.files += 1;
            restored.bytes += content.size;
        }
        drop(copies);
        // Last: files of deletes are written over their copies.
        moving.rewrite().await
    }
}
