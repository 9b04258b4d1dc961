//! The queue of pictures for the model, and the decision what to run next. No clock and no thread: time is an argument.

use super::Selection;
use crate::Prepared;
use rva_types::Detection;
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Condvar},
    time::{Duration, Instant},
};

/// A picture that waits.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) picture: Prepared,
    pub(super) asked_at: Instant,
}

/// The pictures that a handle has asked for, and the answers that it got.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) selection: Selection,
    pub(super) waiting: VecDeque<Request>,
    /// The answers to pictures of the present call, in their order.
    pub(super) done: Vec<Vec<Detection>>,
    /// The condition that is told when `done` grows, or the model fails.
    pub(super) answered: Arc<Condvar>,
}

/// The next step of the model.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing waits.
    Idle,
    /// It waits for more, at most until then.
    WaitUntil(Instant),
    /// It runs the pictures that [`Queue::take`] gives.
    Run,
}

/// The slots of all handles.
#[derive(Debug)]
pub(super) struct Queue {
    pub(super) slots: BTreeMap<u64, Slot>,
    batch_max: usize,
    wait_max: Duration,
    /// The slot that was served last: the next turn begins after it.
    last_served: u64,
}

impl Queue {
    pub(super) fn new(batch_max: usize, wait_max: Duration) -> Self {
        Self { slots: BTreeMap::new(), batch_max, wait_max, last_served: 0 }
    }

    /// Decides the next step. A call runs when it is full, when nobody is left who could add to it (a handle waits for
    /// its own pictures), or when the picture that has waited longest has waited `wait_max`.
    pub(super) fn next(&self, now: Instant) -> Next {
        let waiting: usize = self.slots.values().map(|slot| slot.waiting.len()).sum();
        let oldest = self.slots.values().filter_map(|slot| slot.waiting.front()).map(|request| request.asked_at).min();
        let Some(oldest) = oldest else { return Next::Idle };
        let is_last_to_ask = self.slots.values().all(|slot| !slot.waiting.is_empty());
        let due = oldest + self.wait_max;
        if waiting >= self.batch_max || is_last_to_ask || now >= due { Next::Run } else { Next::WaitUntil(due) }
    }

    /// Takes at most a batch, with the slot of each picture: one of each slot in turn, beginning after the slot that
    /// was served last, and round again only while there is room. So a slot with many pictures gets no more than its
    /// share while others wait, and pictures of a slot keep their order.
    pub(super) fn take(&mut self) -> Vec<(u64, Request)> {
        let mut taken = Vec::new();
        let after = self.slots.range(self.last_served.saturating_add(1)..);
        let turn: Vec<u64> = after.chain(self.slots.range(..=self.last_served)).map(|(&id, _)| id).collect();
        loop {
            let before = taken.len();
            for id in &turn {
                if taken.len() == self.batch_max {
                    return taken;
                }
                if let Some(request) = self.slots.get_mut(id).and_then(|slot| slot.waiting.pop_front()) {
                    self.last_served = *id;
                    taken.push((*id, request));
                }
            }
            if taken.len() == before {
                return taken;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rva_types::ImageSize;

    const WAIT: Duration = Duration::from_millis(10);

    fn request(value: f32, asked_at: Instant) -> Request {
        let size = ImageSize { width: 1, height: 1 };
        let chw = vec![value; 3].into();
        let picture = Prepared {
            chw,
            input_size: size,
            source_size: size,
            scale_x: 1.0,
            scale_y: 1.0,
            pad_left: 0.0,
            pad_top: 0.0,
        };
        Request { picture, asked_at }
    }

    /// Slots 1, 2, … with that many pictures each, which are numbered in their order.
    fn queue(batch_max: usize, counts: &[usize], at: Instant) -> Queue {
        let mut queue = Queue::new(batch_max, WAIT);
        for (id, &count) in (1..).zip(counts) {
            let waiting = (0..count).map(|n| request(n as f32, at)).collect();
            let selection = Selection { conf: 0.5, classes: None };
            queue.slots.insert(id, Slot { selection, waiting, done: Vec::new(), answered: Arc::default() });
        }
        queue
    }

    fn served(queue: &mut Queue) -> Vec<u64> {
        queue.take().into_iter().map(|(id, _)| id).collect()
    }

    #[test]
    fn a_call_waits_for_others_until_the_first_picture_has_waited_long_enough() {
        let start = Instant::now();
        assert_eq!(queue(4, &[0, 0], start).next(start), Next::Idle);
        let one_of_two = queue(4, &[1, 0], start);
        assert_eq!(one_of_two.next(start), Next::WaitUntil(start + WAIT));
        assert_eq!(one_of_two.next(start + WAIT - Duration::from_nanos(1)), Next::WaitUntil(start + WAIT));
        assert_eq!(one_of_two.next(start + WAIT), Next::Run);
    }

    #[test]
    fn the_oldest_picture_counts_whichever_slot_it_is_in() {
        let start = Instant::now();
        let mut queue = queue(8, &[0, 1, 0], start);
        queue.slots.get_mut(&1).unwrap().waiting.push_back(request(0.0, start + WAIT / 2));
        assert_eq!(queue.next(start + WAIT / 2), Next::WaitUntil(start + WAIT));
    }

    #[test]
    fn a_call_does_not_wait_when_it_is_full_or_nobody_is_left_to_ask() {
        let start = Instant::now();
        assert_eq!(queue(2, &[2, 0], start).next(start), Next::Run, "full");
        assert_eq!(queue(8, &[1, 1], start).next(start), Next::Run, "all wait");
        assert_eq!(queue(8, &[1], start).next(start), Next::Run, "alone");
    }

    #[test]
    fn a_flooding_slot_gets_its_share_and_no_more() {
        let mut queue = queue(3, &[50, 1, 1, 1], Instant::now());
        assert_eq!(served(&mut queue), [1, 2, 3]);
        assert_eq!(served(&mut queue), [4, 1, 1], "room that nobody else wants is given");
    }

    #[test]
    fn slots_may_come_and_go_between_turns() {
        let now = Instant::now();
        let mut queue = queue(1, &[9, 9, 9], now);
        assert_eq!(served(&mut queue), [1]);
        queue.slots.remove(&2);
        assert_eq!(served(&mut queue), [3]);
        assert_eq!(served(&mut queue), [1]);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_nobody_starves(batch_max in 1usize..9, counts in prop::collection::vec(0usize..12, 1..9)) {
            let mut queue = queue(batch_max, &counts, Instant::now());
            let mut found: BTreeMap<u64, Vec<f32>> = BTreeMap::new();
            loop {
                let waiting: Vec<u64> =
                    queue.slots.iter().filter(|(_, slot)| !slot.waiting.is_empty()).map(|(&id, _)| id).collect();
                let taken = queue.take();
                prop_assert_eq!(taken.is_empty(), waiting.is_empty());
                if taken.is_empty() {
                    break;
                }
                prop_assert!(taken.len() <= batch_max);
                let of = |id: &u64| taken.iter().filter(|(other, _)| other == id).count();
                // Somebody left out means that nobody got a second one.
                if waiting.iter().any(|id| of(id) == 0) {
                    prop_assert!(waiting.iter().all(|id| of(id) <= 1));
                }
                for (id, request) in taken {
                    found.entry(id).or_default().push(request.picture.chw[0]);
                }
            }
            for (id, &count) in (1u64..).zip(&counts) {
                let wanted: Vec<f32> = (0..count).map(|n| n as f32).collect();
                prop_assert_eq!(found.remove(&id).unwrap_or_default(), wanted, "in order");
            }
        }
    }
}
