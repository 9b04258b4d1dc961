//! Which track takes which detection, by how alike their boxes are.
//!
//! The best assignment over all pairs that are alike enough, found part by part: tracks and detections that no such
//! pair connects can't disturb each other, and in most frames nearly all parts are a single pair.

use super::extent::Extent;
use crate::assignment::Assignment;

/// When two boxes are alike.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Likeness {
    /// Likeness above which (exclusive) two boxes may be a pair, in [0, 1].
    pub(super) floor: f64,
    /// By which share of their size both boxes are expanded before their overlap is taken.
    pub(super) expansion: f64,
    /// Whether the likeness is also multiplied with the ratio of the heights.
    pub(super) size_matters: bool,
}

impl Likeness {
    /// IoU of the expanded boxes times IoU of the vertical ranges, in [0, 1].
    fn of(&self, track: &Extent, detection: &Extent) -> f64 {
        let iou = track.expanded(self.expansion).iou(&detection.expanded(self.expansion));
        if iou <= self.floor {
            return iou;
        }
        let vertical = track.vertical_iou(detection);
        let size = if self.size_matters { track.height_ratio(detection) } else { 1.0 };
        iou * vertical * size
    }
}

#[derive(Debug, Clone, Copy)]
struct Pair {
    row: usize,
    column: usize,
    likeness: f64,
    /// A node of the part that the pair belongs to: the same for all of its pairs.
    part: usize,
}

/// Finds pairs, and keeps its memory from one time to the next.
#[derive(Debug, Default)]
pub(super) struct Matching {
    by_left: Vec<(f64, usize)>,
    candidates: Vec<Pair>,
    /// Disjoint sets over rows and, after them, columns.
    parent: Vec<usize>,
    rows: Vec<usize>,
    columns: Vec<usize>,
    cost: Vec<f64>,
    assignment: Assignment,
    pairs: Vec<(usize, usize)>,
}

impl Matching {
    /// Pairs (row, column) that make the sum of (likeness - floor) largest, in no promised order.
    pub(super) fn pairs(&mut self, rows: &[Extent], columns: &[Extent], likeness: Likeness) -> &[(usize, usize)] {
        self.pairs.clear();
        if rows.is_empty() || columns.is_empty() {
            return &self.pairs;
        }
        self.find_candidates(rows, columns, likeness);
        self.find_parts(rows.len(), columns.len());
        let mut start = 0;
        while start < self.candidates.len() {
            let part = self.candidates[start].part;
            let len = self.candidates[start..].iter().take_while(|pair| pair.part == part).count();
            self.solve_part(start, start + len, likeness.floor);
            start += len;
        }
        &self.pairs
    }

    /// Only columns whose left side isn't too far away are looked at.
    fn find_candidates(&mut self, rows: &[Extent], columns: &[Extent], likeness: Likeness) {
        let expanded = |extent: &Extent| extent.expanded(likeness.expansion);
        self.by_left.clear();
        self.by_left.extend(columns.iter().enumerate().map(|(i, column)| (expanded(column).left(), i)));
        self.by_left.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let widest = columns.iter().map(|column| expanded(column).width).fold(0.0, f64::max);
        self.candidates.clear();
        for (row, track) in rows.iter().enumerate() {
            let (left, right) = (expanded(track).left(), expanded(track).right());
            let first = self.by_left.partition_point(|&(other, _)| other < left - widest);
            for &(_, column) in self.by_left[first..].iter().take_while(|&&(other, _)| other < right) {
                let likeness_found = likeness.of(track, &columns[column]);
                if likeness_found > likeness.floor {
                    self.candidates.push(Pair { row, column, likeness: likeness_found, part: 0 });
                }
            }
        }
    }

    fn find_parts(&mut self, rows: usize, columns: usize) {
        self.parent.clear();
        self.parent.extend(0..rows + columns);
        for i in 0..self.candidates.len() {
            let (a, b) = (self.root(self.candidates[i].row), self.root(rows + self.candidates[i].column));
            self.parent[a.max(b)] = a.min(b);
        }
        for i in 0..self.candidates.len() {
            self.candidates[i].part = self.root(self.candidates[i].row);
        }
        self.candidates.sort_unstable_by_key(|pair| (pair.part, pair.row, pair.column));
    }

    fn root(&mut self, mut node: usize) -> usize {
        while self.parent[node] != node {
            self.parent[node] = self.parent[self.parent[node]];
            node = self.parent[node];
        }
        node
    }

    fn solve_part(&mut self, start: usize, end: usize, floor: f64) {
        let Self { candidates, rows, columns, cost, assignment, pairs, .. } = self;
        let part = &candidates[start..end];
        if let [only] = part {
            pairs.push((only.row, only.column));
            return;
        }
        let distinct = |found: &mut Vec<usize>, of: fn(&Pair) -> usize| {
            found.clear();
            found.extend(part.iter().map(of));
            found.sort_unstable();
            found.dedup();
        };
        distinct(rows, |pair| pair.row);
        distinct(columns, |pair| pair.column);
        let limit = 1.0 - floor;
        cost.clear();
        cost.resize(rows.len() * columns.len(), limit);
        for pair in part {
            // Both are there: they were collected from these very pairs.
            let (Ok(row), Ok(column)) = (rows.binary_search(&pair.row), columns.binary_search(&pair.column)) else {
                continue;
            };
            cost[row * columns.len() + column] = 1.0 - pair.likeness;
        }
        let solved = assignment.solve(cost, rows.len(), columns.len(), limit);
        pairs.extend(solved.iter().map(|&(row, column)| (rows[row], columns[column])));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PLAIN: Likeness = Likeness { floor: 0.2, expansion: 0.0, size_matters: false };

    fn extent((x, y, width, height): (f64, f64, f64, f64)) -> Extent {
        Extent { x, y, width, height }
    }

    #[test]
    fn the_sum_counts_and_not_the_nearest_pair() {
        let tracks = [(0.0, 0.0, 10.0, 10.0), (3.0, 0.0, 10.0, 10.0)].map(extent);
        let detections = [(2.0, 0.0, 10.0, 10.0), (-4.0, 0.0, 10.0, 10.0)].map(extent);
        let mut pairs = Matching::default().pairs(&tracks, &detections, PLAIN).to_vec();
        pairs.sort_unstable();
        assert_eq!(pairs, [(0, 1), (1, 0)]);
    }

    #[test]
    fn a_box_of_another_height_is_less_alike() {
        let (track, small) = (extent((0.0, 0.0, 10.0, 20.0)), extent((0.0, 0.0, 10.0, 10.0)));
        assert_eq!(PLAIN.of(&track, &track), 1.0);
        assert!((PLAIN.of(&track, &small) - 0.25).abs() < 1e-12);
        let strict = Likeness { size_matters: true, ..PLAIN };
        assert!((strict.of(&track, &small) - 0.125).abs() < 1e-12);
    }

    #[test]
    fn expansion_reaches_boxes_that_only_just_miss() {
        let (track, beside) = (extent((0.0, 0.0, 10.0, 20.0)), extent((11.0, 0.0, 10.0, 20.0)));
        let wide = Likeness { expansion: 0.3, floor: 0.1, size_matters: false };
        assert_eq!(PLAIN.of(&track, &beside), 0.0);
        assert_eq!(Matching::default().pairs(&[track], &[beside], wide), [(0, 0)]);
    }

    proptest! {
        #![proptest_config(ProptestConfig { rng_seed: proptest::test_runner::RngSeed::Fixed(3), cases: 256, failure_persistence: None, ..Default::default() })]

        #[test]
        fn parts_give_the_same_sum_as_the_whole(
            boxes in prop::collection::vec((0.0f64..60.0, 0.0f64..60.0, 4.0f64..30.0, 4.0f64..30.0), 2..24),
            split in 1usize..12, expansion in 0.0f64..0.3, size_matters in any::<bool>(),
        ) {
            let boxes: Vec<Extent> = boxes.into_iter().map(extent).collect();
            let (tracks, detections) = boxes.split_at(split.min(boxes.len() - 1));
            let likeness = Likeness { floor: 0.15, expansion, size_matters };
            let sum = |pairs: &[(usize, usize)]| -> f64 {
                pairs.iter().map(|&(row, column)| likeness.of(&tracks[row], &detections[column]) - likeness.floor).sum()
            };
            let cost: Vec<f64> = tracks.iter()
                .flat_map(|track| detections.iter().map(move |detection| 1.0 - likeness.of(track, detection))).collect();
            let whole = sum(Assignment::default().solve(&cost, tracks.len(), detections.len(), 1.0 - likeness.floor));
            let mut matching = Matching::default();
            // What was solved before must not matter.
            matching.pairs(detections, tracks, likeness);
            let pairs = matching.pairs(tracks, detections, likeness);
            prop_assert!((sum(pairs) - whole).abs() < 1e-9);
            for (i, a) in pairs.iter().enumerate() {
                prop_assert!(pairs[..i].iter().all(|b| a.0 != b.0 && a.1 != b.1), "{:?}", pairs);
            }
        }
    }
}
