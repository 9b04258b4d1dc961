//! Backups that hold chosen rows: they bring them back where they are restored.

use super::kinds::matcher_of;
use super::matching::Matcher;
use crate::backup::{BackupStore, FileKind, TableBackup};
use crate::errors::lake_error;
use crate::seam::{LakeError, LakeErrorKind};
use async_recursion::async_recursion as boxed;
use iceberg::spec::Manifest;
use rva_types::RecordChoice;
use std::collections::{BTreeMap, BTreeSet};

/// A backup with chosen rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldingBackup {
    /// The backup's id.
    pub id: String,
    /// The chosen rows of each table, without the tables of gold.
    pub rows: BTreeMap<String, u64>,
}

impl BackupStore {
    /// Returns the backups of this place that hold chosen rows of bronze, dead letters or silver, oldest first. It
    /// changes nothing.
    ///
    /// # Errors
    /// Returns `Permanent` where there are no backups, or for a damaged one, which is named; else it fails as the
    /// storage does.
    #[boxed]
    pub async fn holding(&self, choice: &RecordChoice) -> Result<Vec<HoldingBackup>, LakeError> {
        let mut known: BTreeMap<String, u64> = BTreeMap::new();
        let mut found = Vec::new();
        for backup in self.backups().await? {
            let mut rows = BTreeMap::new();
            for table in &backup.tables {
                // Gold is worked out of silver: it holds nothing that silver doesn't.
                let matcher = matcher_of(&table.name, choice).filter(|_| !table.name.starts_with("gold_"));
                let Some(matcher) = matcher else { continue };
                let count = self.rows_of(table, &matcher, &mut known).await?;
                if count > 0 {
                    rows.insert(table.name.clone(), count);
                }
            }
            if !rows.is_empty() {
                found.push(HoldingBackup { id: backup.id, rows });
            }
        }
        Ok(found)
    }

    /// Counts the chosen rows of a table of a backup; files that are in several backups are read once.
    async fn rows_of(
        &self,
        table: &TableBackup,
        matcher: &Matcher,
        known: &mut BTreeMap<String, u64>,
    ) -> Result<u64, LakeError> {
        let schema = table.metadata.current_schema();
        let mut may: BTreeSet<String> = BTreeSet::new();
        for file in table.files.iter().filter(|file| file.kind == FileKind::Manifest) {
            let place = self.file(&table.folder(), &file.path);
            let bytes = self.read(&place).await?;
            let manifest = Manifest::parse_avro(&bytes);
            let manifest = manifest.map_err(|error| lake_error(format_args!("read {place}"), error))?;
            let entries = manifest.entries().iter().filter(|entry| matcher.may_hold(entry.data_file(), schema));
            may.extend(entries.map(|entry| entry.file_path().to_owned()));
        }
        let mut rows = 0;
        for file in table.files.iter().filter(|file| file.kind == FileKind::Data && may.contains(&file.location)) {
            let place = self.file(&table.folder(), &file.path);
            rows += match known.get(&place) {
                Some(rows) => *rows,
                None => {
                    let found = match matcher.rows_in(&place, self.read(&place).await?) {
                        // A file of deletes has other columns, and no rows of its own.
                        Err(error) if error.kind() == LakeErrorKind::Permanent => {
                            tracing::info!(file = place, %error, "passed over a file of a backup");
                            0
                        }
                        found => found?,
                    };
                    known.insert(place, found);
                    found
                }
            };
        }
        Ok(rows)
    }

    async fn read(&self, place: &str) -> Result<bytes::Bytes, LakeError> {
        let read = self.input(place)?.read().await;
        read.map_err(|error| lake_error(format_args!("read {place}"), error))
    }
}
