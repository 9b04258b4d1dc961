//! Summaries of the tables, a line for each.

use crate::definition::{NAMESPACE, our_tables};
use crate::errors::lake_error;
use crate::lake::Lake;
use crate::places::check_table;
use crate::seam::LakeError;
use crate::state::{REFINE_JOB, StateKeys, StoredState};
use async_recursion::async_recursion as boxed;
use iceberg::NamespaceIdent;
use iceberg::table::Table;
use rva_types::{OffsetMap, Timestamp};

/// The size and the state of a table now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableSummary {
    /// The table's name: `rva.bronze_raw`.
    pub name: String,
    /// The number of rows.
    pub rows: u64,
    /// The number of data files.
    pub files: u64,
    /// The bytes of the data files.
    pub bytes: u64,
    /// The number of snapshots that can still be read.
    pub snapshots: u64,
    /// The number of the newest snapshot; 0 before the first.
    pub sequence: u64,
    /// The time at which the newest snapshot was made; `None` before the first.
    pub last_commit: Option<Timestamp>,
    /// The last position in the table for each partition of the log; empty for a table that the job doesn't write.
    pub offsets: OffsetMap,
    /// The log that the offsets belong to.
    pub source: Option<String>,
}

impl Lake {
    /// Returns a summary of every table in namespace `rva`, by name. One that isn't ours and can't be read is left out.
    ///
    /// # Errors
    /// Fails as the catalog and the storage do.
    #[boxed]
    pub async fn tables(&self) -> Result<Vec<TableSummary>, LakeError> {
        let namespace = NamespaceIdent::new(NAMESPACE.to_owned());
        let failed = |error| lake_error(format_args!("list the tables of {NAMESPACE}"), error);
        if !self.catalog.namespace_exists(&namespace).await.map_err(failed)? {
            return Ok(Vec::new());
        }
        let mut idents = self.catalog.list_tables(&namespace).await.map_err(failed)?;
        idents.sort_by(|one, other| one.name().cmp(other.name()));
        let jobs = [StateKeys::of_job(&self.options.job), StateKeys::of_job(&REFINE_JOB)];
        let mut summaries = Vec::new();
        for ident in idents {
            let failed = |error| lake_error(format_args!("read table {ident}"), error);
            let read = async {
                let table = self.catalog.load_table(&ident).await.map_err(failed)?;
                check_table(&ident, table.metadata(), &self.options.allowed)?;
                summary(&table, &jobs).await
            };
            match read.await {
                Ok(found) => summaries.push(found),
                Err(error) if our_tables().contains(&ident.name()) => return Err(error),
                // Somebody else's: it stops nobody.
                Err(error) => tracing::warn!(table = %ident, %error, "left out a table that can't be read"),
            }
        }
        Ok(summaries)
    }
}

async fn summary(table: &Table, jobs: &[StateKeys]) -> Result<TableSummary, LakeError> {
    let metadata = table.metadata();
    let mut stored = StoredState::default();
    for keys in jobs {
        if stored.held.is_none() {
            stored = keys.read(table).await?;
        }
    }
    let (rows, files, bytes) = totals(table).await?;
    let last = metadata.current_snapshot().map(|snapshot| snapshot.timestamp_ms().saturating_mul(1000));
    let ident = table.identifier();
    Ok(TableSummary {
        name: format!("{}.{}", ident.namespace().join("."), ident.name()),
        rows,
        files,
        bytes,
        snapshots: metadata.snapshots().len() as u64,
        sequence: metadata
            .current_snapshot()
            .map_or(0, |snapshot| u64::try_from(snapshot.sequence_number()).unwrap_or(0)),
        last_commit: last.map(Timestamp::from_micros),
        offsets: stored.offsets(),
        source: stored.source().map(str::to_owned),
    })
}

/// Returns rows, files and bytes: from the snapshot's summary, or by counting where a writer left it out.
async fn totals(table: &Table) -> Result<(u64, u64, u64), LakeError> {
    let Some(snapshot) = table.metadata().current_snapshot() else { return Ok((0, 0, 0)) };
    let properties = &snapshot.summary().additional_properties;
    let total = |name: &str| properties.get(name).and_then(|value| value.parse().ok());
    if let (Some(rows), Some(files), Some(bytes)) =
        (total("total-records"), total("total-data-files"), total("total-files-size"))
    {
        return Ok((rows, files, bytes));
    }
    let failed = |error| lake_error(format_args!("read the manifests of {}", table.identifier()), error);
    let list = table.manifest_list_reader(snapshot).load().await.map_err(failed)?;
    let (mut rows, mut files, mut bytes) = (0, 0, 0);
    for manifest in list.entries() {
        let loaded = manifest.load_manifest(table.file_io()).await.map_err(failed)?;
        let data = loaded.entries().iter().filter(|entry| entry.is_alive());
        for entry in data.filter(|entry| entry.content_type() == iceberg::spec::DataContentType::Data) {
            rows += entry.record_count();
            files += 1;
            bytes += entry.file_size_in_bytes();
        }
    }
    Ok((rows, files, bytes))
}
