//! Other tables that need files in a table's folders: a renamed table that kept its place, a registered copy, a table
//! that lies within. As long as there is one, nothing is deleted there.

use crate::errors::{is_not_found, is_refused};
use crate::files::named_files;
use crate::places::TablePlaces;
use crate::snapshots::{covering, metadata_files};
use crate::storage::{is_inside, normal};
use iceberg::spec::{SnapshotRef, TableMetadata};
use iceberg::table::Table;
use iceberg::{Catalog, NamespaceIdent, Result, TableIdent};
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The number of namespaces that are looked through. Beyond it nobody knows who points where.
const NAMESPACES_MAX: usize = 10_000;

/// The number of manifests that one look reads; one that was read once isn't read again.
const MANIFESTS_MAX: usize = 20_000;

/// The number of manifests that are remembered as harmless.
const REMEMBERED_MAX: usize = 200_000;

/// The number of manifests and lists of them whose home is remembered.
const HOMES_MAX: usize = 50_000;

/// The manifests, and lists of manifests, that name nothing outside of one folder, with that folder. They never change, so
/// whoever looks for other tables that point into a table of ours need read each of them once, for all tables of a lake.
/// Clones are the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Homes(Arc<Mutex<HashMap<Box<str>, Arc<str>>>>);

impl Homes {
    fn of(&self, path: &str) -> Option<Arc<str>> {
        self.known().get(path).cloned()
    }

    fn note(&self, path: &str, home: &Arc<str>) {
        let mut known = self.known();
        if known.len() >= HOMES_MAX {
            known.clear();
        }
        known.insert(path.into(), Arc::clone(home));
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Box<str>, Arc<str>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns whether a location is in a folder, in whatever spelling.
fn is_at_home(location: &str, home: &str) -> bool {
    normal(location).is_some_and(|location| is_inside(&location, home))
}

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
    homes: Homes,
    /// The manifests that name files elsewhere, and none in our folders.
    harmless: HashSet<String>,
}

impl Neighbours {
    /// Makes it with what all tables of a lake know together.
    pub(crate) fn knowing(homes: Homes) -> Self {
        Self { homes, ..Self::default() }
    }

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
        let home: Option<Arc<str>> = normal(other.metadata().location()).map(Arc::from);
        // What names nothing outside of a folder that has nothing to do with ours points at nothing of ours.
        let is_apart = |homes: &Homes, path: &str| homes.of(path).filter(|home| !places.meet(home));
        for snapshot in covering(other.metadata()) {
            let list_path = snapshot.manifest_list();
            if is_apart(&self.homes, list_path).is_some() {
                continue;
            }
            let list = match other.manifest_list_reader(&snapshot).load().await {
                Ok(list) => list,
                // Nobody can read such a snapshot any more.
                Err(error) if is_not_found(&error) => continue,
                Err(error) => return Err(error),
            };
            let home = home.as_ref().filter(|home| is_at_home(list_path, home));
            let mut is_all_at_home = true;
            for manifest in list.entries() {
                let path = &manifest.manifest_path;
                if places.hold(path) {
                    return Ok(Some(format!("points to {path}")));
                }
                if let Some(found) = is_apart(&self.homes, path) {
                    is_all_at_home &= home == Some(&found);
                    continue;
                }
                if self.harmless.contains(path) {
                    is_all_at_home = false;
                    continue;
                }
                if *budget == 0 {
                    return Ok(Some("has too many manifests to look at in one go".to_owned()));
                }
                *budget -= 1;
                let files = match named_files(other, manifest).await {
                    Ok(files) => files,
                    Err(error) if is_not_found(&error) => {
                        is_all_at_home = false;
                        continue;
                    }
                    Err(error) => return Err(error),
                };
                if let Some(file) = files.iter().find(|file| places.hold(file)) {
                    return Ok(Some(format!("points to {file}")));
                }
                let all = || std::iter::once(path).chain(&files);
                match home.filter(|home| all().all(|location| is_at_home(location, home))) {
                    Some(home) => self.homes.note(path, home),
                    None => {
                        is_all_at_home = false;
                        if self.harmless.len() < REMEMBERED_MAX {
                            self.harmless.insert(path.clone());
                        }
                    }
                }
            }
            if let Some(home) = home.filter(|_| is_all_at_home) {
                self.homes.note(list_path, home);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cells::Shape;
    use crate::lake::Lake;
    use crate::medallion::{CameraMinute, HourByCam, PeoplePerMinute};
    use crate::options::LakeOptions;
    use crate::small::{add, avro_files};

    async fn fill<T: Shape>(lake: &Lake) {
        add::<T>(lake, 2).await;
    }

    /// Writes something else over every manifest and every list of them.
    fn spoil(folder: &std::path::Path) {
        avro_files(folder).iter().for_each(|path| std::fs::write(path, "spoilt").unwrap());
    }

    async fn look(lake: &Lake, name: &str, homes: &Homes) -> Result<Option<String>> {
        let catalog = lake.catalog.as_ref();
        let table = catalog.load_table(&TableIdent::from_strs(["rva", name]).unwrap()).await.unwrap();
        let places = TablePlaces::of(table.metadata(), &lake.options.allowed);
        Neighbours::knowing(homes.clone()).pointing(catalog, &table, &places, Look::Everything).await
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_names_nothing_outside_of_its_table_is_read_once_for_all_tables() {
        let folder = tempfile::tempdir().unwrap();
        let lake = Lake::open_embedded(folder.path(), LakeOptions::default()).await.unwrap();
        fill::<CameraMinute>(&lake).await;
        fill::<HourByCam>(&lake).await;
        fill::<PeoplePerMinute>(&lake).await;
        let homes = Homes::default();
        assert_eq!(look(&lake, CameraMinute::TABLE, &homes).await.unwrap(), None);
        assert_eq!(look(&lake, HourByCam::TABLE, &homes).await.unwrap(), None);
        spoil(folder.path());
        // Each was read for one of the first two.
        assert_eq!(look(&lake, PeoplePerMinute::TABLE, &homes).await.unwrap(), None);
        look(&lake, PeoplePerMinute::TABLE, &Homes::default()).await.unwrap_err();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_table_within_the_folder_of_what_is_known_is_looked_at_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let lake = Lake::open_embedded(folder.path(), LakeOptions::default()).await.unwrap();
        fill::<CameraMinute>(&lake).await;
        fill::<HourByCam>(&lake).await;
        let homes = Homes::default();
        assert_eq!(look(&lake, CameraMinute::TABLE, &homes).await.unwrap(), None);
        assert!(!homes.known().is_empty());
        // Somebody else's folder, around that of the table which is known.
        let table =
            lake.catalog.load_table(&TableIdent::from_strs(["rva", CameraMinute::TABLE]).unwrap()).await.unwrap();
        let around = folder.path().display().to_string();
        let home: Arc<str> = normal(&around).unwrap().into();
        let known: Vec<Box<str>> = homes.known().keys().cloned().collect();
        known.iter().for_each(|path| homes.note(path, &home));
        spoil(folder.path());
        let places = TablePlaces::of(table.metadata(), &lake.options.allowed);
        let catalog = lake.catalog.as_ref();
        let found = Neighbours::knowing(homes).pointing(catalog, &table, &places, Look::Everything).await;
        found.unwrap_err();
    }
}
