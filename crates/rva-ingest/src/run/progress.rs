//! Compares what a log promises with what came of it: the values by which the loop tells a log that is silent from one that
//! contradicts itself (I8). They do nothing themselves.

use crate::{Gap, start::reaches};
use rva_bus::PartitionRange;
use rva_types::{OffsetMap, PartitionName, Position};
use std::time::Duration;

/// The number of rebuilds in a row that may bring nothing new before a log that contradicts itself ends the ingest.
const STALLED_MAX: u32 = 5;

/// The ends of the log's ranges when they were last asked for: a poll must not be empty before they are read.
#[derive(Debug, Default)]
pub(super) struct Promises(OffsetMap);

impl Promises {
    /// Notes how far the ranges of our partitions reach. A range may end earlier than it did, where what was at its end
    /// turned out to be no record; but not where the log itself is shorter.
    pub(super) fn note(&mut self, ranges: &[PartitionRange], owns: impl Fn(&str) -> bool) {
        let before = std::mem::take(&mut self.0);
        for (partition, promised) in before.iter() {
            let range = ranges.iter().find(|range| range.partition == *partition);
            if range.is_none_or(|range| range.next <= promised) {
                self.0.advance(partition, promised);
            }
        }
        for range in ranges.iter().filter(|range| owns(&range.partition)) {
            if let Some(last) = range.last {
                self.0.advance(&range.partition, last);
            }
        }
    }

    /// Returns a partition that is not read up to where its range said, and that position.
    pub(super) fn unread(&self, read: &OffsetMap) -> Option<(PartitionName, Position)> {
        self.0
            .iter()
            .find(|(partition, last)| !read.get(partition).is_some_and(|read| reaches(read, *last)))
            .map(|(partition, last)| (partition.clone(), last))
    }
}

/// The progress in the log so far, over all rebuilds.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// The furthest positions that were ever read: only messages beyond them are progress.
    furthest: OffsetMap,
    /// The hole that led to the last rebuild.
    gap: Option<Gap>,
    /// The number of rebuilds since anything new came.
    stalled: u32,
    /// The time at which the last message came.
    heard: Duration,
}

impl Progress {
    /// Notes that the log answered at `now`, if only that it has nothing.
    pub(super) fn hear(&mut self, now: Duration) {
        self.heard = now;
    }

    /// Returns the time for which it has been silent.
    pub(super) fn silent_for(&self, now: Duration) -> Duration {
        now.saturating_sub(self.heard)
    }

    /// Notes that a message was taken; returns whether it is one that never came before.
    pub(super) fn take(&mut self, partition: &PartitionName, position: Position) -> bool {
        if self.furthest.includes(partition, position) {
            return false;
        }
        self.furthest.advance(partition, position);
        self.stalled = 0;
        true
    }

    /// Forgets how far it was read: the table was rolled back, and all of it is new once more.
    pub(super) fn forget(&mut self) {
        self.furthest = OffsetMap::new();
    }

    /// Returns whether the last rebuild has brought nothing new so far.
    pub(super) fn is_stalled(&self) -> bool {
        self.stalled > 0
    }

    /// Notes that everything is read once more.
    ///
    /// # Errors
    /// Returns the number of rebuilds that brought nothing, where it were too many.
    pub(super) fn stall(&mut self) -> Result<(), u32> {
        if self.stalled >= STALLED_MAX {
            return Err(self.stalled);
        }
        self.stalled += 1;
        Ok(())
    }

    /// Returns whether a hole is the one that led to the last rebuild: it is in the log itself then.
    pub(super) fn knows(&self, gap: &Gap) -> bool {
        self.gap.as_ref() == Some(gap)
    }

    /// Remembers the hole that leads to a rebuild.
    pub(super) fn meet(&mut self, gap: Gap) {
        self.gap = Some(gap);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(entries: &[(&str, u64)]) -> OffsetMap {
        let mut map = OffsetMap::new();
        entries.iter().for_each(|(partition, record)| map.advance(*partition, Position::of_record(*record)));
        map
    }

    fn range(partition: &str, last: Option<u64>, next: u64) -> PartitionRange {
        PartitionRange {
            partition: partition.into(),
            topic: (format!("embedded/{partition}"), 0),
            first: last.map(|_| Position::of_record(1)),
            last: last.map(Position::of_record),
            next: Position::of_record(next),
            skipped_to: None,
        }
    }

    #[test]
    fn what_a_log_promised_is_owed_until_it_is_read() {
        // The ranges one after another, what was read, and what is owed then.
        type Case<'a> = (&'a [&'a [PartitionRange]], &'a [(&'a str, u64)], Option<(&'a str, u64)>);
        let [one, more, shorter, empty] = [
            [range("door", Some(3), 4)],
            [range("door", Some(5), 6)],
            // Another end, but as many records as before: what was at the end was none.
            [range("door", Some(4), 6)],
            [range("door", None, 1)],
        ];
        let foreign = [range("yard", Some(9), 10)];
        let cases: &[Case<'_>] = &[
            (&[], &[], None),
            (&[&one], &[], Some(("door", 3))),
            (&[&one], &[("door", 2)], Some(("door", 3))),
            (&[&one], &[("door", 3)], None),
            (&[&one, &more], &[("door", 3)], Some(("door", 5))),
            (&[&more, &shorter], &[("door", 4)], None),
            (&[&one, &empty], &[], Some(("door", 3))),
            (&[&one, &[]], &[], Some(("door", 3))),
            (&[&foreign], &[], None),
        ];
        for (at, (asked, read, wanted)) in cases.iter().enumerate() {
            let mut promises = Promises::default();
            asked.iter().for_each(|ranges| promises.note(ranges, |partition| partition != "yard"));
            let wanted = wanted.map(|(partition, record)| (partition.into(), Position::of_record(record)));
            assert_eq!(promises.unread(&map(read)), wanted, "case {at}");
        }
    }

    #[test]
    fn only_what_never_came_is_progress_and_too_many_rebuilds_without_any_end_it() {
        let mut progress = Progress::default();
        let at = Position::of_record;
        assert!(
            progress.take(&"door".into(), at(1))
                && progress.take(&"door".into(), at(2))
                && progress.take(&"yard".into(), at(1))
        );
        assert!(!progress.take(&"door".into(), at(2)), "it came before");
        for _ in 0..STALLED_MAX {
            assert_eq!(progress.stall(), Ok(()));
            assert!(!progress.take(&"door".into(), at(1)) && progress.is_stalled(), "the same once more cures nothing");
        }
        assert_eq!(progress.stall(), Err(STALLED_MAX));
        assert!(progress.take(&"door".into(), at(3)) && !progress.is_stalled());
        assert_eq!(progress.stall(), Ok(()));
        progress.forget();
        assert!(progress.take(&"door".into(), at(1)), "after a rollback everything is new");
    }

    #[test]
    fn a_hole_is_known_once_it_was_met_and_silence_lasts_from_the_last_answer() {
        let mut progress = Progress::default();
        let gap = |record| Gap {
            partition: "door".into(),
            after: None,
            found: Some(Position::of_record(record)),
            records: 1,
        };
        assert!(!progress.knows(&gap(3)));
        progress.meet(gap(3));
        assert_eq!([progress.knows(&gap(3)), progress.knows(&gap(4))], [true, false]);
        progress.hear(Duration::from_secs(5));
        assert_eq!(progress.silent_for(Duration::from_secs(8)), Duration::from_secs(3));
        assert_eq!(progress.silent_for(Duration::from_secs(4)), Duration::ZERO);
    }
}
