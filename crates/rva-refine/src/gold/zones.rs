//! The zones and lines of cameras as `rva.zones` has them, and what a change of them touches.

use super::extents::CameraOf;
use crate::error::{Trouble, expired};
use crate::ids::{Ids, text, whole};
use rva_analytics::{Shape as Drawn, ZoneDefinition, Zones};
use rva_lake::{Cells, ChangedFile, RowFilter, Shape, Since, TableView, ZoneTable};
use std::sync::Arc;

/// A stretch of time in which a camera's shapes are others than they were.
pub(super) type Redrawn = (CameraOf, i64, i64);

/// Returns the shapes of all cameras. A row that can't be read is told and left out: nobody can be judged by it.
pub(super) async fn read(view: &TableView) -> Result<Zones, Trouble> {
    let mut ids = Ids::default();
    let mut definitions = Vec::new();
    for row in view.rows(ZoneTable::COLUMNS, &RowFilter::default()).await? {
        match definition_of(&mut ids, &row) {
            Ok(definition) => definitions.push(definition),
            Err(why) => {
                let name = text(&row, 2).map_or("", |name| name);
                tracing::warn!(name, reason = %why, "left out a row of rva.zones that is no zone and no line");
            }
        }
    }
    Ok(Zones::new(definitions))
}

/// Returns what a row says.
///
/// # Errors
/// Returns why it can't be read.
pub(crate) fn definition_of(ids: &mut Ids, row: &Cells) -> Result<ZoneDefinition, String> {
    let missing = |what: &str| format!("found no {what}, wanted one");
    let (kind, points) = (text(row, 3).ok_or_else(|| missing("kind"))?, text(row, 4).ok_or_else(|| missing("points"))?);
    Ok(ZoneDefinition {
        store: text(row, 0).and_then(|store| ids.store(store)).ok_or_else(|| missing("store_id"))?,
        camera: text(row, 1).and_then(|camera| ids.camera(camera)).ok_or_else(|| missing("camera_id"))?,
        name: text(row, 2).cloned().ok_or_else(|| missing("name"))?,
        shape: Drawn::parse(kind, points).map_err(|error| error.to_string())?,
        valid_from_us: whole(row, 5).ok_or_else(|| missing("valid_from"))?,
        valid_to_us: whole(row, 6),
    })
}

/// Returns where and when shapes changed since a position; `None` where nobody can tell what they were then.
pub(super) async fn redrawn(
    view: &TableView,
    from: Option<u64>,
    follower: Option<&TableView>,
) -> Result<Option<Vec<Redrawn>>, Trouble> {
    if view.sequence() == 0 {
        return Ok(Some(Vec::new()));
    }
    let (mut came, mut went) = (Vec::new(), Vec::new());
    match view.since_seen(from, follower).await? {
        Since::Everything if from.is_some_and(|from| from > 0) => return Ok(None),
        Since::Everything => came = view.rows(ZoneTable::COLUMNS, &RowFilter::default()).await?,
        Since::Expired => return Err(expired(ZoneTable::TABLE, from, "gold")),
        Since::Appended(files) => rows_of(view, &files, &mut came).await?,
        Since::Changed { added, removed } => {
            rows_of(view, &added, &mut came).await?;
            rows_of(view, &removed, &mut went).await?;
        }
    }
    Ok(Some(differing(came, went)))
}

async fn rows_of(view: &TableView, files: &[ChangedFile], into: &mut Vec<Cells>) -> Result<(), Trouble> {
    for file in files {
        let read = view.rows_of_file(file, ZoneTable::COLUMNS, |rows| {
            into.extend(rows);
            Ok(())
        });
        read.await?;
    }
    Ok(())
}

/// Returns what stands on one side alone; of a row that only ends at another time, the time between.
fn differing(mut came: Vec<Cells>, went: Vec<Cells>) -> Vec<Redrawn> {
    let mut redrawn = Vec::new();
    let end = |row: &Cells| whole(row, 6).unwrap_or(i64::MAX);
    for old in went {
        // All but the end.
        match came.iter().position(|new| new.get(..6) == old.get(..6)) {
            Some(at) => {
                let new = came.swap_remove(at);
                let (first, last) = (end(&new).min(end(&old)), end(&new).max(end(&old)));
                redrawn.extend((first < last).then(|| span(&new, first, last)).flatten());
            }
            None => redrawn.extend(whole_span(&old)),
        }
    }
    redrawn.extend(came.iter().filter_map(whole_span));
    redrawn
}

fn span(row: &Cells, from_us: i64, to_us: i64) -> Option<Redrawn> {
    Some(((Arc::clone(text(row, 0)?), Arc::clone(text(row, 1)?)), from_us, to_us))
}

fn whole_span(row: &Cells) -> Option<Redrawn> {
    span(row, whole(row, 5)?, whole(row, 6).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rva_lake::Cell;

    fn row(name: &str, from: i64, to: Option<i64>) -> Cells {
        let text = |text: &str| Cell::Text(Arc::from(text));
        let to = to.map_or(Cell::Null, Cell::Time);
        vec![text("s"), text("c"), text(name), text("line"), text("[[0,0],[1,1]]"), Cell::Time(from), to]
    }

    fn spans(came: &[Cells], went: &[Cells]) -> Vec<(i64, i64)> {
        let mut spans: Vec<_> =
            differing(came.to_vec(), went.to_vec()).into_iter().map(|(_, from, to)| (from, to)).collect();
        spans.sort_unstable();
        spans
    }

    #[test]
    fn a_change_touches_the_time_in_which_shapes_differ() {
        let open = row("door", 10, None);
        let one = std::slice::from_ref(&open);
        assert_eq!(spans(one, &[]), [(10, i64::MAX)]);
        assert_eq!(spans(one, one), [], "written again as it was");
        let closed = row("door", 10, Some(50));
        assert_eq!(spans(&[closed.clone(), row("door", 50, None)], &[open]), [(50, i64::MAX), (50, i64::MAX)]);
        assert_eq!(spans(&[], &[closed]), [(10, 50)], "one that never was");
    }
}
