//! The decision where reading starts, from what the table says and what the log holds. It acts on nothing.

use crate::RollbackPolicy;
use rva_bus::PartitionRange;
use rva_lake::ResumePoint;
use rva_types::{OffsetMap, PartitionName, Position};
use std::fmt;

/// Records that the log no longer holds, or never gave: those behind `after` and before `found`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// The partition's name.
    pub partition: PartitionName,
    /// The last position that was read or committed; `None` where the first record of the partition is missing.
    pub after: Option<Position>,
    /// The first position behind the hole; `None` where the log holds nothing more.
    pub found: Option<Position>,
    /// The number of records that are missing, where positions can tell; else 1.
    pub records: u64,
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { partition, after, found, .. } = self;
        write!(f, "partition {partition}: found ")?;
        match found {
            Some(found) => write!(f, "{found}")?,
            None => f.write_str("nothing")?,
        }
        match after {
            Some(after) if found.is_none_or(|found| found.ledger != after.ledger) => write!(
                f,
                " as the first record behind {after}, wanted its successor, or ledger {} as the proof that it has none",
                after.ledger
            ),
            Some(after) => write!(f, " as the first record behind {after}, wanted its successor"),
            None => f.write_str(" as the first record, wanted the oldest one that the log holds"),
        }
    }
}

/// A reason why an ingest must not start by itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Halt {
    /// The offsets in the table belong to another log: their positions can't be compared.
    #[error(
        "found log {found}, wanted log {stored}, whose offsets {table} holds: continue with that log, or take another ingest.job (or data folder)"
    )]
    AnotherLog {
        /// The table's name.
        table: &'static str,
        /// The identity in the table.
        stored: String,
        /// The identity of the log that was opened.
        found: String,
    },
    /// The log ends before the stored position: it was shortened or made anew under its old name.
    #[error("log ends before the table: partition {partition}: found {}, wanted at least {stored}, which is committed", end(.last))]
    LogEndsEarlier {
        /// The partition's name.
        partition: PartitionName,
        /// The position in the table.
        stored: Position,
        /// The last position of the log.
        last: Option<Position>,
    },
    /// The log has lost records that the table does not have, or can't prove that it has not.
    #[error("records are lost, or may be: {0} (--accept-gap goes on without them)")]
    RecordsLost(Gap),
    /// The table was rolled back, and the policy is to halt.
    #[error(
        "{table} was rolled back: found commit {found}, wanted {wanted} (on_rollback=rewind reads the log again from there)"
    )]
    RolledBack {
        /// The table's name.
        table: &'static str,
        /// The sequence number of the table's newest commit of ours.
        found: u64,
        /// The sequence number that it had reached.
        wanted: u64,
    },
    /// Offsets in the table are smaller than ones already known, and no rollback explains it (I9).
    #[error("offsets of {table} went back: partition {partition}: found {}, wanted at least {known}", end(.found))]
    OffsetsWentBack {
        /// The table's name.
        table: &'static str,
        /// The partition's name.
        partition: PartitionName,
        /// The position that was known.
        known: Position,
        /// The position in the table.
        found: Option<Position>,
    },
}

fn end(position: &Option<Position>) -> String {
    position.map_or_else(|| "nothing".to_owned(), |position| position.to_string())
}

/// The knowledge and the policies that a start goes by.
#[derive(Debug, Clone, Copy)]
pub struct StartRules<'a> {
    /// The table's name, for texts.
    pub table: &'static str,
    /// The identity of the log that was opened.
    pub identity: &'a str,
    /// The offsets that this process knows to have been committed: the table must not be behind them.
    pub known: &'a OffsetMap,
    /// The policy for a table that was rolled back.
    pub on_rollback: RollbackPolicy,
    /// Lets it go on without records that the log has lost.
    pub accept_gap: bool,
}

/// The positions to go on from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartPlan {
    /// The table's map, on which the next batch is built.
    pub committed: OffsetMap,
    /// The positions behind which reading continues: the table's map, advanced over accepted gaps.
    pub read: OffsetMap,
    /// The gaps that were accepted.
    pub gaps: Vec<Gap>,
    /// The sequence number that the table was rolled back from, where the policy is to read again.
    pub rolled_back_from: Option<u64>,
}

/// Compares a table with a log and returns where to go on, or why not to.
///
/// `ranges` are the partitions that this worker owns; partitions of the map that are another worker's must be left
/// out of `owns`.
///
/// # Errors
/// Returns a [`Halt`] that names found and wanted.
pub fn plan_start(
    rules: StartRules<'_>,
    point: &ResumePoint,
    ranges: &[PartitionRange],
    owns: impl Fn(&str) -> bool,
) -> Result<StartPlan, Halt> {
    check_identity(rules, point)?;
    check_rollback(rules, point)?;
    let mut plan = StartPlan {
        committed: point.offsets.clone(),
        read: point.offsets.clone(),
        gaps: Vec::new(),
        rolled_back_from: point.rolled_back_from,
    };
    for (partition, stored) in point.offsets.iter().filter(|(partition, _)| owns(partition)) {
        let range = ranges.iter().find(|range| range.partition == *partition);
        let last = range.and_then(|range| range.last);
        let Some(range) = range.filter(|range| range.next > stored && last.is_none_or(|last| reaches(last, stored)))
        else {
            return Err(Halt::LogEndsEarlier { partition: partition.to_owned(), stored, last });
        };
        let skipped = gap_of_skip(rules, point, stored, range);
        let Some((gap, read)) = skipped.or_else(|| gap_at_start(stored, range)) else { continue };
        if !rules.accept_gap {
            return Err(Halt::RecordsLost(gap));
        }
        plan.read.advance(partition, read);
        plan.gaps.push(gap);
    }
    Ok(plan)
}

/// Checks that the table belongs to this log, or to none yet.
pub(crate) fn check_identity(rules: StartRules<'_>, point: &ResumePoint) -> Result<(), Halt> {
    match &point.source {
        Some(stored) if stored != rules.identity => {
            Err(Halt::AnotherLog { table: rules.table, stored: stored.clone(), found: rules.identity.to_owned() })
        }
        _ => Ok(()),
    }
}

/// Checks that offsets don't go back, except by a rollback of the table, which is detected (I9).
pub(crate) fn check_rollback(rules: StartRules<'_>, point: &ResumePoint) -> Result<(), Halt> {
    if let Some(wanted) = point.rolled_back_from {
        return match rules.on_rollback {
            RollbackPolicy::Rewind => Ok(()),
            RollbackPolicy::Halt => Err(Halt::RolledBack { table: rules.table, found: point.sequence, wanted }),
        };
    }
    match rules.known.iter().find(|(partition, known)| !point.offsets.includes(partition, *known)) {
        None => Ok(()),
        Some((partition, known)) => Err(Halt::OffsetsWentBack {
            table: rules.table,
            partition: partition.to_owned(),
            known,
            found: point.offsets.get(partition),
        }),
    }
}

/// Returns the hole between the stored position and the first record that the log still has or will have, and the
/// position behind which reading goes on.
///
/// A log deletes from its old end, Pulsar whole ledgers. While the ledger of the stored position is there, its
/// successors are too; once it is gone, nobody can tell whether it held more.
fn gap_at_start(stored: Position, range: &PartitionRange) -> Option<(Gap, Position)> {
    let follower = range.first.unwrap_or(range.next);
    let before = just_before(follower);
    // The second: a gap that was accepted.
    let is_next = (follower.ledger == stored.ledger && follows(stored, follower)) || before == stored;
    if follower <= stored || is_next {
        return None;
    }
    let (partition, records) = (range.partition.clone(), distance(stored, before));
    Some((Gap { partition, after: Some(stored), found: range.first, records }, before))
}

/// Returns the hole that an operator skipped: the log believes that its reader has more than the table holds. Where
/// gaps are accepted that is an order. Else it is a mistake that costs nothing: the log still holds the records, and
/// they are read.
fn gap_of_skip(
    rules: StartRules<'_>,
    point: &ResumePoint,
    stored: Position,
    range: &PartitionRange,
) -> Option<(Gap, Position)> {
    // A table that was rolled back has less than the log was told of, and reads it again.
    let to = range.skipped_to.filter(|_| rules.accept_gap && point.rolled_back_from.is_none())?;
    if (to.ledger, to.entry) <= (stored.ledger, stored.entry) || to >= range.next {
        return None;
    }
    // What the broker deleted behind it belongs to the same hole.
    let (found, read) = match gap_at_start(to, range) {
        Some((gap, read)) => (gap.found, read),
        None => (Some(to).filter(|to| !to.is_end_of_ledger()).and_then(next_entry).or(range.first), to),
    };
    let (partition, records) = (range.partition.clone(), distance(stored, read));
    Some((Gap { partition, after: Some(stored), found, records }, read))
}

fn next_entry(position: Position) -> Option<Position> {
    Some(Position { entry: position.entry.checked_add(1)?, batch_index: -1, ..position })
}

/// Returns a position that `position` follows: its predecessor, or where that is in a ledger of unknown length, the end
/// of any older ledger. It is never asked for the first position that there is.
pub(crate) fn just_before(position: Position) -> Position {
    let Position { ledger, entry, batch_index } = position;
    match (batch_index, entry) {
        (1.., _) => Position { batch_index: batch_index - 1, ..position },
        (_, 1..) => Position { entry: entry - 1, batch_index: -1, ..position },
        _ => Position::end_of_ledger(ledger.saturating_sub(1)),
    }
}

/// Returns the number of records in (`after`, `to`], where both are in one ledger; else 1, the least that is missing.
fn distance(after: Position, to: Position) -> u64 {
    if after.ledger == to.ledger { to.entry.saturating_sub(after.entry).max(1) } else { 1 }
}

/// Returns whether a partition whose last message is `last` holds `stored`. If an entry can't be unpacked, nobody knows
/// how many messages it has, and its batch index is -1.
pub(crate) fn reaches(last: Position, stored: Position) -> bool {
    (last.ledger, last.entry) > (stored.ledger, stored.entry)
        || (last.ledger, last.entry) == (stored.ledger, stored.entry)
            && (last.batch_index < 0 || stored.batch_index < 0 || last.batch_index >= stored.batch_index)
}

/// Returns whether `next` must directly follow `previous` in a partition. Within a ledger entries count up by one and
/// batch indexes from 0. A new ledger begins with entry 0, but positions alone can't tell whether the old one went on:
/// only the log can, unless the old one was given up.
pub(crate) fn follows(previous: Position, next: Position) -> bool {
    if next.ledger != previous.ledger {
        let is_first = next.entry == 0 && next.batch_index <= 0;
        return previous.is_end_of_ledger() && next.ledger > previous.ledger && is_first;
    }
    if next.entry == previous.entry {
        return previous.batch_index >= 0 && Some(next.batch_index) == previous.batch_index.checked_add(1);
    }
    Some(next.entry) == previous.entry.checked_add(1) && next.batch_index <= 0
}

/// Returns whether `position` is the first message of the entry `first`, whose batch index is not known (-1).
pub(crate) fn begins(first: Position, position: Position) -> bool {
    (first.ledger, first.entry) == (position.ledger, position.entry)
        && first.batch_index < 0
        && position.batch_index <= 0
}

/// Returns the hole before a message that does not follow what was read.
pub(crate) fn gap_before(partition: &str, after: Position, found: Position) -> Gap {
    let before = Position { entry: found.entry.saturating_sub(1), ..found };
    Gap { partition: partition.into(), after: Some(after), found: Some(found), records: distance(after, before) }
}

/// Returns the hole before the first message of a partition whose oldest record is `first`.
pub(crate) fn gap_at_oldest(partition: &str, first: Position, found: Position) -> Gap {
    Gap { partition: partition.into(), after: None, found: Some(found), records: distance(first, found) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(partition: &str, first: Option<u64>, last: Option<u64>) -> PartitionRange {
        PartitionRange {
            partition: partition.into(),
            topic: (format!("embedded/{partition}"), 0),
            first: first.map(Position::of_record),
            last: last.map(Position::of_record),
            next: Position::of_record(last.unwrap_or(0) + 1),
            skipped_to: None,
        }
    }

    /// A partition of Pulsar that holds entries from `first` on.
    fn of_pulsar(first: Option<&str>, last: Option<&str>, next: &str) -> PartitionRange {
        let parse = |text: &str| text.parse::<Position>().unwrap();
        let topic = ("persistent://t/n/events".into(), 0);
        PartitionRange {
            partition: "0".into(),
            topic,
            first: first.map(parse),
            last: last.map(parse),
            next: parse(next),
            skipped_to: None,
        }
    }

    fn stored(position: &str) -> ResumePoint {
        let mut offsets = OffsetMap::new();
        offsets.advance("0", position.parse().unwrap());
        ResumePoint { offsets, ..point(&[]) }
    }

    fn map(entries: &[(&str, u64)]) -> OffsetMap {
        let mut map = OffsetMap::new();
        for (partition, record) in entries {
            map.advance(*partition, Position::of_record(*record));
        }
        map
    }

    fn point(entries: &[(&str, u64)]) -> ResumePoint {
        ResumePoint { source: Some("log-1".into()), offsets: map(entries), sequence: 3, rolled_back_from: None }
    }

    fn rules(known: &OffsetMap) -> StartRules<'_> {
        StartRules {
            table: "bronze_raw",
            identity: "log-1",
            known,
            on_rollback: RollbackPolicy::Rewind,
            accept_gap: false,
        }
    }

    fn plan(point: &ResumePoint, ranges: &[PartitionRange]) -> Result<StartPlan, Halt> {
        plan_start(rules(&OffsetMap::new()), point, ranges, |_| true)
    }

    #[test]
    fn a_fresh_table_starts_with_the_oldest_record() {
        let plan = plan(&ResumePoint::default(), &[range("a", Some(5), Some(9))]).unwrap();
        assert_eq!((plan.committed, plan.read, plan.gaps), (OffsetMap::new(), OffsetMap::new(), vec![]));
    }

    #[test]
    fn another_log_halts_and_both_are_named() {
        let mut point = point(&[("a", 3)]);
        point.source = Some("log-0".into());
        let text = plan(&point, &[range("a", Some(1), Some(9))]).unwrap_err().to_string();
        assert!(text.contains("found log log-1") && text.contains("wanted log log-0"), "{text}");
    }

    #[test]
    fn a_log_that_ends_before_the_table_halts() {
        for last in [Some(2), None] {
            let halt = plan(&point(&[("a", 3)]), &[range("a", None, last)]).unwrap_err();
            assert!(matches!(halt, Halt::LogEndsEarlier { .. }), "{halt}");
            assert!(halt.to_string().contains("0:3:-1"), "{halt}");
        }
        assert!(matches!(plan(&point(&[("a", 3)]), &[]), Err(Halt::LogEndsEarlier { last: None, .. })));
        assert!(plan(&point(&[("a", 3)]), &[range("a", None, Some(3))]).is_ok(), "at its end is no gap");
    }

    #[test]
    fn a_partition_of_another_worker_does_not_halt() {
        let known = OffsetMap::new();
        assert!(plan_start(rules(&known), &point(&[("b", 3)]), &[], |partition| partition == "a").is_ok());
    }

    #[test]
    fn a_log_that_starts_later_halts_and_an_accepted_gap_is_counted() {
        let (point, ranges) = (point(&[("a", 3)]), [range("a", Some(7), Some(9))]);
        let halt = plan(&point, &ranges).unwrap_err();
        assert!(halt.to_string().contains("found 0:7:-1 as the first record behind 0:3:-1"), "{halt}");
        let known = OffsetMap::new();
        let accepting = StartRules { accept_gap: true, ..rules(&known) };
        let plan = plan_start(accepting, &point, &ranges, |_| true).unwrap();
        assert_eq!(plan.read, map(&[("a", 6)]), "reading goes on with record 7");
        assert_eq!(plan.committed, map(&[("a", 3)]), "the batch is built on what the table has");
        assert_eq!(plan.gaps[0].records, 3);
    }

    #[test]
    fn a_log_that_holds_nothing_more_but_wrote_more_has_a_gap() {
        let known = OffsetMap::new();
        let accepting = StartRules { accept_gap: true, ..rules(&known) };
        let ranges = [range("a", None, Some(9))];
        assert!(matches!(plan(&point(&[("a", 3)]), &ranges), Err(Halt::RecordsLost(_))));
        let plan = plan_start(accepting, &point(&[("a", 3)]), &ranges, |_| true).unwrap();
        assert_eq!((plan.read, plan.gaps[0].records), (map(&[("a", 9)]), 6));
    }

    #[test]
    fn a_ledger_that_is_still_there_proves_that_nothing_is_lost() {
        let unread = of_pulsar(Some("5:0:-1"), Some("9:3:1"), "9:4:-1");
        let read = of_pulsar(Some("5:0:-1"), Some("5:8:2"), "5:9:-1");
        let read_then_restarted = of_pulsar(Some("5:0:-1"), Some("5:8:2"), "9:0:-1");
        for range in [unread, read, read_then_restarted] {
            assert_eq!(plan(&stored("5:8:2"), &[range]).unwrap().gaps, []);
        }
    }

    #[test]
    fn a_ledger_that_is_gone_may_have_held_more() {
        let known = OffsetMap::new();
        let accepting = StartRules { accept_gap: true, ..rules(&known) };
        for (range, found) in [
            (of_pulsar(None, None, "9:0:-1"), "found nothing"),
            (of_pulsar(Some("9:0:-1"), Some("9:3:1"), "9:4:-1"), "found 9:0:-1"),
        ] {
            let halt = plan(&stored("5:8:2"), std::slice::from_ref(&range)).unwrap_err().to_string();
            assert!(halt.contains("may be") && halt.contains(found) && halt.contains("ledger 5"), "{halt}");
            let plan = plan_start(accepting, &stored("5:8:2"), std::slice::from_ref(&range), |_| true).unwrap();
            let read = plan.read.get("0").unwrap();
            assert_eq!(
                self::plan(&stored(&read.to_string()), std::slice::from_ref(&range)).unwrap().gaps,
                [],
                "accepted for good"
            );
            for first in ["9:0:-1", "9:0:0"] {
                let first = first.parse().unwrap();
                assert!(read < first && follows(read, first), "{first} would be skipped behind {read}");
            }
        }
    }

    #[test]
    fn what_an_operator_skipped_is_a_gap_where_gaps_are_accepted_and_read_where_not() {
        let known = OffsetMap::new();
        let accepting = StartRules { accept_gap: true, ..rules(&known) };
        let at = |text: &str| Some(text.parse::<Position>().unwrap());
        let range =
            |to: &str| PartitionRange { skipped_to: at(to), ..of_pulsar(Some("5:0:-1"), Some("7:9:-1"), "7:10:-1") };
        let read = |rules, point: &ResumePoint, to: &str| plan_start(rules, point, &[range(to)], |_| true).unwrap();
        let skipped = read(accepting, &stored("7:2:3"), "7:9:-1");
        assert_eq!((skipped.read.get("0"), skipped.gaps[0].records), (at("7:9:-1"), 7));
        let end = format!("6:{}:-1", i64::MAX);
        assert_eq!(read(accepting, &stored("5:2:3"), &end).read.get("0"), at(&end), "all before ledger 7");
        // Where the reader itself left it, or behind.
        for to in ["7:1:-1", "7:2:-1", "5:0:-1"] {
            assert_eq!(read(accepting, &stored("7:2:3"), to).gaps, [], "{to}");
        }
        // Then deleted, with all that was skipped: as one gap, and for good.
        let deleted = PartitionRange { skipped_to: at("7:9:-1"), ..of_pulsar(None, None, "9:0:-1") };
        let plan = plan_start(accepting, &stored("5:2:3"), std::slice::from_ref(&deleted), |_| true).unwrap();
        let behind = plan.read.get("0").unwrap();
        assert_eq!((behind, plan.gaps.len()), (Position::end_of_ledger(8), 1));
        assert_eq!(self::plan(&stored(&behind.to_string()), &[deleted]).unwrap().gaps, []);
        assert_eq!(read(rules(&known), &stored("7:2:3"), "7:9:-1").gaps, [], "not asked for");
        let rolled_back = ResumePoint { rolled_back_from: Some(8), ..stored("7:2:3") };
        assert_eq!(read(accepting, &rolled_back, "7:9:-1").gaps, [], "the table went back, not the log ahead");
    }

    #[test]
    fn a_partition_that_was_made_anew_or_shortened_is_no_accepted_gap() {
        let known = OffsetMap::new();
        let accepting = StartRules { accept_gap: true, ..rules(&known) };
        for range in [of_pulsar(None, None, "5:8:-1"), of_pulsar(Some("3:0:-1"), Some("5:7:2"), "5:8:-1")] {
            let halt = plan_start(accepting, &stored("5:8:2"), &[range], |_| true);
            assert!(matches!(halt, Err(Halt::LogEndsEarlier { .. })), "{halt:?}");
        }
    }

    #[test]
    fn the_record_behind_the_stored_one_is_no_gap() {
        for first in [1, 3, 4] {
            assert!(plan(&point(&[("a", 3)]), &[range("a", Some(first), Some(9))]).is_ok(), "{first}");
        }
    }

    #[test]
    fn a_rollback_rewinds_or_halts_by_policy() {
        let mut point = point(&[("a", 3)]);
        point.rolled_back_from = Some(8);
        let known = map(&[("a", 9)]);
        let ranges = [range("a", Some(1), Some(9))];
        let plan = plan_start(rules(&known), &point, &ranges, |_| true).unwrap();
        assert_eq!((plan.read, plan.rolled_back_from), (map(&[("a", 3)]), Some(8)));
        let halting = StartRules { on_rollback: RollbackPolicy::Halt, ..rules(&known) };
        let halt = plan_start(halting, &point, &ranges, |_| true).unwrap_err();
        assert_eq!(halt, Halt::RolledBack { table: "bronze_raw", found: 3, wanted: 8 });
    }

    #[test]
    fn i9_offsets_that_go_back_without_a_rollback_halt() {
        let known = map(&[("a", 9)]);
        let halt = plan_start(rules(&known), &point(&[("a", 3)]), &[range("a", Some(1), Some(9))], |_| true);
        assert!(matches!(halt, Err(Halt::OffsetsWentBack { .. })));
    }

    #[test]
    fn positions_follow_within_batches_entries_and_ledgers() {
        let p = |text: &str| text.parse::<Position>().unwrap();
        let end = format!("4:{}:-1", i64::MAX);
        for (previous, next) in [("0:1:-1", "0:2:-1"), ("4:1:0", "4:1:1"), ("4:1:1", "4:2:0"), (&end, "5:0:-1")] {
            assert!(follows(p(previous), p(next)), "{previous} {next}");
        }
        for (previous, next) in
            [("0:1:-1", "0:3:-1"), ("4:1:0", "4:1:2"), ("4:1:1", "4:2:1"), ("4:1:-1", "4:1:0"), ("4:1:1", "5:0:-1")]
        {
            assert!(!follows(p(previous), p(next)), "{previous} {next}");
        }
    }

    #[test]
    fn the_largest_numbers_are_positions_like_others() {
        let most = Position { ledger: u64::MAX, entry: u64::MAX, batch_index: i32::MAX };
        assert!(!follows(most, Position { entry: 0, ..most }) && !follows(most, most));
        assert!(follows(Position { entry: u64::MAX - 1, ..most }, Position { batch_index: 0, ..most }));
        let start = Position { ledger: 0, entry: 0, batch_index: -1 };
        let gap = |from: Position, to| gap_before("0", from, to).records;
        assert_eq!((gap(start, most), gap(Position { entry: 0, ..most }, most)), (1, u64::MAX - 1));
        assert_eq!(gap_at_oldest("0", start, most).records, 1);
    }

    #[test]
    fn an_entry_whose_messages_nobody_can_count_reaches_itself() {
        let p = |text: &str| text.parse::<Position>().unwrap();
        for (last, stored) in
            [("4:1:-1", "4:1:7"), ("4:1:7", "4:1:-1"), ("4:1:7", "4:1:7"), ("4:2:0", "4:1:7"), ("5:0:-1", "4:9:7")]
        {
            assert!(reaches(p(last), p(stored)), "{last} {stored}");
        }
        for (last, stored) in [("4:1:6", "4:1:7"), ("4:0:9", "4:1:-1"), ("3:9:9", "4:0:0")] {
            assert!(!reaches(p(last), p(stored)), "{last} {stored}");
        }
    }
}
