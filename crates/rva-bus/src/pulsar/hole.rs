//! Entries that the broker didn't give: either something is lost, or they were never messages.
//!
//! Positions have holes where nothing is lost: the broker keeps to itself the markers of transactions and the messages
//! of those that were aborted. It says so of each entry that it is asked about. Any other entry that isn't given counts
//! as lost.

use super::{TopicName, admin::Admin};
use crate::BusError;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use reqwest::header::HeaderMap;
use rva_types::Position;

/// The most entries of one hole that the broker is asked about. Of a larger hole so many are asked about, evenly
/// spread, both ends among them: an aborted transaction may have 100,000.
const QUESTIONS_MAX: u64 = 1_000;

/// The number of questions at the same time.
const QUESTIONS_AT_ONCE: usize = 8;

/// The finding about the space between two entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Hole {
    /// Nothing is there that anybody gets.
    Empty {
        /// The number of entries in the hole.
        entries: u64,
        /// The batches of no messages among them, which the broker gives only together with others: ledger, entry and
        /// payload.
        batches: Vec<(u64, u64, Bytes)>,
    },
    /// Something else is there, or nobody can tell.
    Unproven(String),
}

/// Asks the broker what lies behind the entry of `after` and before that of `found`.
pub(super) async fn between(
    admin: &Admin,
    topic: &TopicName,
    number: u32,
    after: Position,
    found: Position,
) -> Result<Hole, BusError> {
    let ledgers = admin.ledgers(topic, number).await?;
    let ranges = match ranges(&ledgers, after, found) {
        Ok(ranges) => ranges,
        Err(text) => return Ok(Hole::Unproven(text)),
    };
    let entries: u64 = ranges.iter().map(|(_, first, end)| end - first).sum();
    let asked = futures::stream::iter(spread(entries).map(|nth| at(&ranges, nth)).map(async |(ledger, entry)| {
        let said = admin.entry(topic, number, (ledger, entry)).await?;
        Ok::<_, BusError>((ledger, entry, verdict(said)))
    }));
    let mut answers = asked.buffered(QUESTIONS_AT_ONCE);
    let mut batches = Vec::new();
    while let Some((ledger, entry, answer)) = answers.try_next().await? {
        match answer {
            Verdict::NoMessage => {}
            Verdict::EmptyBatch(payload) => batches.push((ledger, entry, payload)),
            Verdict::Wrong(text) => return Ok(Hole::Unproven(format!("entry {ledger}:{entry}: {text}"))),
        }
    }
    Ok(Hole::Empty { entries, batches })
}

/// The finding about an entry that was not given.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// It is a marker, or aborted.
    NoMessage,
    /// It claims to have no messages.
    EmptyBatch(Bytes),
    Wrong(String),
}

/// Returns whether a header is there and doesn't say no.
fn says(headers: &HeaderMap, name: &str) -> bool {
    headers.get(name).is_some_and(|value| !value.as_bytes().eq_ignore_ascii_case(b"false"))
}

fn verdict(said: Result<(HeaderMap, Bytes), String>) -> Verdict {
    match said {
        Err(status) => Verdict::Wrong(format!("found {status}, wanted to read it")),
        Ok((headers, _)) if says(&headers, "X-Pulsar-marker-type") || says(&headers, "X-Pulsar-txn-aborted") => {
            Verdict::NoMessage
        }
        Ok((headers, payload)) if headers.get("X-Pulsar-num-batch-message").is_some_and(|count| count == "0") => {
            Verdict::EmptyBatch(payload)
        }
        Ok(_) => Verdict::Wrong("found a message that was not given, wanted a marker or an aborted one".into()),
    }
}

/// Returns ledger, first entry and end of each stretch of the hole.
fn ranges(ledgers: &[(u64, u64)], after: Position, found: Position) -> Result<Vec<(u64, u64, u64)>, String> {
    let is_listed = |ledger: u64| ledgers.iter().any(|(listed, _)| *listed == ledger);
    if !after.is_end_of_ledger() && !is_listed(after.ledger) {
        return Err(format!("found no ledger {} any more, wanted it as the proof of how it ended", after.ledger));
    }
    let mut ranges = Vec::new();
    for (ledger, entries) in
        ledgers.iter().copied().filter(|(ledger, _)| (after.ledger..=found.ledger).contains(ledger))
    {
        let first = match ledger == after.ledger {
            true => after.entry.saturating_add(1),
            false => 0,
        };
        let end = match ledger == found.ledger {
            true => found.entry,
            false => entries,
        };
        if first < end {
            ranges.push((ledger, first, end));
        }
    }
    Ok(ranges)
}

/// Returns the numbers of those entries, of so many, that are asked about.
fn spread(entries: u64) -> impl Iterator<Item = u64> {
    let asked = entries.min(QUESTIONS_MAX);
    let last = u128::from(entries.saturating_sub(1));
    let steps = u128::from(asked.saturating_sub(1)).max(1);
    (0..asked).map(move |nth| u64::try_from(u128::from(nth) * last / steps).unwrap_or(0))
}

fn at(ranges: &[(u64, u64, u64)], mut nth: u64) -> (u64, u64) {
    for (ledger, first, end) in ranges {
        if nth < end - first {
            return (*ledger, first + nth);
        }
        nth -= end - first;
    }
    (0, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(ledger: u64, entry: u64) -> Position {
        Position { ledger, entry, batch_index: -1 }
    }

    #[test]
    fn a_hole_is_what_ledgers_hold_between_two_entries() {
        let ledgers = [(3, 10), (5, 0), (9, 4)];
        let of = |after, found| ranges(&ledgers, after, found);
        assert_eq!(of(position(3, 4), position(3, 7)).unwrap(), [(3, 5, 7)]);
        assert_eq!(of(position(3, 9), position(9, 0)).unwrap(), [], "the next ledger");
        assert_eq!(of(position(3, 7), position(9, 2)).unwrap(), [(3, 8, 10), (9, 0, 2)]);
        assert_eq!(of(Position::end_of_ledger(8), position(9, 1)).unwrap(), [(9, 0, 1)]);
        assert!(of(position(2, 7), position(9, 2)).unwrap_err().contains("no ledger 2"));
        assert_eq!(of(position(3, u64::MAX), position(9, 1)).unwrap(), [(9, 0, 1)], "no number is too large");
    }

    #[test]
    fn a_large_hole_is_asked_about_at_both_ends_and_evenly_between() {
        assert_eq!(spread(0).count(), 0);
        assert_eq!(spread(1).collect::<Vec<_>>(), [0]);
        assert_eq!(spread(7).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5, 6]);
        for entries in [1_001, 100_000, u64::MAX] {
            let asked: Vec<_> = spread(entries).collect();
            assert_eq!((asked[0], asked[999], asked.len()), (0, entries - 1, 1_000));
            assert!(asked.is_sorted_by(|a, b| a < b));
            assert!(asked.windows(2).all(|two| two[1] - two[0] <= entries / 999 + 1));
        }
        let ranges = [(3, 8, 10), (9, 0, 2)];
        assert_eq!([0, 1, 2, 3].map(|nth| at(&ranges, nth)), [(3, 8), (3, 9), (9, 0), (9, 1)]);
    }

    #[test]
    fn markers_and_aborted_messages_are_no_loss_and_all_else_may_be() {
        let headers = |pairs: &[(&'static str, &'static str)]| {
            let pair = |(name, value): &(&'static str, &'static str)| (name.parse().unwrap(), value.parse().unwrap());
            Ok((pairs.iter().map(pair).collect::<HeaderMap>(), Bytes::from_static(b"payload")))
        };
        assert_eq!(verdict(headers(&[("X-Pulsar-marker-type", "21")])), Verdict::NoMessage);
        assert_eq!(verdict(headers(&[("X-Pulsar-txn-aborted", "true")])), Verdict::NoMessage);
        let of_none = Verdict::EmptyBatch(Bytes::from_static(b"payload"));
        assert_eq!(verdict(headers(&[("X-Pulsar-num-batch-message", "0")])), of_none);
        for pairs in [&[("X-Pulsar-txn-aborted", "false")][..], &[], &[("X-Pulsar-num-batch-message", "1")]] {
            assert!(matches!(verdict(headers(pairs)), Verdict::Wrong(_)), "{pairs:?}");
        }
        let Verdict::Wrong(text) = verdict(Err("status 404".into())) else { panic!("wanted a loss") };
        assert!(text.contains("404"), "{text}");
    }
}
