//! Files that name others, for a table that lies elsewhere: metadata, lists of manifests, manifests.
//!
//! They are read and written by Iceberg's own code. Numbers, statuses and statistics stay as they are, so that positions
//! of followers hold; names are new ones, since a name never stands for two contents.

use crate::backup::deletes::{PATH_FIELD, moved_deletes};
use crate::backup::record::{FileBackup, FileKind, TableBackup, digest};
use crate::backup::store::BackupStore;
use crate::errors::lake_error;
use crate::offsets::OffsetsFile;
use crate::places::{DATA_PATH, METADATA_PATH};
use crate::seam::{LakeError, LakeErrorKind};
use crate::storage::{LakeStorage, plain};
use bytes::Bytes;
use iceberg::io::Storage;
use iceberg::spec::{
    DataContentType, DataFile, DataFileBuilder, FormatVersion, Manifest, ManifestContentType, ManifestFile,
    ManifestList, ManifestListWriter, ManifestStatus, ManifestWriter, ManifestWriterBuilder, Snapshot, TableMetadata,
};
use iceberg::{Error, ErrorKind, Result};
use serde_json::{Value, json};
use std::collections::HashMap;
use uuid::Uuid;

/// Properties with a folder of the table's files: they all lie under its location now.
const PLACES: [&str; 4] = [DATA_PATH, METADATA_PATH, "write.object-storage.path", "write.folder-storage.path"];

/// A table on its way from a backup to a location.
pub(crate) struct Moving<'a> {
    pub store: &'a BackupStore,
    pub table: &'a TableBackup,
    /// The storage that it is written through.
    pub storage: LakeStorage,
    /// The location, without a slash at its end.
    pub location: String,
    files: HashMap<String, &'a FileBackup>,
    /// The manifests that are written, by the place that they had.
    manifests: HashMap<String, ManifestFile>,
}

impl<'a> Moving<'a> {
    pub(crate) fn new(store: &'a BackupStore, table: &'a TableBackup, storage: LakeStorage, location: &str) -> Self {
        let files = table.files.iter().map(|file| (plain(&file.location), file)).collect();
        let location = location.trim_end_matches('/').to_owned();
        Self { store, table, storage, location, files, manifests: HashMap::new() }
    }

    /// Returns where a file of the table is from now on. A file that nothing holds any more, which a manifest says was
    /// removed, would be at the same place under the new location.
    pub(crate) fn moved(&self, location: &str) -> String {
        if let Some(file) = self.files.get(&plain(location)) {
            return format!("{}/{}", self.location, file.path);
        }
        match plain(location).strip_prefix(&plain(self.table.metadata.location())) {
            Some(rest) if rest.starts_with('/') => format!("{}{rest}", self.location),
            _ => location.to_owned(),
        }
    }

    fn failed(&self, error: Error) -> LakeError {
        lake_error(format_args!("restore {}", self.table.name), error)
    }

    /// Reads a file of the backup, which must be what it was.
    pub(crate) async fn read(&self, location: &str) -> std::result::Result<Bytes, LakeError> {
        let Some(file) = self.files.get(&plain(location)) else {
            let text =
                format!("found no {location} in the backup of {}, wanted it: a snapshot names it", self.table.name);
            return Err(LakeError::new(LakeErrorKind::Permanent, text));
        };
        let place = self.store.file(&self.table.folder(), &file.path);
        let bytes = self.store.input(&place)?.read().await;
        let bytes = bytes.map_err(|error| lake_error(format_args!("read {place}"), error))?;
        let found = digest(&bytes);
        if found != file.sha256 {
            let text = format!(
                "found {place} damaged: {} bytes with SHA-256 {found}, wanted {} bytes with {}; take another backup \
                 (`rva backup verify` names each damaged file)",
                bytes.len(),
                file.size,
                file.sha256
            );
            return Err(LakeError::new(LakeErrorKind::Permanent, text));
        }
        Ok(bytes)
    }

    /// Writes metadata, lists and manifests anew, and returns where the metadata is.
    pub(crate) async fn rewrite(&mut self) -> std::result::Result<String, LakeError> {
        let mut lists = HashMap::new();
        let snapshots: Vec<_> = self.table.metadata.snapshots().cloned().collect();
        for snapshot in snapshots {
            let list = self.list(&snapshot).await?;
            lists.insert(snapshot.snapshot_id(), list);
        }
        let metadata = self.metadata(&lists).map_err(|error| self.failed(error))?;
        let place = format!("{}/metadata/00000-{}.metadata.json", self.location, Uuid::new_v4());
        let mut json = serde_json::to_value(&metadata).map_err(Error::from).map_err(|error| self.failed(error))?;
        // As Java writes that there is none; Nessie takes no table without the field.
        if json.get("current-snapshot-id").is_none_or(Value::is_null) {
            json["current-snapshot-id"] = json!(-1);
        }
        self.storage.write(&place, json.to_string().into_bytes().into()).await.map_err(|error| self.failed(error))?;
        Ok(place)
    }

    fn metadata(&self, lists: &HashMap<i64, String>) -> Result<TableMetadata> {
        let mut json = serde_json::to_value(&self.table.metadata)?;
        json["location"] = json!(self.location);
        // None of these is in the backup. Statistics are worked out anew by whoever wants them.
        for none in ["metadata-log", "statistics", "partition-statistics"] {
            json[none] = json!([]);
        }
        if let Some(properties) = json.get_mut("properties").and_then(Value::as_object_mut) {
            PLACES.iter().for_each(|place| drop(properties.remove(*place)));
        }
        for snapshot in json.get_mut("snapshots").and_then(Value::as_array_mut).into_iter().flatten() {
            let list = snapshot.get("snapshot-id").and_then(Value::as_i64).and_then(|id| lists.get(&id));
            snapshot["manifest-list"] = json!(list);
            let Some(summary) = snapshot.get_mut("summary").and_then(Value::as_object_mut) else { continue };
            for (_, text) in summary.iter_mut().filter(|(key, _)| key.starts_with("rva.") && key.ends_with(".offsets"))
            {
                let named = text.as_str().and_then(|text| serde_json::from_str::<OffsetsFile>(text).ok());
                if let Some(mut named) = named {
                    named.file = self.moved(&named.file);
                    *text = json!(serde_json::to_string(&named)?);
                }
            }
        }
        Ok(serde_json::from_value(json)?)
    }

    async fn list(&mut self, snapshot: &Snapshot) -> std::result::Result<String, LakeError> {
        let bytes = self.read(snapshot.manifest_list()).await?;
        let version = self.table.metadata.format_version();
        let list = ManifestList::parse_with_version(&bytes, version).map_err(|error| self.failed(error))?;
        let mut manifests = Vec::new();
        for file in list.consume_entries() {
            manifests.push(self.manifest(file).await?);
        }
        let id = snapshot.snapshot_id();
        let place = format!("{}/metadata/snap-{id}-0-{}.avro", self.location, Uuid::now_v7());
        let write = async {
            let output = self.storage.new_output(&place)?.writer().await?;
            let (parent, sequence) = (snapshot.parent_snapshot_id(), snapshot.sequence_number());
            let mut writer = ManifestListWriter::v2(output, id, parent, sequence);
            writer.add_manifests(manifests.into_iter())?;
            writer.close().await
        };
        write.await.map_err(|error| self.failed(error))?;
        Ok(place)
    }

    /// Writes a manifest anew, once, and returns its entry of a list.
    async fn manifest(&mut self, file: ManifestFile) -> std::result::Result<ManifestFile, LakeError> {
        if let Some(done) = self.manifests.get(&plain(&file.manifest_path)) {
            let (path, length) = (done.manifest_path.clone(), done.manifest_length);
            return Ok(ManifestFile { manifest_path: path, manifest_length: length, ..file });
        }
        let bytes = self.read(&file.manifest_path).await?;
        let manifest = Manifest::parse_avro(&bytes).map_err(|error| self.failed(error))?;
        let place = format!("{}/metadata/{}-m0.avro", self.location, Uuid::now_v7());
        let mut writer = self.writer(&place, &file, &manifest).map_err(|error| self.failed(error))?;
        for entry in manifest.entries() {
            let data = self.data_file(entry.data_file(), file.partition_spec_id, entry.is_alive()).await?;
            let sequence = entry.sequence_number().unwrap_or(file.sequence_number);
            let of_file = entry.file_sequence_number.unwrap_or(sequence);
            let written = match entry.status() {
                ManifestStatus::Added => writer.add_file(data, sequence),
                ManifestStatus::Existing => {
                    let snapshot = entry.snapshot_id().unwrap_or(file.added_snapshot_id);
                    writer.add_existing_file(data, snapshot, sequence, Some(of_file))
                }
                ManifestStatus::Deleted => writer.add_delete_file(data, sequence, Some(of_file)),
            };
            written.map_err(|error| self.failed(error))?;
        }
        let written = writer.write_manifest_file().await.map_err(|error| self.failed(error))?;
        let moved = ManifestFile {
            manifest_path: written.manifest_path,
            manifest_length: written.manifest_length,
            ..file.clone()
        };
        self.manifests.insert(plain(&file.manifest_path), moved.clone());
        Ok(moved)
    }

    fn writer(&self, place: &str, file: &ManifestFile, manifest: &Manifest) -> Result<ManifestWriter> {
        let (output, found) = (self.storage.new_output(place)?, manifest.metadata());
        let builder = ManifestWriterBuilder::new(
            output,
            Some(file.added_snapshot_id),
            found.schema().clone(),
            found.partition_spec().clone(),
        );
        Ok(match (found.format_version(), found.content()) {
            (FormatVersion::V1, _) => builder.build_v1(),
            (FormatVersion::V2, ManifestContentType::Data) => builder.build_v2_data(),
            (FormatVersion::V2, ManifestContentType::Deletes) => builder.build_v2_deletes(),
            (FormatVersion::V3, _) => {
                let text = format!("found {} in format version 3, wanted 2", file.manifest_path);
                return Err(Error::new(ErrorKind::FeatureUnsupported, text));
            }
        })
    }

    /// Returns a file's entry for its new place. Deletes by position name the files whose rows they hide, so a file of
    /// them is written here; all others are copied.
    async fn data_file(&self, found: &DataFile, spec: i32, is_alive: bool) -> std::result::Result<DataFile, LakeError> {
        let mut builder = DataFileBuilder::default();
        let (mut lower, mut upper) = (found.lower_bounds().clone(), found.upper_bounds().clone());
        let mut size = found.file_size_in_bytes();
        if found.content_type() == DataContentType::PositionDeletes && is_alive {
            let bytes = self.read(found.file_path()).await?;
            let moved = moved_deletes(bytes, found, |path| self.moved(path)).map_err(|error| self.failed(error))?;
            size = moved.len() as u64;
            let place = self.moved(found.file_path());
            self.storage.write(&place, moved).await.map_err(|error| self.failed(error))?;
            // The bounds of the paths are those of the old ones.
            for bounds in [&mut lower, &mut upper] {
                bounds.remove(&PATH_FIELD);
            }
        }
        builder
            .content(found.content_type())
            .file_path(self.moved(found.file_path()))
            .file_format(found.file_format())
            .partition(found.partition().clone())
            .record_count(found.record_count())
            .file_size_in_bytes(size)
            .column_sizes(found.column_sizes().clone())
            .value_counts(found.value_counts().clone())
            .null_value_counts(found.null_value_counts().clone())
            .nan_value_counts(found.nan_value_counts().clone())
            .lower_bounds(lower)
            .upper_bounds(upper)
            .key_metadata(found.key_metadata().map(<[u8]>::to_vec))
            .split_offsets(found.split_offsets().map(<[i64]>::to_vec))
            .equality_ids(found.equality_ids())
            .first_row_id(found.first_row_id())
            .partition_spec_id(spec)
            .referenced_data_file(found.referenced_data_file().map(|path| self.moved(&path)))
            .content_offset(found.content_offset())
            .content_size_in_bytes(found.content_size_in_bytes());
        if let Some(order) = found.sort_order_id() {
            builder.sort_order_id(order);
        }
        let built = builder.build();
        built.map_err(|error| self.failed(Error::new(ErrorKind::DataInvalid, error.to_string())))
    }

    /// Returns the files that are copied as they are.
    pub(crate) fn copied(&self) -> impl Iterator<Item = &'a FileBackup> {
        let files = self.table.files.iter();
        files.filter(|file| matches!(file.kind, FileKind::Data | FileKind::Offsets))
    }
}
