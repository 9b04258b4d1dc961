//! Assignment of two sides at the greatest sum, by the Hungarian algorithm of the `pathfinding` crate.

use pathfinding::kuhn_munkres::{Weights, kuhn_munkres};

/// The factor that makes whole numbers of scores: the solver compares sums for equality, which those allow. 2⁻⁴⁰ is far
/// below any score that is printed.
const SCALE: f64 = (1u64 << 40) as f64;

/// A dense matrix of scores, row by row, seen with its shorter side along the rows.
struct View<'a> {
    scores: &'a [f64],
    rows: usize,
    columns: usize,
    turned: bool,
}

impl Weights<i64> for View<'_> {
    fn rows(&self) -> usize {
        self.rows.min(self.columns)
    }

    fn columns(&self) -> usize {
        self.rows.max(self.columns)
    }

    fn at(&self, row: usize, column: usize) -> i64 {
        let (row, column) = if self.turned { (column, row) } else { (row, column) };
        (self.scores[row * self.columns + column] * SCALE).round() as i64
    }

    fn neg(&self) -> Self {
        unreachable!("only the greatest sum is asked for")
    }
}

/// Returns the pairs (row, column) whose scores have the greatest sum: as many as the shorter side has. Scores are
/// finite and at most 2²⁰ in magnitude.
pub(crate) fn best_pairs(scores: &[f64], rows: usize, columns: usize) -> Vec<(usize, usize)> {
    if rows == 0 || columns == 0 {
        return Vec::new();
    }
    let turned = rows > columns;
    let (_, chosen) = kuhn_munkres(&View { scores, rows, columns, turned });
    let pairs = chosen.into_iter().enumerate();
    pairs.map(|(short, long)| if turned { (long, short) } else { (short, long) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_greatest_sum_wins_over_the_greatest_single_score() {
        // 0.9 + 0.1 is less than 0.8 + 0.7.
        assert_eq!(best_pairs(&[0.9, 0.8, 0.7, 0.1], 2, 2), [(0, 1), (1, 0)]);
    }

    #[test]
    fn either_side_may_be_the_longer_one() {
        assert_eq!(best_pairs(&[0.1, 0.5, 0.2], 1, 3), [(0, 1)]);
        assert_eq!(best_pairs(&[0.1, 0.5, 0.2], 3, 1), [(1, 0)]);
        assert!(best_pairs(&[], 0, 3).is_empty());
    }
}
