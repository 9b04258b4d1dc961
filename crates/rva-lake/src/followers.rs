//! Followers of a table: tables that are worked out of it, each with its position in it. What a follower hasn't read yet
//! must not expire, or it could only be worked out anew.

use crate::errors::{is_not_found, lake_error};
use crate::seam::LakeError;
use crate::state::REFINE_JOB;
use crate::state::StateKeys;
use iceberg::Catalog;
use iceberg::table::Table;

/// The beginnings of the names of tables that follow others.
const FOLLOWING: [&str; 2] = ["silver_", "gold_"];

/// The follower that is furthest behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Follower {
    pub name: String,
    /// The number of the snapshot that it has read last. It is where it goes on, so it is needed too.
    pub position: u64,
}

/// Returns the follower of a table that is furthest behind; `None` where nothing follows it.
///
/// # Errors
/// Fails as catalog and storage do: a follower that can't be read may need anything.
pub(crate) async fn furthest_behind(catalog: &dyn Catalog, table: &Table) -> Result<Option<Follower>, LakeError> {
    let failed = |error| lake_error(format_args!("look for followers of {}", table.identifier()), error);
    let mut found: Option<Follower> = None;
    for ident in catalog.list_tables(table.identifier().namespace()).await.map_err(failed)? {
        if !FOLLOWING.iter().any(|start| ident.name().starts_with(start)) || ident == *table.identifier() {
            continue;
        }
        let other = match catalog.load_table(&ident).await {
            Ok(other) => other,
            // Dropped since, or its metadata is gone for good.
            Err(error) if is_not_found(&error) || !catalog.table_exists(&ident).await.map_err(failed)? => continue,
            Err(error) => return Err(failed(error)),
        };
        let is_behind = |other: &Follower| found.as_ref().is_none_or(|held| other.position < held.position);
        found = following(&other, table).await?.filter(is_behind).or(found);
    }
    Ok(found)
}

/// Returns the place of a table as a follower of another; `None` where it doesn't follow that one.
///
/// # Errors
/// Returns `Permanent` for a position that can't be read.
pub(crate) async fn following(other: &Table, table: &Table) -> Result<Option<Follower>, LakeError> {
    let state = StateKeys::of_job(&REFINE_JOB).read(other).await?;
    // A table that was made again is another one: positions in the old one say nothing.
    let uuid = table.metadata().uuid().to_string();
    if !state.source().is_some_and(|source| source.contains(&uuid)) {
        return Ok(None);
    }
    let position = state.offsets().get(table.identifier().name()).map(|position| position.entry);
    Ok(position.map(|position| Follower { name: other.identifier().name().to_owned(), position }))
}
