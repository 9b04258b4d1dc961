//! Which track takes which detection: a linear assignment in which a pair at or above a cost limit is no pair.
//!
//! The result is that of `lap.lapjv(cost, extend_cost=True, cost_limit=limit)`, which the authors of ByteTrack call:
//! there a row or column without a partner costs half the limit, so the sum of (cost - limit) over the pairs is
//! least. Nothing is lost by leaving out rows and columns that have no cost under the limit, nor by cutting costs at
//! the limit and dropping such pairs afterwards; what remains is solved by shortest augmenting paths with potentials
//! (Jonker and Volgenant, Computing 38, 1987; the rectangular form: Crouse, IEEE TAES 52, 2016), without the
//! (rows + columns)² matrix. Of equally good assignments the one found first in row order is taken.

/// Solves assignments, and keeps its memory from one to the next.
#[derive(Debug, Default)]
pub(crate) struct Assignment {
    /// Costs under the limit, row by row; the smaller side of the problem lies along the rows.
    cost: Vec<f64>,
    /// Rows and columns of the caller that have a cost under the limit.
    rows: Vec<usize>,
    columns: Vec<usize>,
    row_potential: Vec<f64>,
    column_potential: Vec<f64>,
    /// For each column the row that holds it.
    holder: Vec<Option<usize>>,
    /// For each column the column before it on the shortest path; `None`: the path starts at the new row.
    previous: Vec<Option<usize>>,
    distance: Vec<f64>,
    settled: Vec<bool>,
    pairs: Vec<(usize, usize)>,
}

impl Assignment {
    /// Pairs (row, column), ascending by row, for a cost matrix of `rows * columns` entries, row by row. A cost that
    /// is not under `limit`, NaN included, is no pair.
    pub(crate) fn solve(&mut self, cost: &[f64], rows: usize, columns: usize, limit: f64) -> &[(usize, usize)] {
        debug_assert_eq!(cost.len(), rows * columns);
        self.pairs.clear();
        let under = |row: usize, column: usize| cost[row * columns + column] < limit;
        self.rows.clear();
        self.rows.extend((0..rows).filter(|&row| (0..columns).any(|column| under(row, column))));
        self.columns.clear();
        self.columns.extend((0..columns).filter(|&column| self.rows.iter().any(|&row| under(row, column))));
        let transposed = self.rows.len() > self.columns.len();
        let (short, long) = if transposed { (&self.columns, &self.rows) } else { (&self.rows, &self.columns) };
        self.cost.clear();
        for &s in short {
            for &l in long {
                let value = if transposed { cost[l * columns + s] } else { cost[s * columns + l] };
                self.cost.push(if value < limit { value } else { limit });
            }
        }
        let (short_len, long_len) = (short.len(), long.len());
        self.reset(short_len, long_len);
        for row in 0..short_len {
            self.augment(row, long_len);
        }
        for (column, holder) in self.holder.iter().enumerate() {
            let Some(row) = *holder else { continue };
            if self.cost[row * long_len + column] < limit {
                let (short, long) = if transposed { (column, row) } else { (row, column) };
                self.pairs.push((self.rows[short], self.columns[long]));
            }
        }
        self.pairs.sort_unstable();
        &self.pairs
    }

    fn reset(&mut self, rows: usize, columns: usize) {
        fn filled<T: Clone>(buffer: &mut Vec<T>, len: usize, value: T) {
            buffer.clear();
            buffer.resize(len, value);
        }
        filled(&mut self.row_potential, rows, 0.0);
        filled(&mut self.column_potential, columns, 0.0);
        filled(&mut self.holder, columns, None);
        filled(&mut self.previous, columns, None);
        filled(&mut self.distance, columns, 0.0);
        filled(&mut self.settled, columns, false);
    }

    /// Gives `start` a column: along the shortest path of reduced costs from it to a free column, every row on the
    /// way moves one column on. There is always one, because there are no more rows than columns.
    fn augment(&mut self, start: usize, columns: usize) {
        self.distance.fill(f64::INFINITY);
        self.settled.fill(false);
        self.previous.fill(None);
        let (mut row, mut reached, mut from) = (start, 0.0, None);
        let end = loop {
            let mut nearest: Option<usize> = None;
            for column in 0..columns {
                if self.settled[column] {
                    continue;
                }
                let reduced =
                    self.cost[row * columns + column] - self.row_potential[row] - self.column_potential[column];
                if reached + reduced < self.distance[column] {
                    self.distance[column] = reached + reduced;
                    self.previous[column] = from;
                }
                if nearest.is_none_or(|n| self.distance[column] < self.distance[n]) {
                    nearest = Some(column);
                }
            }
            let Some(column) = nearest else { return };
            self.settled[column] = true;
            reached = self.distance[column];
            match self.holder[column] {
                Some(holder) => row = holder,
                None => break column,
            }
            from = Some(column);
        };
        self.shift_potentials(start, reached, end);
        self.flip(start, end);
    }

    /// Keeps the reduced costs at or above zero, and at zero for pairs.
    fn shift_potentials(&mut self, start: usize, reached: f64, end: usize) {
        self.row_potential[start] += reached;
        for column in 0..self.holder.len() {
            if self.settled[column] && column != end {
                let slack = reached - self.distance[column];
                self.column_potential[column] -= slack;
                if let Some(row) = self.holder[column] {
                    self.row_potential[row] += slack;
                }
            }
        }
    }

    fn flip(&mut self, start: usize, end: usize) {
        let mut column = end;
        while let Some(before) = self.previous[column] {
            self.holder[column] = self.holder[before];
            column = before;
        }
        self.holder[column] = Some(start);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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

    #[test]
    fn the_sum_counts_and_not_the_nearest_pair() {
        let cost = [0.1, 0.2, 0.15, 0.9];
        assert_eq!(Assignment::default().solve(&cost, 2, 2, 1.0), [(0, 1), (1, 0)]);
    }

    #[test]
    fn pairs_at_the_limit_or_without_a_number_are_none() {
        let cost = [0.8, f64::NAN, 0.9, 0.1];
        assert_eq!(Assignment::default().solve(&cost, 2, 2, 0.8), [(1, 1)]);
        assert_eq!(Assignment::default().solve(&cost, 2, 2, 0.1), []);
    }

    #[test]
    fn the_limit_decides_between_one_good_and_two_poor_pairs() {
        let cost = [0.05, 0.6, 0.6, 2.0];
        assert_eq!(Assignment::default().solve(&cost, 2, 2, 0.8), [(0, 0)]);
        assert_eq!(Assignment::default().solve(&cost, 2, 2, 1.5), [(0, 1), (1, 0)]);
    }

    #[test]
    fn a_problem_without_rows_or_columns_has_no_pairs() {
        let mut assignment = Assignment::default();
        assert_eq!(assignment.solve(&[], 0, 3, 1.0), []);
        assert_eq!(assignment.solve(&[], 3, 0, 1.0), []);
    }

    proptest! {
        #![proptest_config(ProptestConfig { rng_seed: proptest::test_runner::RngSeed::Fixed(7), cases: 512, ..Default::default() })]

        #[test]
        fn no_other_set_of_pairs_is_better(
            (rows, columns, cost) in (1usize..6, 1usize..6).prop_flat_map(|(rows, columns)| {
                (Just(rows), Just(columns), proptest::collection::vec(0.0f64..1.0, rows * columns))
            }),
            limit in 0.05f64..1.2,
        ) {
            let mut assignment = Assignment::default();
            // What was solved before must not matter.
            assignment.solve(&[0.3, 0.2, 0.1, 0.9, 0.1, 0.4], 2, 3, 0.7);
            let pairs = assignment.solve(&cost, rows, columns, limit).to_vec();
            let found: f64 = pairs.iter().map(|&(row, column)| cost[row * columns + column] - limit).sum();
            prop_assert!((found - best(&cost, columns, limit, 0, 0)).abs() < 1e-12, "{pairs:?}");
            for (i, a) in pairs.iter().enumerate() {
                prop_assert!(pairs[..i].iter().all(|b| a.0 != b.0 && a.1 != b.1), "{pairs:?}");
            }
        }
    }
}
