//! Keeps in memory what the tables hold, as far as this process knows.

use rva_types::OffsetMap;

/// The offsets of both tables, and the rollback of bronze that was accepted.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// The offsets that this process knows bronze to hold (I9).
    pub(super) bronze: OffsetMap,
    /// The map of the dead letters.
    pub(super) dead: OffsetMap,
    /// The map of the dead letters when reading began.
    dead_at_start: OffsetMap,
    /// The sequence number that bronze was rolled back from.
    rolled_back_from: Option<u64>,
}

impl Held {
    /// Takes what the tables say when reading begins. Returns the number of the commit that bronze was rolled back from,
    /// where that is news.
    pub(super) fn begin(&mut self, bronze: OffsetMap, dead: OffsetMap, rolled_back_from: Option<u64>) -> Option<u64> {
        self.bronze = bronze;
        self.dead_at_start = dead.clone();
        self.dead = dead;
        let before = std::mem::replace(&mut self.rolled_back_from, rolled_back_from);
        rolled_back_from.filter(|_| rolled_back_from != before)
    }

    /// Returns the map up to which messages may be dead letters already; `None` once bronze is past it.
    pub(super) fn maybe_dead(&self) -> Option<&OffsetMap> {
        (self.bronze.merged(&self.dead_at_start) != self.bronze).then_some(&self.dead_at_start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rva_types::Position;

    fn map(record: u64) -> OffsetMap {
        let mut map = OffsetMap::new();
        map.advance("door", Position::of_record(record));
        map
    }

    #[test]
    fn messages_may_be_dead_letters_already_until_bronze_is_past_where_those_were_at_the_start() {
        for (bronze, dead, wanted) in [(3, 3, None), (4, 3, None), (2, 3, Some(3))] {
            let mut held = Held::default();
            held.begin(map(bronze), map(dead), None);
            assert_eq!(held.maybe_dead(), wanted.map(map).as_ref(), "bronze {bronze}, dead letters {dead}");
            // What is committed to the dead letters later was judged by this process.
            held.dead = map(9);
            assert_eq!(held.maybe_dead(), wanted.map(map).as_ref());
            held.bronze = map(3);
            assert_eq!(held.maybe_dead(), None);
        }
    }

    #[test]
    fn a_rollback_is_news_once() {
        let mut held = Held::default();
        let told = [None, Some(7), Some(7), Some(9), None, Some(9)]
            .map(|from| held.begin(OffsetMap::new(), OffsetMap::new(), from));
        assert_eq!(told, [None, Some(7), None, Some(9), None, Some(9)]);
    }
}
