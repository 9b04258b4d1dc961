//! Pairs of boxes that overlap, without looking at all pairs.

use crate::assignment::Assignment;
use crate::kalman::Rect;

/// A row and a column whose boxes overlap.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Pair {
    pub(crate) row: usize,
    pub(crate) column: usize,
    /// Above 0 and at most 1: the IoU, unless [`Overlaps::weigh`] or [`Overlaps::find_by`] put something else there.
    pub(crate) iou: f64,
    /// The same for all pairs that are connected through rows and columns.
    part: usize,
}

/// Finds overlapping pairs by sort and sweep, assigns them part by part, and keeps its memory from one time to the
/// next.
#[derive(Debug, Default)]
pub(crate) struct Overlaps {
    by_left: Vec<(f64, usize)>,
    pairs: Vec<Pair>,
    parent: Vec<usize>,
    row_places: Vec<usize>,
    column_places: Vec<usize>,
    rows: Vec<usize>,
    columns: Vec<usize>,
    cost: Vec<f64>,
    assignment: Assignment,
    assigned: Vec<Pair>,
}

impl Overlaps {
    fn reset(&mut self, rows: usize, columns: usize) {
        self.parent.clear();
        self.parent.extend(0..rows + columns);
        self.row_places.resize(rows, 0);
        self.column_places.resize(columns, 0);
        self.pairs.clear();
    }

    /// All pairs whose `likeness` is above 0, by row and column: for measures that also know boxes apart.
    pub(crate) fn find_by(&mut self, rows: &[Rect], columns: &[Rect], likeness: impl Fn(&Rect, &Rect) -> f64) {
        self.reset(rows.len(), columns.len());
        for (row, rect) in rows.iter().enumerate() {
            let pairs = columns.iter().enumerate().map(|(column, other)| (column, likeness(rect, other)));
            let likely = pairs.filter(|&(_, iou)| iou > 0.0);
            self.pairs.extend(likely.map(|(column, iou)| Pair { row, column, iou, part: 0 }));
        }
    }

    /// Gives every found pair another weight, above 0 and at most 1, of which [`Overlaps::assign`] then makes the sum
    /// largest. Pairs without one fall away.
    pub(crate) fn weigh(&mut self, weight: impl Fn(&Pair) -> Option<f64>) {
        self.pairs.retain_mut(|pair| weight(pair).map(|weight| pair.iou = weight).is_some());
    }

    /// All pairs whose IoU is above 0, by row and in it by the column's left side.
    pub(crate) fn find(&mut self, rows: &[Rect], columns: &[Rect]) -> &[Pair] {
        self.reset(rows.len(), columns.len());
        self.by_left.clear();
        self.by_left.extend(columns.iter().enumerate().map(|(i, rect)| (rect.left(), i)));
        self.by_left.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let widest = columns.iter().map(Rect::width).fold(0.0, f64::max);
        for (row, rect) in rows.iter().enumerate() {
            let (nearest, right) = (rect.left() - widest, rect.right());
            let first = self.by_left.partition_point(|&(left, _)| left < nearest);
            for &(_, column) in self.by_left[first..].iter().take_while(|&&(left, _)| left < right) {
                let iou = rect.iou(&columns[column], 0.0);
                if iou > 0.0 {
                    self.pairs.push(Pair { row, column, iou, part: 0 });
                }
            }
        }
        &self.pairs
    }

    /// Of the found pairs those that make the sum of IoU largest, in no promised order.
    pub(crate) fn assign(&mut self, rows: usize) -> &[Pair] {
        self.assigned.clear();
        for i in 0..self.pairs.len() {
            let (a, b) = (self.root(self.pairs[i].row), self.root(rows + self.pairs[i].column));
            self.parent[a.max(b)] = a.min(b);
        }
        for i in 0..self.pairs.len() {
            self.pairs[i].part = self.root(self.pairs[i].row);
        }
        self.pairs.sort_unstable_by_key(|pair| (pair.part, pair.row, pair.column));
        let mut start = 0;
        while start < self.pairs.len() {
            let part = self.pairs[start].part;
            let len = self.pairs[start..].iter().take_while(|pair| pair.part == part).count();
            self.assign_part(start, start + len);
            start += len;
        }
        &self.assigned
    }

    fn root(&mut self, mut node: usize) -> usize {
        while self.parent[node] != node {
            self.parent[node] = self.parent[self.parent[node]];
            node = self.parent[node];
        }
        node
    }

    fn assign_part(&mut self, start: usize, end: usize) {
        let part = &self.pairs[start..end];
        if let [only] = part {
            self.assigned.push(*only);
            return;
        }
        self.rows.clear();
        self.rows.extend(part.iter().map(|pair| pair.row));
        self.rows.dedup();
        self.columns.clear();
        self.columns.extend(part.iter().map(|pair| pair.column));
        self.columns.sort_unstable();
        self.columns.dedup();
        for (place, &row) in self.rows.iter().enumerate() {
            self.row_places[row] = place;
        }
        for (place, &column) in self.columns.iter().enumerate() {
            self.column_places[column] = place;
        }
        self.cost.clear();
        self.cost.resize(self.rows.len() * self.columns.len(), 1.0);
        for pair in part {
            self.cost[self.row_places[pair.row] * self.columns.len() + self.column_places[pair.column]] =
                1.0 - pair.iou;
        }
        for &(row, column) in self.assignment.solve(&self.cost, self.rows.len(), self.columns.len(), 1.0) {
            let iou = 1.0 - self.cost[row * self.columns.len() + column];
            self.assigned.push(Pair { row: self.rows[row], column: self.columns[column], iou, part: 0 });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rva_types::BBox;

    fn boxes() -> impl Strategy<Value = Vec<Rect>> {
        let one = (0f32..200.0, 0f32..200.0, 1f32..80.0, 1f32..80.0);
        prop::collection::vec(one.prop_map(|(x, y, w, h)| Rect::from(BBox::new(x, y, x + w, y + h))), 0..25)
    }

    proptest! {
        #![proptest_config(ProptestConfig { rng_seed: proptest::test_runner::RngSeed::Fixed(3), cases: 256, ..Default::default() })]

        #[test]
        fn the_sweep_finds_what_looking_at_all_pairs_finds_and_parts_lose_nothing(rows in boxes(), columns in boxes()) {
            let mut overlaps = Overlaps::default();
            // What was found before must not matter.
            overlaps.find(&columns, &rows);
            overlaps.assign(columns.len());
            let mut found: Vec<_> = overlaps.find(&rows, &columns).iter().map(|p| (p.row, p.column)).collect();
            found.sort_unstable();
            let iou = |row: usize, column: usize| rows[row].iou(&columns[column], 0.0);
            let all = (0..rows.len()).flat_map(|row| (0..columns.len()).map(move |column| (row, column)));
            let wanted: Vec<_> = all.clone().filter(|&(row, column)| iou(row, column) > 0.0).collect();
            prop_assert_eq!(found, wanted);
            let parts: f64 = overlaps.assign(rows.len()).iter().map(|pair| iou(pair.row, pair.column)).sum();
            let cost: Vec<f64> = all.map(|(row, column)| 1.0 - iou(row, column)).collect();
            let mut whole = Assignment::default();
            let whole: f64 = whole.solve(&cost, rows.len(), columns.len(), 1.0).iter().map(|&(r, c)| iou(r, c)).sum();
            prop_assert!((parts - whole).abs() < 1e-9, "{} and {}", parts, whole);
        }
    }
}
