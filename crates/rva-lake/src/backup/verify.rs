//! Checking backups: each file is there and is what it was, and each file that a snapshot names is among them.

use crate::backup::copy::{COPIES_AT_ONCE, Content, content};
use crate::backup::record::{Backup, FileKind, TableBackup};
use crate::backup::store::BackupStore;
use crate::errors::is_not_found;
use crate::seam::LakeError;
use crate::storage::plain;
use async_recursion::async_recursion as boxed;
use futures::StreamExt;
use iceberg::spec::{Manifest, ManifestList};
use std::collections::{BTreeMap, HashSet};

/// Something that is wrong with a store of backups.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The file.
    pub place: String,
    /// The backups that can't be restored because of it, and of which table it is.
    pub of: String,
    /// The text: found and wanted.
    pub text: String,
}

/// The outcome of looking at a backup.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verified {
    /// The ids of the backups, oldest first.
    pub backups: Vec<String>,
    /// The number of files that were read.
    pub files: u64,
    /// The bytes that were read.
    pub bytes: u64,
    /// Files that are damaged, cut off or missing.
    pub findings: Vec<Finding>,
    /// Files in the store that are no backup's.
    pub foreign: Vec<String>,
    /// The number of files that no backup names: left by one that was cut off, they go with `--keep` once they are a
    /// day old.
    pub unnamed: u64,
}

/// A file as the backups want it.
struct Wanted {
    place: String,
    content: Content,
    table: String,
    backups: Vec<String>,
}

impl BackupStore {
    /// Reads every file of a backup, or of all where none is named, and compares it with its digest.
    ///
    /// # Errors
    /// Returns `Permanent` where there is no store of backups, or no such backup; else it fails as the storage does.
    /// What is damaged is no error but a finding.
    #[boxed]
    pub async fn verify(&self, id: Option<&str>) -> Result<Verified, LakeError> {
        let mut verified = Verified { foreign: self.foreign().await?, ..Verified::default() };
        let mut backups = Vec::new();
        let names = self.record_names().await?;
        let names: Vec<&String> = names.iter().filter(|name| id.is_none_or(|id| name.starts_with(id))).collect();
        if names.is_empty() {
            // Says that there is none.
            self.backup(id).await?;
        }
        for name in names {
            match self.record(name).await {
                Ok(backup) => backups.push(backup),
                Err(error) => {
                    let place = format!("{}/backups/{name}", self.location());
                    verified.findings.push(Finding {
                        place,
                        of: "the whole backup".to_owned(),
                        text: error.to_string(),
                    });
                }
            }
        }
        self.compare(&backups, &mut verified).await;
        for backup in &backups {
            for table in &backup.tables {
                verified.findings.extend(self.named_by(backup, table).await);
            }
        }
        if id.is_none() {
            let named: HashSet<String> = backups.iter().flat_map(|backup| self.places_of(backup)).collect();
            let unnamed = self.present().await?.into_keys().filter(|place| !named.contains(place)).count();
            verified.unnamed = unnamed as u64;
        }
        verified.findings.sort();
        verified.findings.dedup();
        verified.backups = backups.into_iter().map(|backup| backup.id).collect();
        Ok(verified)
    }

    async fn compare(&self, backups: &[Backup], verified: &mut Verified) {
        let mut wanted: BTreeMap<(String, String), Wanted> = BTreeMap::new();
        for backup in backups {
            for table in &backup.tables {
                for file in &table.files {
                    let place = self.file(&table.folder(), &file.path);
                    let entry = wanted.entry((plain(&place), file.sha256.clone())).or_insert_with(|| Wanted {
                        place,
                        content: Content { size: file.size, sha256: file.sha256.clone() },
                        table: table.name.clone(),
                        backups: Vec::new(),
                    });
                    entry.backups.push(backup.id.clone());
                }
            }
        }
        let reading: Vec<_> = wanted.into_values().map(|wanted| self.look_at(wanted)).collect();
        let mut reading = futures::stream::iter(reading).buffer_unordered(COPIES_AT_ONCE);
        while let Some((found, finding)) = reading.next().await {
            verified.files += 1;
            verified.bytes += found;
            verified.findings.extend(finding);
        }
    }

    async fn look_at(&self, wanted: Wanted) -> (u64, Option<Finding>) {
        let Wanted { place, content: wanted, table, backups } = wanted;
        let read = async {
            let input = self.input(&place).map_err(|error| error.to_string())?;
            match content(&input).await {
                Ok(found) if found == wanted => Ok(found.size),
                Ok(found) if found.size < wanted.size => {
                    Err(format!("cut off: found {} bytes, wanted {}", found.size, wanted.size))
                }
                Ok(found) => Err(format!(
                    "damaged: found {} bytes with SHA-256 {}, wanted {} bytes with {}",
                    found.size, found.sha256, wanted.size, wanted.sha256
                )),
                Err(error) if is_not_found(&error) => Err("missing".to_owned()),
                Err(error) => Err(format!("can't be read: {error}")),
            }
        };
        match read.await {
            Ok(bytes) => (bytes, None),
            Err(text) => (0, Some(Finding { place, of: format!("{table} in {}", backups.join(", ")), text })),
        }
    }

    /// Returns the files that a table's snapshots name and the backup lacks.
    async fn named_by(&self, backup: &Backup, table: &TableBackup) -> Vec<Finding> {
        let held: HashSet<String> = table.files.iter().map(|file| plain(&file.location)).collect();
        let mut named: Vec<String> =
            table.metadata.snapshots().map(|snapshot| snapshot.manifest_list().to_owned()).collect();
        for file in &table.files {
            let place = self.file(&table.folder(), &file.path);
            let Ok(input) = self.input(&place) else { continue };
            // What can't be read was told already.
            match file.kind {
                FileKind::ManifestList => {
                    let Ok(bytes) = input.read().await else { continue };
                    let Ok(list) = ManifestList::parse_with_version(&bytes, table.metadata.format_version()) else {
                        continue;
                    };
                    named.extend(list.entries().iter().map(|file| file.manifest_path.clone()));
                }
                FileKind::Manifest => {
                    let Ok(bytes) = input.read().await else { continue };
                    let Ok(manifest) = Manifest::parse_avro(&bytes) else { continue };
                    let alive = manifest.entries().iter().filter(|entry| entry.is_alive());
                    named.extend(alive.map(|entry| entry.file_path().to_owned()));
                }
                FileKind::Offsets | FileKind::Data => {}
            }
        }
        let lost = named.into_iter().filter(|location| !held.contains(&plain(location)));
        lost.map(|location| Finding {
            place: location,
            of: format!("{} in {}", table.name, backup.id),
            text: "is named by a snapshot, and not in the backup".to_owned(),
        })
        .collect()
    }
}
