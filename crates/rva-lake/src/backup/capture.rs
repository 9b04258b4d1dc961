//! One point in time over all tables, without stopping anybody.
//!
//! Each table's newest metadata is a point in time of that table, and none says when the others were at it. What has to
//! fit together are the positions: those of silver in bronze, those of gold in silver and the zones, and bronze's map
//! of the log, up to which each message is in bronze or in the dead letters. Positions only grow. So a table is looked
//! at *before* the one that it follows: whatever a position says then is in what is looked at later. Gold comes first,
//! bronze behind silver, and the dead letters and the notes of deletions, which are committed before bronze's map moves,
//! behind bronze.

use crate::definition::our_tables;
use crate::errors::lake_error;
use crate::followers::{Follower, following};
use crate::housekeeping::{Expiry, expiry};
use crate::lake::Lake;
use crate::options::HousekeepingLimits;
use crate::places::check_table;
use crate::rows::{BronzeRow, TableRow};
use crate::seam::{LakeError, LakeErrorKind};
use iceberg::spec::{FormatVersion, TableMetadata};
use iceberg::table::Table;
use iceberg::{NamespaceIdent, TableIdent};
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The tables of a namespace as they were at one point in time.
pub(crate) struct Captured {
    pub made_ms: i64,
    pub properties: BTreeMap<String, String>,
    pub tables: Vec<CapturedTable>,
    pub left_out: Vec<String>,
}

/// A table, and its metadata reduced to the snapshots that somebody needs.
pub(crate) struct CapturedTable {
    pub table: Table,
    pub metadata: TableMetadata,
}

/// Returns the place of a table in the order in which they are looked at.
fn order(name: &str) -> u8 {
    match name {
        "silver_frames" => 1,
        _ if name.starts_with("silver_") => 2,
        "zones" => 3,
        BronzeRow::TABLE => 4,
        // The dead letters and the notes of deletions.
        _ if our_tables().contains(&name) => 5,
        _ => 0,
    }
}

/// Puts names into the order in which they are looked at.
pub(crate) fn in_order(idents: &mut [TableIdent]) {
    idents.sort_by(|one, other| (order(one.name()), one.name()).cmp(&(order(other.name()), other.name())));
}

impl Lake {
    /// Looks at every table of the namespace.
    pub(crate) async fn capture(&self, namespace: &NamespaceIdent) -> Result<Captured, LakeError> {
        let failed = |error| lake_error(format_args!("list the tables of {namespace}"), error);
        let now = SystemTime::now();
        let properties = self.catalog.get_namespace(namespace).await.map_err(failed)?.properties().clone();
        let mut idents = self.catalog.list_tables(namespace).await.map_err(failed)?;
        in_order(&mut idents);
        let (mut tables, mut left_out) = (Vec::new(), Vec::new());
        for ident in idents {
            match self.look_at(&ident).await {
                Ok(table) => tables.push(table),
                Err(error) if is_ours(ident.name()) || error.kind() == LakeErrorKind::Transient => return Err(error),
                Err(error) => {
                    tracing::warn!(table = %ident, %error, "a table that isn't ours is left out of the backup");
                    left_out.push(ident.name().to_owned());
                }
            }
        }
        let mut captured = Vec::new();
        for table in &tables {
            let follower = furthest_behind(&tables, table).await?;
            let metadata = reduced(table, now, follower.as_ref())?;
            captured.push(CapturedTable { table: table.clone(), metadata });
        }
        let made_ms = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let made_ms = i64::try_from(made_ms).unwrap_or(i64::MAX);
        Ok(Captured { made_ms, properties: properties.into_iter().collect(), tables: captured, left_out })
    }

    async fn look_at(&self, ident: &TableIdent) -> Result<Table, LakeError> {
        let table = self.catalog.load_table(ident).await;
        let table = table.map_err(|error| lake_error(format_args!("read table {ident}"), error))?;
        check_table(ident, table.metadata(), &self.options.allowed)?;
        let version = table.metadata().format_version();
        if version != FormatVersion::V2 {
            let text = format!("found {ident} in format version {}, wanted 2", version as u8);
            return Err(LakeError::new(LakeErrorKind::Permanent, text));
        }
        Ok(table)
    }
}

fn is_ours(name: &str) -> bool {
    our_tables().contains(&name) || name == "zones" || ["silver_", "gold_"].iter().any(|start| name.starts_with(start))
}

/// Returns the follower of a table, among those that were looked at, that is furthest behind.
async fn furthest_behind(tables: &[Table], table: &Table) -> Result<Option<Follower>, LakeError> {
    let newest = u64::try_from(table.metadata().last_sequence_number()).unwrap_or(0);
    let mut found: Option<Follower> = None;
    for other in tables {
        let Some(follower) = following(other, table).await? else { continue };
        if follower.position > newest {
            let text = format!(
                "found {} at {} of {}, which is at {newest}: the tables were looked at in a wrong order",
                follower.name,
                follower.position,
                table.identifier()
            );
            return Err(LakeError::new(LakeErrorKind::Conflict, text));
        }
        if found.as_ref().is_none_or(|held| follower.position < held.position) {
            found = Some(follower);
        }
    }
    Ok(found)
}

/// Returns a table's metadata with the snapshots that somebody needs: the newest, those that a follower hasn't read,
/// those with the state of a job, and those of branches and tags.
fn reduced(table: &Table, now: SystemTime, follower: Option<&Follower>) -> Result<TableMetadata, LakeError> {
    let limits = HousekeepingLimits {
        snapshots_kept: 1,
        snapshots_age: Duration::ZERO,
        orphan_age: Duration::ZERO,
        ..HousekeepingLimits::default()
    };
    let Expiry { expired, anchors } = expiry(table, &limits, now, follower);
    let metadata = table.metadata();
    if expired.is_empty() {
        return Ok(metadata.clone());
    }
    let ids: Vec<i64> = expired.iter().map(|snapshot| snapshot.snapshot_id()).collect();
    let build = || -> iceberg::Result<TableMetadata> {
        let builder = metadata.clone().into_builder(None).remove_snapshots(&ids);
        Ok(builder.set_properties(anchors.into_iter().collect())?.build()?.metadata)
    };
    build().map_err(|error| lake_error(format_args!("reduce the metadata of {}", table.identifier()), error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_looked_at_before_the_one_that_it_follows() {
        let names = [
            "bronze_dead_letters",
            "bronze_deletions",
            "bronze_raw",
            "gold_hour_by_cam",
            "silver_detections",
            "silver_frames",
            "silver_rejects",
            "somebodys",
            "zones",
        ];
        let mut idents = names.map(|name| TableIdent::from_strs(["rva", name]).unwrap()).to_vec();
        in_order(&mut idents);
        let wanted = [
            "gold_hour_by_cam",
            "somebodys",
            "silver_frames",
            "silver_detections",
            "silver_rejects",
            "zones",
            "bronze_raw",
            "bronze_dead_letters",
            "bronze_deletions",
        ];
        assert_eq!(idents.iter().map(TableIdent::name).collect::<Vec<_>>(), wanted);
    }
}
