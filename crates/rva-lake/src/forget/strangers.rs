//! Files of a table that no snapshot names, and that hold chosen rows: what an attempt left that was killed, or lost.

use super::erase::{ErasedPast, Erasing, Named};
use super::rows::rows_of;
use crate::errors::lake_error;
use crate::orphans::{age_to_go, is_our_name, is_unfinished};
use crate::places::TablePlaces;
use crate::seam::LakeError;
use crate::storage::{StoredFile, plain};
use crate::writers::Writers;
use iceberg::spec::{Manifest, SnapshotRef};
use iceberg::table::Table;
use std::collections::HashSet;
use std::time::{Duration, SystemTime};

/// The time after which a file that is being written has grown, or is whole.
const STILL: Duration = Duration::from_secs(2);

impl Erasing<'_> {
    /// Deletes orphans with chosen rows, or says where files that nothing names hold some. They go once they are old;
    /// at once where no other program writes, since nobody is going to commit them then.
    ///
    /// # Errors
    /// Fails as catalog and storage do.
    pub(super) async fn strangers(&self, places: &TablePlaces, erased: &mut ErasedPast) -> Result<(), LakeError> {
        let failed = |error| lake_error(format_args!("look for files of {} that no snapshot names", self.ident), error);
        // Before the look into the folder, and until its end.
        let alone = self.lake.writers.as_deref().and_then(Writers::alone);
        // What is committed after the files were listed is no stranger.
        let listed = self.listed(&self.load().await.map_err(failed)?).await;
        let table = self.load().await.map_err(failed)?;
        let Ok(listed) = listed else {
            // Keys that a catalog vends may not list.
            if self.first_kept.is_some() {
                let text = "its folder can't be listed: files that no snapshot names weren't looked for";
                erased.left.push(text.to_owned());
            }
            return Ok(());
        };
        let all: Vec<SnapshotRef> = table.metadata().snapshots().cloned().collect();
        let named = Named::of(&table, &all, &HashSet::new()).await.map_err(failed)?;
        if named.is_broken {
            let text = "a manifest of it has gone: nobody can tell which files a snapshot names";
            erased.left.push(text.to_owned());
            return Ok(());
        }
        let found = self.holding(&table, &named, places, listed).await;
        if found.is_empty() {
            return Ok(());
        }
        if self.first_kept.is_none()
            && let Some(why) = self.hindered(&table, places).await?
        {
            erased.left.push(why);
            return Ok(());
        }
        let now = SystemTime::now();
        let orphan_age = self.lake.options.housekeeping.orphan_age;
        let is_older = |file: &StoredFile, age| now.duration_since(file.modified).is_ok_and(|found| found > age);
        let mut left = Vec::new();
        for file in found {
            let is_old = || age_to_go(&file.location, orphan_age).is_some_and(|age| is_older(&file, age));
            if (alone.is_some() && is_our_name(&file.location)) || is_old() {
                table.file_io().delete(&file.location).await.map_err(failed)?;
                erased.files += 1;
                erased.bytes += if file.location.ends_with(".parquet") { file.size } else { 0 };
            } else {
                left.push(file);
            }
        }
        if left.iter().any(|file| is_unfinished(&file.location)) {
            tokio::time::sleep(STILL).await;
            // Who writes one gets on with it: what stays as it was may be what a killed program left.
            let listed = self.listed(&table).await.map_err(failed)?;
            left.retain(|file| !is_unfinished(&file.location) || listed.contains(file));
        }
        if !left.is_empty() {
            erased.left.push(format!(
                "{} files that no snapshot names hold chosen rows, or may: another program may be about to commit them; \
                 ask again when no other writes, or once they are older than ingest.orphan_age",
                left.len()
            ));
        }
        Ok(())
    }

    /// Returns the files that no snapshot names and that hold chosen rows, or may.
    async fn holding(
        &self,
        table: &Table,
        named: &Named,
        places: &TablePlaces,
        listed: Vec<StoredFile>,
    ) -> Vec<StoredFile> {
        let is_named = |place: &String| {
            named.files.contains_key(place) || named.manifests.contains_key(place) || named.lists.contains_key(place)
        };
        let mut found = Vec::new();
        for file in listed {
            let location = &file.location;
            let holds = if !places.hold(location) || is_named(&plain(location)) {
                false
            } else if location.ends_with(".parquet") {
                rows_of(table, location, self.matcher).await.is_some_and(|rows| rows > 0)
            } else if location.ends_with(".avro") {
                self.tells(table, named, location).await
            } else {
                is_unfinished(location)
            };
            if holds {
                found.push(file);
            }
        }
        found
    }

    /// Returns whether a manifest that nothing names has the bounds of chosen rows.
    async fn tells(&self, table: &Table, named: &Named, location: &str) -> bool {
        let read = async { table.file_io().new_input(location)?.read().await };
        let Ok(manifest) = read.await.and_then(|bytes| Manifest::parse_avro(&bytes)) else { return false };
        let schema = table.metadata().current_schema();
        for entry in manifest.entries() {
            let is_known = named.files.contains_key(&plain(entry.file_path()));
            if !is_known
                && self.matcher.may_hold(entry.data_file(), schema)
                // Of one that has gone, nobody knows.
                && rows_of(table, entry.file_path(), self.matcher).await != Some(0)
            {
                return true;
            }
        }
        false
    }
}
