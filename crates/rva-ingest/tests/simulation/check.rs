//! The invariants, read from the tables by a reader that knows nothing of the faults.

use crate::{
    log::SimLog,
    tables::{bronze_ident, bronze_keys, scan, text},
    world::repeated,
};
use iceberg::{TableIdent, util::snapshot::ancestors_of};
use rva_lake::{Lake, TableSink};
use rva_types::OffsetMap;
use std::collections::BTreeSet;

/// The invariant's id, and what was found and wanted.
pub type Violation = (&'static str, String);

/// Partition and message id.
async fn dead_letter_keys(lake: &Lake) -> iceberg::Result<Vec<(String, String)>> {
    let ident = TableIdent::from_strs(["rva", "bronze_dead_letters"])?;
    let mut keys = Vec::new();
    for batch in scan(lake, &ident, ["topic", "message_id", "reason"]).await? {
        for row in 0..batch.num_rows() {
            let topic = text(&batch, "topic", row);
            keys.push((topic.trim_start_matches("embedded/").to_owned(), text(&batch, "message_id", row)));
        }
    }
    Ok(keys)
}

fn compare<T: Ord + Clone + std::fmt::Debug>(what: &str, all: &[T], wanted: &BTreeSet<T>) -> Vec<Violation> {
    let found: BTreeSet<T> = all.iter().cloned().collect();
    let mut violations = Vec::new();
    let mut note = |kind: &str, some: Vec<&T>| {
        if !some.is_empty() {
            violations.push(("I1", format!("{what}: {} {kind}, the first {:?}", some.len(), some[0])));
        }
    };
    note("missing", wanted.difference(&found).collect());
    note("that are not in the log up to the offsets", found.difference(wanted).collect());
    note("more than once", repeated(all).iter().collect());
    violations
}

/// Everything that must hold at any moment; also the table's offsets.
pub async fn invariants(lake: &Lake, log: &SimLog, before: &OffsetMap) -> (Vec<Violation>, OffsetMap) {
    let offsets = lake.bronze_sink().unwrap().resume_point().await.unwrap().offsets;
    let dead_offsets = lake.dead_letter_sink().unwrap().resume_point().await.unwrap().offsets;
    let mut violations = Vec::new();
    let (keys, bad) = log.contents(&offsets);
    match bronze_keys(lake).await {
        Ok(found) => violations.extend(compare("bronze", &found, &keys)),
        Err(error) => violations.push(("I7", format!("bronze can't be read: {error}"))),
    }
    match dead_letter_keys(lake).await {
        // Dead letters are committed first: there may be more than bronze's map says, up to their own.
        Ok(found) => {
            let (_, ahead) = log.contents(&offsets.merged(&dead_offsets));
            let early: BTreeSet<_> = found.iter().filter(|key| ahead.contains(*key)).cloned().collect();
            violations.extend(compare("dead letters", &found, &bad.union(&early).cloned().collect()));
        }
        Err(error) => violations.push(("I7", format!("dead letters can't be read: {error}"))),
    }
    violations.extend(lineage(lake, log).await);
    if !log.ends_entries(&offsets) {
        violations.push(("I3", format!("offsets {} do not end entries", offsets.to_json())));
    }
    if let Some((partition, was)) = before.iter().find(|(partition, was)| !offsets.includes(partition, *was)) {
        violations.push(("I9", format!("{partition} went back from {was}: {}", offsets.to_json())));
    }
    (violations, offsets)
}

/// I2: in every snapshot the rows are those that its own map justifies, and maps only grow along the lineage.
async fn lineage(lake: &Lake, log: &SimLog) -> Vec<Violation> {
    let table = lake.catalog().load_table(&bronze_ident()).await.unwrap();
    let metadata = table.metadata_ref();
    let Some(current) = metadata.current_snapshot_id() else { return Vec::new() };
    let mut violations = Vec::new();
    let mut younger: Option<OffsetMap> = None;
    for snapshot in ancestors_of(&metadata, current) {
        let summary = &snapshot.summary().additional_properties;
        let Some(text) = summary.get("rva.ingest.offsets") else { continue };
        let map = map_of(text);
        let wanted = log.contents(&map).0.len().to_string();
        let found = summary.get("total-records").cloned().unwrap_or_default();
        if found != wanted {
            violations.push(("I2", format!("{found} rows in the snapshot of {text}, wanted {wanted}")));
        }
        if let Some(younger) = younger.filter(|younger| younger.merged(&map) != *younger) {
            violations.push(("I9", format!("map {text} is an ancestor of {}", younger.to_json())));
        }
        younger = Some(map);
    }
    violations
}

/// The map of a summary: in it, or in the file that it names, which is there as long as the snapshot is.
fn map_of(text: &str) -> OffsetMap {
    let named: Option<serde_json::Value> = serde_json::from_str(text).ok();
    match named.as_ref().and_then(|named| named["file"].as_str()) {
        Some(file) => {
            let packed = std::fs::read(file.trim_start_matches("file://")).unwrap();
            OffsetMap::from_json(&String::from_utf8(zstd::decode_all(&packed[..]).unwrap()).unwrap()).unwrap()
        }
        None => OffsetMap::from_json(text).unwrap(),
    }
}
