//! The order of results that several threads made at the same time.

use crossbeam_channel::Receiver;
use std::collections::BTreeMap;

/// A result that has its place in the order.
pub(super) trait Numbered {
    /// Returns its number, counted from 0 without gaps.
    fn number(&self) -> u64;
}

/// A receiver that takes in any order and gives in the order of the numbers. It ends when the channel does; results
/// behind a number that never came are dropped then. It holds no more than is on its way.
pub(super) struct InOrder<T> {
    from: Receiver<T>,
    early: BTreeMap<u64, T>,
    next: u64,
}

impl<T: Numbered> InOrder<T> {
    pub(super) fn new(from: Receiver<T>) -> Self {
        Self { from, early: BTreeMap::new(), next: 0 }
    }
}

impl<T: Numbered> Iterator for InOrder<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        let wanted = self.next;
        let item = match self.early.remove(&wanted) {
            Some(item) => item,
            None => loop {
                let item = self.from.recv().ok()?;
                match item.number() {
                    number if number == wanted => break item,
                    number => self.early.insert(number, item),
                };
            },
        };
        self.next += 1;
        Some(item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossbeam_channel::unbounded;
    use proptest::prelude::*;

    impl Numbered for u64 {
        fn number(&self) -> u64 {
            *self
        }
    }

    fn given(numbers: &[u64]) -> Vec<u64> {
        let (to, from) = unbounded();
        numbers.iter().for_each(|&number| to.send(number).unwrap());
        drop(to);
        InOrder::new(from).collect()
    }

    #[test]
    fn what_lies_behind_a_gap_is_not_given() {
        assert_eq!(given(&[1, 0, 4, 3]), [0, 1]);
        assert_eq!(given(&[1, 2]), [0; 0]);
    }

    proptest! {
        #[test]
        fn any_order_becomes_the_order(numbers in Just((0..40).collect::<Vec<u64>>()).prop_shuffle()) {
            prop_assert_eq!(given(&numbers), (0..40).collect::<Vec<u64>>());
        }
    }
}
