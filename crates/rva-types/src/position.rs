//! Positions in a log, and the map of them that a table commit carries.

use std::{borrow::Borrow, collections::BTreeMap, fmt, ops::Deref, str::FromStr, sync::Arc};

/// The name of a partition of a log: a camera id in the embedded log, a number in a Pulsar topic. Clones share the text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionName(Arc<str>);

impl PartitionName {
    /// Returns its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Deref for PartitionName {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

/// Maps that are keyed by names are asked with a text.
impl Borrow<str> for PartitionName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl From<&str> for PartitionName {
    fn from(name: &str) -> Self {
        Self(name.into())
    }
}

impl From<String> for PartitionName {
    fn from(name: String) -> Self {
        Self(name.into())
    }
}

impl From<&PartitionName> for PartitionName {
    fn from(name: &PartitionName) -> Self {
        name.clone()
    }
}

impl From<&String> for PartitionName {
    fn from(name: &String) -> Self {
        Self(name.as_str().into())
    }
}

impl PartialEq<str> for PartitionName {
    fn eq(&self, text: &str) -> bool {
        self.as_str() == text
    }
}

impl PartialEq<&str> for PartitionName {
    fn eq(&self, text: &&str) -> bool {
        self.as_str() == *text
    }
}

impl fmt::Display for PartitionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for PartitionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// The position of one record in its partition. Ordered; never used twice in the life of a log.
///
/// The embedded log counts records (`0:N:-1`); Pulsar has ledger, entry and index in the batch (-1: not batched).
/// Text form `ledger:entry:batch_index`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The ledger's number; 0 in the embedded log.
    pub ledger: u64,
    /// The entry in the ledger; the record's number, counted from 1, in the embedded log.
    pub entry: u64,
    /// The index in the entry's batch, -1 where entries aren't batches.
    pub batch_index: i32,
}

/// An error for a text that is no position.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("found position {found:?}, wanted ledger:entry:batch_index")]
pub struct PositionError {
    found: String,
}

impl Position {
    /// Returns the position of record `number` (from 1) of an embedded log's partition.
    pub const fn of_record(number: u64) -> Self {
        Self { ledger: 0, entry: number, batch_index: -1 }
    }

    /// Returns the position behind every entry of a ledger, however many it had: for a ledger that is gone, and was
    /// given up. The number fits the signed ones of Pulsar's interfaces.
    pub const fn end_of_ledger(ledger: u64) -> Self {
        Self { ledger, entry: i64::MAX as u64, batch_index: -1 }
    }

    /// Returns whether it is [`Position::end_of_ledger`], at which there is no record.
    pub const fn is_end_of_ledger(self) -> bool {
        self.entry == i64::MAX as u64
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.ledger, self.entry, self.batch_index)
    }
}

impl FromStr for Position {
    type Err = PositionError;
    fn from_str(text: &str) -> Result<Self, PositionError> {
        let error = || PositionError { found: text.chars().take(64).collect() };
        let mut parts = text.split(':');
        let mut next = || parts.next().ok_or_else(error);
        let (ledger, entry, batch) = (next()?, next()?, next()?);
        if parts.next().is_some() {
            return Err(error());
        }
        Ok(Self {
            ledger: ledger.parse().map_err(|_| error())?,
            entry: entry.parse().map_err(|_| error())?,
            batch_index: batch.parse().map_err(|_| error())?,
        })
    }
}

/// Partitions of a map that a line for people shows: that of twenty thousand cameras would be a megabyte a commit.
const SHOWN_MAX: usize = 8;

/// A map of each partition to the position of the last record that is included. Of a partition that isn't in it,
/// nothing is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OffsetMap(BTreeMap<PartitionName, Position>);

impl OffsetMap {
    /// Makes a map that includes nothing of any partition.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the last included position of a partition.
    pub fn get(&self, partition: &str) -> Option<Position> {
        self.0.get(partition).copied()
    }

    /// Includes a partition up to a position. A smaller position than the one held is ignored.
    pub fn advance(&mut self, partition: impl Into<PartitionName>, to: Position) {
        let held = self.0.entry(partition.into()).or_insert(to);
        *held = to.max(*held);
    }

    /// Returns both maps joined, with the larger position of each partition.
    pub fn merged(&self, other: &Self) -> Self {
        let mut all = self.clone();
        for (partition, position) in other.iter() {
            all.advance(partition, position);
        }
        all
    }

    /// Returns whether a position is already included.
    pub fn includes(&self, partition: &str, position: Position) -> bool {
        self.get(partition).is_some_and(|held| position <= held)
    }

    /// Iterates over partitions and positions in name order.
    pub fn iter(&self) -> impl Iterator<Item = (&PartitionName, Position)> {
        self.0.iter().map(|(name, position)| (name, *position))
    }

    /// Returns whether no partition is included.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns compact JSON with partitions in name order: `{"cam_01":"0:17:-1"}`.
    pub fn to_json(&self) -> String {
        let map: BTreeMap<_, _> = self.0.iter().map(|(name, position)| (name.as_str(), position.to_string())).collect();
        serde_json::to_string(&map).unwrap_or_default()
    }

    /// Returns a text for people: [`OffsetMap::to_json`], but of many partitions only the first few, and how many there
    /// are beside them.
    pub fn to_text(&self) -> String {
        let more = self.0.len().saturating_sub(SHOWN_MAX);
        if more == 0 {
            return self.to_json();
        }
        let shown = Self(self.0.iter().take(SHOWN_MAX).map(|(name, position)| (name.clone(), *position)).collect());
        format!("{} and {more} more partitions", shown.to_json())
    }

    /// Reads the text that [`OffsetMap::to_json`] makes.
    pub fn from_json(text: &str) -> Result<Self, PositionError> {
        let map: BTreeMap<String, String> =
            serde_json::from_str(text).map_err(|_| PositionError { found: text.chars().take(64).collect() })?;
        map.into_iter().map(|(name, position)| Ok((name.into(), position.parse()?))).collect::<Result<_, _>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_sort_by_ledger_then_entry_then_batch() {
        let p = |t: &str| t.parse::<Position>().unwrap();
        assert!(p("1:9:9") < p("2:0:-1"));
        assert!(p("1:9:-1") < p("1:9:0"));
        assert_eq!(p("3:4:-1").to_string(), "3:4:-1");
        for bad in ["", "1:2", "1:2:3:4", "a:1:1", "1:-2:0"] {
            assert!(bad.parse::<Position>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_map_of_many_partitions_is_short_in_a_line_for_people() {
        let mut map = OffsetMap::new();
        for camera in 1..=8 {
            map.advance(format!("cam_{camera}"), Position::of_record(camera));
        }
        assert_eq!(map.to_text(), map.to_json(), "a few are shown whole");
        for camera in 0..20_000 {
            map.advance(format!("other_{camera:05}"), Position::of_record(1));
        }
        let text = map.to_text();
        assert!(
            text.starts_with(r#"{"cam_1":"0:1:-1","#) && text.ends_with(r#""} and 20000 more partitions"#),
            "{text}"
        );
        assert!(text.len() < 300, "{text}");
    }

    #[test]
    fn offset_maps_survive_json_with_any_camera_name() {
        let mut map = OffsetMap::new();
        map.advance("cam;=\"01\"", Position::of_record(7));
        map.advance("b", Position { ledger: 4, entry: 2, batch_index: 3 });
        assert_eq!(OffsetMap::from_json(&map.to_json()), Ok(map.clone()));
        assert_eq!(map.to_json(), r#"{"b":"4:2:3","cam;=\"01\"":"0:7:-1"}"#);
    }

    #[test]
    fn offsets_never_go_back() {
        let mut map = OffsetMap::new();
        map.advance("a", Position::of_record(7));
        map.advance("a", Position::of_record(3));
        assert_eq!(map.get("a"), Some(Position::of_record(7)));
        assert!(map.includes("a", Position::of_record(7)) && !map.includes("a", Position::of_record(8)));
        assert!(!map.includes("b", Position::of_record(1)));
    }
}
