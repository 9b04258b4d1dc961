//! The common parts of the steps of silver, gold and drawings: outcomes, rules and positions.

use rva_types::{OffsetMap, Position};

/// The table that everything is made of.
pub(crate) const BRONZE_TABLE: &str = "bronze_raw";

/// The outcome of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stepped {
    /// There was nothing to do: all is as new as its input.
    Idle,
    /// Something was committed, or has to be looked at again.
    Moved,
}

impl Stepped {
    pub(crate) fn and(self, other: Self) -> Self {
        if self == Self::Idle { other } else { Self::Moved }
    }
}

/// Rules that a mutant breaks, to show that the suite notices. Without the feature `mutants` nobody can.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(feature = "mutants"), allow(unreachable_pub, reason = "only a build for tests names it"))]
pub struct RefineRules {
    /// Commits rows and position together; else the position goes first.
    pub together: bool,
    /// Works a touched track out whole, in every hour that it reaches.
    pub whole_tracks: bool,
    /// Writes again what replaced files held of other hours.
    pub keeps_others: bool,
    /// Works the time out again in which zones and lines are others than they were.
    pub redraws: bool,
    /// Adds new rows to hours in memory only where those are at the table's position.
    pub drops_hot: bool,
}

impl RefineRules {
    pub(crate) const KEPT: Self =
        Self { together: true, whole_tracks: true, keeps_others: true, redraws: true, drops_hot: true };
}

#[cfg(feature = "mutants")]
impl Default for RefineRules {
    fn default() -> Self {
        Self::KEPT
    }
}

/// Returns a map of positions: numbers of snapshots by table.
pub(crate) fn position<const N: usize>(tables: [(&str, u64); N]) -> OffsetMap {
    let mut map = OffsetMap::new();
    for (table, number) in tables {
        map.advance(table, Position::of_record(number));
    }
    map
}

/// Returns the number that a map holds for a table.
pub(crate) fn sequence_of(map: &OffsetMap, table: &str) -> Option<u64> {
    map.get(table).map(|position| position.entry)
}
