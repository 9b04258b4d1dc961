//! Assignment of rows to columns: the pairs that may be, by a sweep over boxes, and the best assignment over them.
//!
//! The result is that of `lap.lapjv(cost, extend_cost=True, cost_limit=limit)`, which the authors of ByteTrack call:
//! there a row or column without a partner costs half the limit, so the sum of (cost - limit) over the pairs is
//! least, and a pair at or above the limit is none. Solved by shortest augmenting paths with potentials (Jonker and
//! Volgenant, Computing 38, 1987), but over the pairs under the limit alone instead of a matrix: every row has
//! besides its pairs a column of its own, at the cost of the limit, which stands for no partner. A search ends at the
//! latest there, so it never leaves the rows and columns that pairs connect, and mostly sees a handful of them.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// A row and a column that may be partners.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Pair {
    pub(crate) row: usize,
    pub(crate) column: usize,
    /// The cost, under the limit.
    pub(crate) cost: f64,
}

/// A column that a search has reached, nearest first in a heap.
#[derive(Debug, Clone, Copy)]
struct Reached {
    distance: f64,
    column: usize,
}

impl Ord for Reached {
    fn cmp(&self, other: &Self) -> Ordering {
        other.distance.total_cmp(&self.distance).then(other.column.cmp(&self.column))
    }
}

impl PartialOrd for Reached {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Reached {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Reached {}

/// The place where a search ends.
#[derive(Debug, Clone, Copy)]
enum End {
    /// A column without a partner.
    Column(usize),
    /// A row that is better off without one.
    Row(usize),
}

/// Finds pairs and assigns them, and keeps its memory from one time to the next.
#[derive(Debug, Default)]
pub(crate) struct Matching {
    limit: f64,
    by_left: Vec<(f64, usize)>,
    /// The pairs found, by row.
    pairs: Vec<Pair>,
    /// For each row the index of its first pair; after the last row the number of pairs.
    starts: Vec<usize>,
    row_potential: Vec<f64>,
    column_potential: Vec<f64>,
    /// The index of the pair that each row is in.
    chosen: Vec<Option<usize>>,
    /// The row that holds each column.
    holder: Vec<Option<usize>>,
    /// The distance of each column from the row that a search starts at; infinite where no search has been.
    distance: Vec<f64>,
    /// For each reached column the index of the pair that it was reached by.
    reached_by: Vec<usize>,
    reached: Vec<usize>,
    /// Columns whose distance is final, nearest first.
    settled: Vec<usize>,
    nearest: BinaryHeap<Reached>,
    waiting: Vec<usize>,
    assigned: Vec<Pair>,
}

impl Matching {
    /// Finds all pairs whose cost is under `limit`, by row. Rows and columns are given by their left and right sides,
    /// and `cost` is asked only for those that overlap in that: no other pair may be under the limit. A pair whose cost
    /// is NaN is left out.
    pub(crate) fn find(
        &mut self,
        rows: impl Iterator<Item = (f64, f64)>,
        columns: impl Iterator<Item = (f64, f64)>,
        limit: f64,
        mut cost: impl FnMut(usize, usize) -> f64,
    ) -> &[Pair] {
        self.reset(limit);
        let mut widest = 0.0f64;
        self.by_left.clear();
        self.by_left.extend(columns.enumerate().map(|(column, (left, right))| {
            widest = widest.max(right - left);
            (left, column)
        }));
        self.by_left.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        for (row, (left, right)) in rows.enumerate() {
            let first = self.by_left.partition_point(|&(other, _)| other < left - widest);
            for &(_, column) in self.by_left[first..].iter().take_while(|&&(other, _)| other < right) {
                let cost = cost(row, column);
                if cost < limit {
                    self.pairs.push(Pair { row, column, cost });
                }
            }
            self.starts.push(self.pairs.len());
        }
        self.holder.resize(self.by_left.len(), None);
        &self.pairs
    }

    /// Finds pairs as [`Matching::find`] does but without a sweep, for costs that don't go by overlap.
    pub(crate) fn find_all(
        &mut self,
        rows: usize,
        columns: usize,
        limit: f64,
        mut cost: impl FnMut(usize, usize) -> f64,
    ) -> &[Pair] {
        self.reset(limit);
        for row in 0..rows {
            let pairs = (0..columns).map(|column| Pair { row, column, cost: cost(row, column) });
            self.pairs.extend(pairs.filter(|pair| pair.cost < limit));
            self.starts.push(self.pairs.len());
        }
        self.holder.resize(columns, None);
        &self.pairs
    }

    fn reset(&mut self, limit: f64) {
        self.limit = limit;
        self.pairs.clear();
        self.starts.clear();
        self.starts.push(0);
        self.holder.clear();
    }

    /// Returns those of the found pairs that make the sum of (cost - limit) least, by row. Which of several equally
    /// good assignments is taken depends on the order of rows and columns alone.
    pub(crate) fn assign(&mut self) -> &[Pair] {
        let (rows, columns) = (self.starts.len() - 1, self.holder.len());
        fn fill<T: Clone>(buffer: &mut Vec<T>, len: usize, value: T) {
            buffer.clear();
            buffer.resize(len, value);
        }
        fill(&mut self.row_potential, rows, 0.0);
        fill(&mut self.chosen, rows, None);
        fill(&mut self.holder, columns, None);
        fill(&mut self.column_potential, columns, 0.0);
        fill(&mut self.distance, columns, f64::INFINITY);
        fill(&mut self.reached_by, columns, 0);
        self.take_cheapest();
        for i in 0..self.waiting.len() {
            self.augment(self.waiting[i]);
        }
        self.assigned.clear();
        self.assigned.extend(self.chosen.iter().flatten().map(|&pair| self.pairs[pair]));
        &self.assigned
    }

    fn pairs_of(&self, row: usize) -> std::ops::Range<usize> {
        self.starts[row]..self.starts[row + 1]
    }

    /// Gives every row its cheapest column if it is the first to want it; the others wait.
    fn take_cheapest(&mut self) {
        self.waiting.clear();
        for row in 0..self.chosen.len() {
            let by_cost = |&a: &usize, &b: &usize| {
                let (a, b) = (&self.pairs[a], &self.pairs[b]);
                a.cost.total_cmp(&b.cost).then(a.column.cmp(&b.column))
            };
            let Some(cheapest) = self.pairs_of(row).min_by(by_cost) else { continue };
            let Pair { column, cost, .. } = self.pairs[cheapest];
            self.row_potential[row] = cost;
            if self.holder[column].is_none() {
                self.holder[column] = Some(row);
                self.chosen[row] = Some(cheapest);
            } else {
                self.waiting.push(row);
            }
        }
    }

    /// Moves every row one column on along the shortest path of reduced costs, which leads from `start` to a column or
    /// a row without a partner.
    fn augment(&mut self, start: usize) {
        let (mut row, mut distance) = (start, 0.0);
        let (mut shortest, mut end) = (f64::INFINITY, End::Row(start));
        self.nearest.clear();
        self.settled.clear();
        self.reached.clear();
        loop {
            let alone = distance + (self.limit - self.row_potential[row]).max(0.0);
            if alone < shortest {
                (shortest, end) = (alone, End::Row(row));
            }
            for index in self.pairs_of(row) {
                let Pair { column, cost, .. } = self.pairs[index];
                // Rounding may leave less than nothing; so what is settled is never reached again.
                let reduced = (cost - self.row_potential[row] - self.column_potential[column]).max(0.0);
                let reached = distance + reduced;
                if reached >= shortest || reached >= self.distance[column] {
                    continue;
                }
                if self.distance[column] == f64::INFINITY {
                    self.reached.push(column);
                }
                self.distance[column] = reached;
                self.reached_by[column] = index;
                if self.holder[column].is_none() {
                    (shortest, end) = (reached, End::Column(column));
                } else {
                    self.nearest.push(Reached { distance: reached, column });
                }
            }
            let Some((column, holder)) = self.next_settled(shortest) else { break };
            (row, distance) = (holder, self.distance[column]);
        }
        self.shift_potentials(start, shortest);
        self.flip(start, end);
        for &column in &self.reached {
            self.distance[column] = f64::INFINITY;
        }
    }

    /// Returns the nearest column that isn't settled and the row that holds it, unless a path as short has been found.
    fn next_settled(&mut self, shortest: f64) -> Option<(usize, usize)> {
        while let Some(Reached { distance, column }) = self.nearest.pop() {
            if distance >= shortest {
                return None;
            }
            // Else it has been reached by a shorter way since.
            if distance <= self.distance[column] {
                self.settled.push(column);
                return self.holder[column].map(|row| (column, row));
            }
        }
        None
    }

    /// Keeps the reduced costs at or above zero, and at zero for those that are partners.
    fn shift_potentials(&mut self, start: usize, shortest: f64) {
        self.row_potential[start] += shortest;
        for &column in &self.settled {
            let slack = shortest - self.distance[column];
            self.column_potential[column] -= slack;
            if let Some(row) = self.holder[column] {
                self.row_potential[row] += slack;
            }
        }
    }

    fn flip(&mut self, start: usize, end: End) {
        let mut free = match end {
            End::Column(column) => Some(column),
            End::Row(row) => self.chosen[row].take().map(|pair| self.pairs[pair].column),
        };
        while let Some(column) = free {
            let pair = self.reached_by[column];
            let row = self.pairs[pair].row;
            self.holder[column] = Some(row);
            let before = self.chosen[row].replace(pair);
            free = before.filter(|_| row != start).map(|pair| self.pairs[pair].column);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kalman::Rect;
    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;
    use rva_types::BBox;

    fn config(seed: u64) -> ProptestConfig {
        ProptestConfig { rng_seed: RngSeed::Fixed(seed), cases: 512, failure_persistence: None, ..Default::default() }
    }

    fn solved(matching: &mut Matching, cost: &[f64], columns: usize, limit: f64) -> Vec<(usize, usize)> {
        matching.find_all(cost.len() / columns, columns, limit, |row, column| cost[row * columns + column]);
        matching.assign().iter().map(|pair| (pair.row, pair.column)).collect()
    }

    /// The least sum of (cost - limit) over all sets of pairs, by trying them all.
    fn best(cost: &[f64], columns: usize, limit: f64, row: usize, taken: u32) -> f64 {
        if (row + 1) * columns > cost.len() {
            return 0.0;
        }
        let mut least = best(cost, columns, limit, row + 1, taken);
        for column in (0..columns).filter(|c| taken & (1 << c) == 0) {
            let pair = cost[row * columns + column] - limit;
            least = least.min(pair + best(cost, columns, limit, row + 1, taken | (1 << column)));
        }
        least
    }

    fn gain(pairs: &[Pair], limit: f64) -> f64 {
        pairs.iter().map(|pair| limit - pair.cost).sum()
    }

    /// Prices of rows and columns, none negative, that no pair gains more than, bound what any assignment gains
    /// (duality). Those that the potentials say are as high as what was found.
    fn is_proven_best(matching: &Matching) -> bool {
        let near = |a: f64, b: f64| (a - b).abs() < 1e-9;
        let row_prices: Vec<f64> = (0..matching.chosen.len())
            .map(
                |row| {
                    if matching.pairs_of(row).is_empty() { 0.0 } else { matching.limit - matching.row_potential[row] }
                },
            )
            .collect();
        let column_prices: Vec<f64> = matching.column_potential.iter().map(|potential| -potential).collect();
        let fair = |pair: &Pair| matching.limit - pair.cost <= row_prices[pair.row] + column_prices[pair.column] + 1e-9;
        let total: f64 = row_prices.iter().chain(&column_prices).sum();
        row_prices.iter().chain(&column_prices).all(|price| *price > -1e-9)
            && matching.pairs.iter().all(fair)
            && near(total, gain(&matching.assigned, matching.limit))
    }

    fn is_one_to_one(pairs: &[Pair]) -> bool {
        pairs.iter().enumerate().all(|(i, a)| pairs[..i].iter().all(|b| a.row != b.row && a.column != b.column))
    }

    #[test]
    fn the_sum_counts_and_not_the_nearest_pair() {
        assert_eq!(solved(&mut Matching::default(), &[0.1, 0.2, 0.15, 0.9], 2, 1.0), [(0, 1), (1, 0)]);
    }

    #[test]
    fn pairs_at_the_limit_or_without_a_number_are_none() {
        let cost = [0.8, f64::NAN, 0.9, 0.1];
        assert_eq!(solved(&mut Matching::default(), &cost, 2, 0.8), [(1, 1)]);
        assert_eq!(solved(&mut Matching::default(), &cost, 2, 0.1), []);
    }

    #[test]
    fn the_limit_decides_between_one_good_and_two_poor_pairs() {
        let cost = [0.05, 0.6, 0.6, 2.0];
        assert_eq!(solved(&mut Matching::default(), &cost, 2, 0.8), [(0, 0)]);
        assert_eq!(solved(&mut Matching::default(), &cost, 2, 1.5), [(0, 1), (1, 0)]);
    }

    #[test]
    fn a_row_gives_its_column_up_where_that_is_better() {
        let mut matching = Matching::default();
        assert_eq!(solved(&mut matching, &[0.5, 0.1], 1, 1.0), [(1, 0)]);
        assert_eq!(solved(&mut matching, &[0.1, 0.5], 1, 1.0), [(0, 0)]);
    }

    #[test]
    fn a_problem_without_rows_or_columns_has_no_pairs() {
        let mut matching = Matching::default();
        for (rows, columns) in [(0, 3), (3, 0)] {
            assert_eq!(matching.find_all(rows, columns, 1.0, |_, _| 0.0), []);
            assert_eq!(matching.assign(), []);
        }
    }

    #[test]
    fn a_cost_without_bounds_is_borne() {
        let cost = [f64::NEG_INFINITY, 0.1, f64::NEG_INFINITY, f64::NEG_INFINITY, 0.2, 0.3];
        let mut matching = Matching::default();
        solved(&mut matching, &cost, 2, 1.0);
        assert!(is_one_to_one(&matching.assigned), "{:?}", matching.assigned);
    }

    fn boxes(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Rect>> {
        let one = (0f32..200.0, 0f32..200.0, 1f32..80.0, 1f32..80.0);
        prop::collection::vec(one.prop_map(|(x, y, w, h)| Rect::from(BBox::new(x, y, x + w, y + h))), count)
    }

    proptest! {
        #![proptest_config(config(7))]

        #[test]
        fn no_other_set_of_pairs_is_better(
            (columns, cost) in (1usize..6, 1usize..6).prop_flat_map(|(rows, columns)| {
                (Just(columns), prop::collection::vec(0.0f64..1.0, rows * columns))
            }),
            limit in 0.05f64..1.2,
        ) {
            let mut matching = Matching::default();
            // What was solved before must not matter.
            solved(&mut matching, &[0.3, 0.2, 0.1, 0.9, 0.1, 0.4], 3, 0.7);
            solved(&mut matching, &cost, columns, limit);
            prop_assert!((gain(&matching.assigned, limit) + best(&cost, columns, limit, 0, 0)).abs() < 1e-12);
            prop_assert!(is_one_to_one(&matching.assigned), "{:?}", matching.assigned);
            prop_assert!(is_proven_best(&matching), "{:?}", matching);
        }

        #[test]
        fn the_sweep_finds_what_looking_at_all_pairs_finds_and_crowds_are_assigned_best(
            rows in boxes(0..60), columns in boxes(0..60), floor in 0.0f64..0.5, margin in prop_oneof![Just(0.0), Just(1.0)],
        ) {
            let cost = |row: usize, column: usize| -rows[row].iou(&columns[column], margin);
            let mut matching = Matching::default();
            let all = matching.find_all(rows.len(), columns.len(), -floor, cost).to_vec();
            let spans = |rects: &[Rect]| rects.iter().map(|rect| rect.span(margin)).collect::<Vec<_>>();
            let mut found = matching.find(spans(&rows).into_iter(), spans(&columns).into_iter(), -floor, cost).to_vec();
            found.sort_unstable_by_key(|pair| (pair.row, pair.column));
            prop_assert_eq!(found, all);
            matching.assign();
            prop_assert!(is_one_to_one(&matching.assigned), "{:?}", matching.assigned);
            prop_assert!(is_proven_best(&matching));
        }

        #[test]
        fn equal_costs_are_borne(
            (columns, cost) in (1usize..12, 1usize..12).prop_flat_map(|(rows, columns)| {
                (Just(columns), prop::collection::vec((0u8..3).prop_map(f64::from), rows * columns))
            }),
        ) {
            let mut matching = Matching::default();
            solved(&mut matching, &cost, columns, 2.0);
            prop_assert!(is_one_to_one(&matching.assigned), "{:?}", matching.assigned);
            prop_assert!(is_proven_best(&matching), "{:?}", matching);
        }
    }
}
