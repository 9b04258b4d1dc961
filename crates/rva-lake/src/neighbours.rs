//! Other tables that need files in a table's folders: a renamed table that kept its place, a registered copy, a table
//! that lies within. As long as there is one, nothing is deleted there.

use crate::errors::{is_not_found, is_refused};
use crate::files::named_files;
use crate::places::TablePlaces;
use crate::snapshots::{covering, metadata_files};
use iceberg::spec::{SnapshotRef, TableMetadata};
use iceberg::table::Table;
use iceberg::{Catalog, NamespaceIdent, Result, TableIdent};
use std::collections::{HashSet, VecDeque};

/// The number of namespaces that are looked through. Beyond it nobody knows who points where.
const NAMESPACES_MAX: usize = 10_000;

/// The number of manifests that one look reads; one that was read once isn't read again.
const MANIFESTS_MAX: usize = 20_000;

/// The number of manifests that are remembered as harmless.
const REMEMBERED_MAX: usize = 200_000;

/// The closeness of a look at the other tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// Looks before metadata files, manifest lists and manifests go: only a table that shares our metadata needs them.
    /// A table that was looked at before is passed over.
    Metadata,
    /// Looks before data files go: any manifest of any table may name one.
    Everything,
}

/// The knowledge about the other tables of the catalog.
#[derive(Debug, Default)]
pub(crate) struct Neighbours {
    seen: HashSet<TableIdent>,
    harmless: HashSet<String>,
}

impl Neighbours {
    /// Returns the reason why nothing may be deleted in a table's folders; `None` where no other table points there.
    ///
    /// # Errors
    /// Returns an error where the catalog, or a manifest of another table, can't be read now.
    pub(crate) async fn pointing(
        &mut self,
        catalog: &dyn Catalog,
        table: &Table,
        places: &TablePlaces,
        look: Look,
    ) -> Result<Option<String>> {
        if look == Look::Everything {
            self.seen.clear();
        }
        let Some(idents) = all_tables(catalog).await? else {
            return Ok(Some(format!("the catalog has more than {NAMESPACES_MAX} namespaces")));
        };
        let mut budget = MANIFESTS_MAX;
        for ident in idents {
            if ident == *table.identifier() || self.seen.contains(&ident) {
                continue;
            }
            let other = match catalog.load_table(&ident).await {
                Ok(other) => other,
                Err(_) if !catalog.table_exists(&ident).await? => continue,
                // What can't be loaded shares no metadata with a table that can.
                Err(_) if look == Look::Metadata => continue,
                Err(error) => return Ok(Some(format!("table {ident} can't be read ({})", error.kind()))),
            };
            if let Some(found) = own_pointer(&other, places) {
                return Ok(Some(format!("table {ident} points to {found}")));
            }
            if look == Look::Everything
                && let Some(why) = self.data_pointer(&other, places, &mut budget).await?
            {
                return Ok(Some(format!("table {ident} {why}")));
            }
            self.seen.insert(ident);
        }
        Ok(None)
    }

    /// Returns a manifest or data file of another table in our folders.
    async fn data_pointer(
        &mut self,
        other: &Table,
        places: &TablePlaces,
        budget: &mut usize,
    ) -> Result<Option<String>> {
        for snapshot in covering(other.metadata()) {
            let list = match other.manifest_list_reader(&snapshot).load().await {
                Ok(list) => list,
                // Nobody can read such a snapshot any more.
                Err(error) if is_not_found(&error) => continue,
                Err(error) => return Err(error),
            };
            for manifest in list.entries() {
                let path = &manifest.manifest_path;
                if places.hold(path) {
                    return Ok(Some(format!("points to {path}")));
                }
                if self.harmless.contains(path) {
                    continue;
                }
                if *budget == 0 {
                    return Ok(Some("has too many manifests to look at in one go".to_owned()));
                }
                *budget -= 1;
                let files = match named_files(other, manifest).await {
                    Ok(files) => files,
                    Err(error) if is_not_found(&error) => continue,
                    Err(error) => return Err(error),
                };
                if let Some(file) = files.iter().find(|file| places.hold(file)) {
                    return Ok(Some(format!("points to {file}")));
                }
                if self.harmless.len() < REMEMBERED_MAX {
                    self.harmless.insert(path.clone());
                }
            }
        }
        Ok(None)
    }
}

/// Returns a place of another table's own metadata in our folders.
fn own_pointer(other: &Table, places: &TablePlaces) -> Option<String> {
    let metadata: &TableMetadata = other.metadata();
    if places.touch(metadata.location()) {
        return Some(metadata.location().to_owned());
    }
    let lists = metadata.snapshots().map(SnapshotRef::as_ref).map(|snapshot| snapshot.manifest_list());
    let statistics = metadata.statistics_iter().map(|file| file.statistics_path.as_str());
    let partitions = metadata.partition_statistics_iter().map(|file| file.statistics_path.as_str());
    let mut named = metadata_files(other).chain(lists).chain(statistics).chain(partitions);
    named.find(|location| places.hold(location)).map(str::to_owned)
}

/// Returns every table of every namespace that can be seen; `None` where there are too many namespaces.
async fn all_tables(catalog: &dyn Catalog) -> Result<Option<Vec<TableIdent>>> {
    let mut found = Vec::new();
    let mut known: HashSet<NamespaceIdent> = HashSet::new();
    let mut waiting: VecDeque<NamespaceIdent> = catalog.list_namespaces(None).await?.into();
    while let Some(namespace) = waiting.pop_front() {
        if !known.insert(namespace.clone()) {
            continue;
        }
        if known.len() > NAMESPACES_MAX {
            return Ok(None);
        }
        // What we are not shown we can't ask.
        match catalog.list_tables(&namespace).await {
            Ok(tables) => found.extend(tables),
            Err(error) if is_refused(&error) => continue,
            Err(error) => return Err(error),
        }
        match catalog.list_namespaces(Some(&namespace)).await {
            Ok(children) => waiting.extend(children),
            Err(error) if is_refused(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Some(found))
}
