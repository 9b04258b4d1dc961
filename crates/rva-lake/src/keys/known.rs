//! Knowledge of one run of a camera: in which ranges of frame indexes, and which of them the table holds.
//!
//! A run that goes on needs hardly any memory: that the table holds nothing behind its newest frame is one range without
//! an end. What was seen of it before can be forgotten piece by piece; a range that isn't known is looked up again.

use roaring::RoaringBitmap;

/// The bits of a frame index in a block: 2^16 of them, so that a bitmap is one container of at most 8 KiB.
const BLOCK_BITS: u32 = 16;

/// The bytes of a run besides its frames: names, ranges, its place in the index.
const RUN_BYTES: usize = 320;

/// The bytes of a block besides its frames.
const BLOCK_BYTES: usize = 96;

/// The newest frame indexes of a run that stay when memory is short: events that come again are mostly among them.
const FRAMES_KEPT: i64 = 1024;

/// Returns the number of the block of a frame index. Any `i64` has one: the high bits, sign included.
pub(crate) fn block_of(frame_index: i64) -> i64 {
    frame_index >> BLOCK_BITS
}

/// Returns the first frame index of a block.
pub(crate) fn first_of(block: i64) -> i64 {
    block << BLOCK_BITS
}

/// Returns the last frame index of a block.
pub(crate) fn last_of(block: i64) -> i64 {
    first_of(block) | ((1 << BLOCK_BITS) - 1)
}

/// Returns the place of a frame index in its block.
pub(crate) fn bit(frame_index: i64) -> u32 {
    // The low 16 bits of a two's complement number: never negative, never larger than 65,535.
    u32::try_from(frame_index & ((1 << BLOCK_BITS) - 1)).unwrap_or(0)
}

/// The knowledge of a run of a camera.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct KnownFrames {
    /// The ranges, first and last frame index, of which it is known what the table holds: ascending, none touches another.
    ranges: Vec<(i64, i64)>,
    /// The frame indexes that the table holds, by block, ascending.
    blocks: Vec<(i64, RoaringBitmap)>,
}

impl KnownFrames {
    /// Returns whether all of a range is known.
    pub(crate) fn covers(&self, first: i64, last: i64) -> bool {
        let at = self.ranges.partition_point(|range| range.1 < first);
        self.ranges.get(at).is_some_and(|range| range.0 <= first && last <= range.1)
    }

    /// Returns the ranges that are known.
    pub(crate) fn ranges(&self) -> &[(i64, i64)] {
        &self.ranges
    }

    /// Returns the frame indexes of a block that the table holds, as far as they are known.
    pub(crate) fn block(&self, block: i64) -> Option<&RoaringBitmap> {
        let at = self.blocks.binary_search_by_key(&block, |(number, _)| *number).ok()?;
        Some(&self.blocks[at].1)
    }

    /// Adds frame indexes that the table holds. Those outside of what is known say nothing.
    pub(crate) fn add(&mut self, block: i64, frames: &RoaringBitmap) {
        if frames.is_empty() {
            return;
        }
        match self.blocks.binary_search_by_key(&block, |(number, _)| *number) {
            Ok(at) => self.blocks[at].1 |= frames,
            Err(at) => self.blocks.insert(at, (block, frames.clone())),
        }
    }

    /// Notes that all of a range is known now, what was added included.
    pub(crate) fn cover(&mut self, first: i64, last: i64) {
        if last < first {
            return;
        }
        let (mut first, mut last) = (first, last);
        let touches = |range: &(i64, i64), first: i64, last: i64| {
            range.0 <= last.saturating_add(1) && first <= range.1.saturating_add(1)
        };
        self.ranges.retain(|range| {
            let joined = touches(range, first, last);
            if joined {
                (first, last) = (first.min(range.0), last.max(range.1));
            }
            !joined
        });
        let at = self.ranges.partition_point(|range| range.0 < first);
        self.ranges.insert(at, (first, last));
    }

    /// Forgets all but the newest frames of the range that goes furthest.
    pub(crate) fn trim(&mut self) {
        let Some((first, last)) = self.ranges.pop() else { return };
        // Without a frame in it the range costs nothing.
        let newest = self.newest(last).filter(|newest| first <= *newest).unwrap_or(first);
        let first = first.max(newest.saturating_sub(FRAMES_KEPT - 1));
        self.ranges = vec![(first, last)];
        self.blocks.retain(|(block, _)| first <= last_of(*block) && first_of(*block) <= last);
        for (block, frames) in &mut self.blocks {
            if block_of(first) == *block {
                frames.remove_range(..bit(first));
            }
            frames.optimize();
        }
        self.blocks.retain(|(_, frames)| !frames.is_empty());
        self.blocks.shrink_to_fit();
    }

    /// Returns the newest frame index up to `last` that the table holds.
    fn newest(&self, last: i64) -> Option<i64> {
        self.blocks.iter().rev().filter(|(block, _)| *block <= block_of(last)).find_map(|(block, frames)| {
            let up_to = if *block == block_of(last) { bit(last) } else { bit(-1) };
            Some(first_of(*block) + i64::from(frames.range(..=up_to).next_back()?))
        })
    }

    /// Returns about how many bytes it takes.
    pub(crate) fn size_bytes(&self) -> usize {
        let frames = |(_, frames): &(i64, RoaringBitmap)| BLOCK_BYTES + frames.serialized_size();
        RUN_BYTES + self.ranges.len() * size_of::<(i64, i64)>() + self.blocks.iter().map(frames).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// Frame indexes near each other, also at both ends of the numbers and over the edges of blocks.
    fn frame() -> impl Strategy<Value = i64> {
        let around = |center: i64| (-4..=4i64).prop_map(move |by| center.saturating_add(by));
        prop_oneof![around(0), around(65_536), around(3_000), around(i64::MIN), around(i64::MAX)]
    }

    fn bitmap(frame: i64) -> (i64, RoaringBitmap) {
        (block_of(frame), RoaringBitmap::from([bit(frame)]))
    }

    fn holds(known: &KnownFrames, frame: i64) -> bool {
        known.block(block_of(frame)).is_some_and(|frames| frames.contains(bit(frame)))
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]
        /// Beside the plain sets of what was said.
        #[test]
        fn ranges_and_frames_are_those_that_were_said(
            said in proptest::collection::vec((frame(), frame()), 0..8),
            added in proptest::collection::vec(frame(), 0..12),
            asked in proptest::collection::vec((frame(), frame()), 12),
        ) {
            let mut known = KnownFrames::default();
            for (first, last) in &said {
                known.cover(*first, *last);
            }
            for frame in &added {
                let (block, frames) = bitmap(*frame);
                known.add(block, &frames);
            }
            let is_said = |frame: i64| said.iter().any(|(first, last)| (*first..=*last).contains(&frame));
            for (one, other) in &asked {
                let (first, last) = (*one.min(other), *one.max(other));
                // Ranges begin and end at frames that were said: between two of these nothing changes.
                let edges = said.iter().flat_map(|(first, last)| [*first, *last, first.saturating_sub(1), last.saturating_add(1)]);
                let mut inside: Vec<i64> = edges.chain([first, last]).filter(|edge| (first..=last).contains(edge)).collect();
                inside.sort_unstable();
                prop_assert_eq!(known.covers(first, last), inside.iter().all(|frame| is_said(*frame)), "{:?} {}..={}", known, first, last);
                prop_assert_eq!(holds(&known, first), added.contains(&first));
            }
            let apart = known.ranges().windows(2).all(|pair| pair[0].1.saturating_add(1) < pair[1].0);
            prop_assert!(apart, "{:?}", known.ranges());
        }

        /// Whatever is forgotten, what it still says was said.
        #[test]
        fn what_is_left_of_a_trimmed_run_is_true_and_small(
            said in proptest::collection::vec((frame(), 0..70_000i64), 1..5),
            steps in 1..4i64,
        ) {
            let mut known = KnownFrames::default();
            let mut held = BTreeSet::new();
            for (first, length) in &said {
                let last = first.saturating_add(*length);
                known.cover(*first, last);
                let mut at = *first;
                while at < last {
                    let (block, frames) = bitmap(at);
                    known.add(block, &frames);
                    held.insert(at);
                    let Some(next) = at.checked_add(steps * 97) else { break };
                    at = next;
                }
            }
            let before = known.clone();
            known.trim();
            prop_assert!(known.ranges().len() == 1);
            let (first, last) = known.ranges()[0];
            prop_assert!(before.covers(first, last));
            for frame in held.range(first..=last) {
                prop_assert!(holds(&known, *frame));
            }
            prop_assert!(held.range(..).filter(|frame| holds(&known, **frame)).all(|frame| (first..=last).contains(frame)));
            prop_assert!(known.size_bytes() <= before.size_bytes());
            prop_assert!(known.size_bytes() <= RUN_BYTES + 16 + 2 * (BLOCK_BYTES + 4_096), "{}", known.size_bytes());
        }
    }
}
