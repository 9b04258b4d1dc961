//! The record of a backup: what there was, and where it lies now.

use crate::seam::{LakeError, LakeErrorKind};
use iceberg::spec::TableMetadata;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// The version of the record's form. A program refuses a larger one than it knows.
pub(crate) const RECORD_VERSION: u32 = 1;

/// The ending of a record's file.
pub(crate) const RECORD_ENDING: &str = ".json.zst";

/// The level of zstd for records.
const ZSTD_LEVEL: i32 = 3;

/// The most bytes that a record unpacks to: ten million files.
const RECORD_BYTES_MAX: u64 = 4 << 30;

/// The kind of a file that a table's snapshot needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileKind {
    /// A list of manifests.
    ManifestList,
    /// A manifest: it names data files.
    Manifest,
    /// A map of offsets that a snapshot's summary names.
    Offsets,
    /// A data file, or a file of deletes.
    Data,
}

/// A file of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileBackup {
    /// The location where the table had it.
    pub location: String,
    /// The path under the table's folder of the backup.
    pub path: String,
    /// The kind.
    pub kind: FileKind,
    /// The size in bytes.
    pub size: u64,
    /// The SHA-256 of the content, in hexadecimal digits.
    pub sha256: String,
}

/// A table of a backup.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TableBackup {
    /// The name, without the namespace.
    pub name: String,
    /// The number of its newest snapshot; 0 where it had none.
    pub sequence: i64,
    /// The metadata, reduced to the snapshots that were kept.
    pub metadata: TableMetadata,
    /// The files that the snapshots need.
    pub files: Vec<FileBackup>,
}

impl TableBackup {
    /// Returns the table's folder in a backup.
    pub(crate) fn folder(&self) -> String {
        self.metadata.uuid().to_string()
    }
}

/// A backup: all tables of a namespace at one point in time.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Backup {
    /// The version of the record's form.
    pub version: u32,
    /// The id: the time when it was made, and a random end.
    pub id: String,
    /// The time when the tables were looked at, in milliseconds since 1970.
    pub made_ms: i64,
    /// The namespace.
    pub namespace: String,
    /// The namespace's properties.
    pub properties: BTreeMap<String, String>,
    /// The tables.
    pub tables: Vec<TableBackup>,
    /// The names of tables that could not be read, and aren't ours.
    pub left_out: Vec<String>,
}

impl Backup {
    /// Returns the number of its files and their bytes.
    pub fn size(&self) -> (u64, u64) {
        let files = self.tables.iter().flat_map(|table| &table.files);
        files.fold((0, 0), |(count, bytes), file| (count + 1, bytes + file.size))
    }

    /// Returns the record as it is stored, and the name of its file, which holds the record's digest.
    pub(crate) fn packed(&self) -> Result<(String, Vec<u8>), LakeError> {
        let failed = |error: &dyn std::fmt::Display| {
            LakeError::new(
                LakeErrorKind::Permanent,
                format!("could not write the record of backup {}: {error}", self.id),
            )
        };
        let json = serde_json::to_vec(self).map_err(|error| failed(&error))?;
        let packed = zstd::bulk::compress(&json, ZSTD_LEVEL).map_err(|error| failed(&error))?;
        Ok((format!("{}-{}{RECORD_ENDING}", self.id, short(&digest(&packed))), packed))
    }

    /// Reads a record of a file of this name.
    pub(crate) fn unpacked(name: &str, packed: &[u8]) -> Result<Self, LakeError> {
        use std::io::Read;
        let damaged = |found: String| {
            let text = format!(
                "found {found} in {name}, wanted the record of a backup: the file is damaged or cut off; take another \
                 backup of the store (`rva backup list`)"
            );
            LakeError::new(LakeErrorKind::Permanent, text)
        };
        let wanted = name.strip_suffix(RECORD_ENDING).and_then(|name| name.rsplit_once('-')).map(|(_, end)| end);
        let found = digest(packed);
        if wanted != Some(short(&found)) {
            return Err(damaged(format!("bytes of digest {}", short(&found))));
        }
        let mut json = Vec::new();
        zstd::stream::read::Decoder::new(packed)
            .and_then(|decoder| decoder.take(RECORD_BYTES_MAX).read_to_end(&mut json))
            .map_err(|error| damaged(error.to_string()))?;
        let version = serde_json::from_slice::<Versioned>(&json).map_err(|error| damaged(error.to_string()))?.version;
        if version > RECORD_VERSION {
            let text = format!(
                "found a backup of form {version} in {name}, wanted at most {RECORD_VERSION}: a newer rva made it; \
                 restore it with that one"
            );
            return Err(LakeError::new(LakeErrorKind::Permanent, text));
        }
        serde_json::from_slice(&json).map_err(|error| damaged(error.to_string()))
    }
}

#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

/// Returns the SHA-256 of some bytes in hexadecimal digits.
pub(crate) fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn short(digest: &str) -> &str {
    digest.get(..16).unwrap_or(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backup(version: u32) -> Backup {
        Backup {
            version,
            id: "20260131T080000Z-0011aabb".to_owned(),
            made_ms: 1,
            namespace: "rva".to_owned(),
            properties: BTreeMap::new(),
            tables: Vec::new(),
            left_out: vec!["somebody's".to_owned()],
        }
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let (name, packed) = backup(RECORD_VERSION).packed().unwrap();
        assert!(name.starts_with("20260131T080000Z-0011aabb-") && name.ends_with(RECORD_ENDING), "{name}");
        assert_eq!(Backup::unpacked(&name, &packed).unwrap().left_out, ["somebody's"]);
    }

    #[test]
    fn a_record_that_is_cut_off_changed_or_newer_is_refused_by_name() {
        let (name, packed) = backup(RECORD_VERSION).packed().unwrap();
        let mut changed = packed.clone();
        changed[packed.len() / 2] ^= 1;
        for bytes in [&packed[..packed.len() - 1], &changed[..], &[]] {
            let text = Backup::unpacked(&name, bytes).unwrap_err().to_string();
            assert!(text.contains(&name) && text.contains("damaged"), "{text}");
        }
        let (name, packed) = backup(RECORD_VERSION + 1).packed().unwrap();
        let text = Backup::unpacked(&name, &packed).unwrap_err().to_string();
        assert!(text.contains("a newer rva"), "{text}");
    }
}
