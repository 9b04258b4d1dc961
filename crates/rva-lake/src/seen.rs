//! Follows a table whose catalog keeps no history.
//!
//! Nessie has a history of its own, and hands out each table with its newest snapshot alone, as if there had been none
//! before. What came since a position is in the files all the same: each says which commit brought it. And whether
//! anything that was there has gone is in their number: files of old commits only ever get fewer. So a follower notes,
//! in the commit of its position, how many files and rows it saw.

use crate::counted::{Seen, counts};
use crate::errors::lake_error;
use crate::seam::LakeError;
use crate::state::REFINE_JOB;
use crate::view::{ChangedFile, Since, TableView};
use async_recursion::async_recursion as boxed;
use iceberg::Result;
use iceberg::spec::{DataContentType, ManifestContentType, ManifestFile, SnapshotRef};
use std::collections::BTreeMap;

/// Returns the table property in which a follower notes what it saw of an input.
fn key(input: &str) -> String {
    format!("rva.{REFINE_JOB}.seen.{input}")
}

/// Returns what a follower noted of an input at a position; `None` where that isn't the one.
fn noted(follower: &TableView, input: &str, position: u64) -> Option<Seen> {
    let text = follower.table.metadata().properties().get(&key(input))?;
    let mut numbers = text.split(' ').map(str::parse::<u64>);
    let mut next = || numbers.next()?.ok();
    let (at, files, rows) = (next()?, next()?, next()?);
    (at == position).then_some(Seen { files, rows })
}

impl TableView {
    /// Returns whether the snapshots behind the newest can be looked at. A table with one that nothing came before has
    /// no history yet, or a catalog that keeps it to itself.
    pub fn keeps_history(&self) -> bool {
        let metadata = self.table.metadata();
        let alone = metadata.snapshots().len() < 2;
        !alone || metadata.current_snapshot().is_some_and(|snapshot| snapshot.parent_snapshot_id().is_some())
    }

    /// Returns the changes since a position of a follower, as [`TableView::since`] does; where there is no history, by
    /// the files and what the follower noted.
    ///
    /// # Errors
    /// Fails as the storage does.
    #[boxed]
    pub async fn since_seen(
        &self,
        from: Option<u64>,
        follower: Option<&Self>,
    ) -> std::result::Result<Since, LakeError> {
        let since = self.since(from).await?;
        match (from, since) {
            (Some(from), Since::Expired) if !self.keeps_history() => {
                let ident = self.table.identifier();
                let noted = follower.and_then(|follower| noted(follower, ident.name(), from));
                let found = self.files_since(from, noted).await;
                found.map_err(|error| lake_error(format_args!("read what changed in {ident}"), error))
            }
            (_, since) => Ok(since),
        }
    }

    /// Finds the files of commits after a position. Everything has to be looked at where nobody noted what there was
    /// before, some of that has gone, or rows are hidden.
    async fn files_since(&self, from: u64, noted: Option<Seen>) -> Result<Since> {
        let (Some(noted), Some(current)) = (noted, self.table.metadata().current_snapshot()) else {
            return Ok(Since::Everything);
        };
        let is_old = |number: i64| u64::try_from(number).is_ok_and(|number| number <= from);
        let (mut old, mut added) = (Seen::default(), Vec::new());
        for file in self.manifests(current).await? {
            if file.content == ManifestContentType::Deletes {
                if file.has_added_files() || file.has_existing_files() {
                    return Ok(Since::Everything);
                }
                continue;
            }
            if let Some(counts) = counts(&file).filter(|_| is_old(file.sequence_number)) {
                old.add(counts);
                continue;
            }
            for entry in
                file.load_manifest(self.table.file_io()).await?.entries().iter().filter(|entry| entry.is_alive())
            {
                let number = entry.file_sequence_number.or(entry.sequence_number()).unwrap_or(file.sequence_number);
                if entry.content_type() != DataContentType::Data {
                    return Ok(Since::Everything);
                } else if is_old(number) {
                    old.add(Seen { files: 1, rows: entry.data_file().record_count() });
                } else {
                    added.push((number, ChangedFile::of(entry.data_file())));
                }
            }
        }
        if old != noted {
            return Ok(Since::Everything);
        }
        added.sort_by_key(|(number, _)| *number);
        Ok(Since::Appended(added.into_iter().map(|(_, file)| file).collect()))
    }

    async fn manifests(&self, snapshot: &SnapshotRef) -> Result<Vec<ManifestFile>> {
        Ok(self.table.manifest_list_reader(snapshot).load().await?.consume_entries().into_iter().collect())
    }

    /// Counts what there is, once.
    async fn counted(&self) -> Result<Seen> {
        let count = async || {
            let mut seen = Seen::default();
            let Some(current) = self.table.metadata().current_snapshot() else { return Ok(seen) };
            for file in self.manifests(current).await? {
                if file.content == ManifestContentType::Deletes {
                    continue;
                }
                match counts(&file) {
                    Some(counts) => seen.add(counts),
                    None => {
                        let manifest = file.load_manifest(self.table.file_io()).await?;
                        let alive = manifest.entries().iter().filter(|entry| entry.is_alive());
                        alive.for_each(|entry| seen.add(Seen { files: 1, rows: entry.data_file().record_count() }));
                    }
                }
            }
            Ok(seen)
        };
        self.counted.get_or_try_init(count).await.copied()
    }

    /// Adds what is to be noted of this input to the properties of a follower's commit; nothing where its history can
    /// be looked at.
    pub(crate) async fn note(&self, properties: &mut BTreeMap<String, String>) -> std::result::Result<(), LakeError> {
        if self.keeps_history() {
            return Ok(());
        }
        let ident = self.table.identifier();
        let seen = self.counted().await;
        let Seen { files, rows } =
            seen.map_err(|error| lake_error(format_args!("count the files of {ident}"), error))?;
        properties.insert(key(ident.name()), format!("{} {files} {rows}", self.sequence()));
        Ok(())
    }
}
