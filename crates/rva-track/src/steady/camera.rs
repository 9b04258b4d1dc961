//! The shift of the picture since the frame before, found from boxes alone.
//!
//! A camera that turns or is jolted moves everybody alike, so most of the vectors from where tracks were expected to
//! where detections of their size are lie near one another. Two steps: the vectors vote, as in a Hough transform
//! (Duda and Hart, CACM 15, 1972), which finds also a jump of two heights that leaves no box overlapping its own
//! prediction; then the median of what is left between each track and the detection that overlaps it most gives the
//! shift to a fraction of a pixel, if it is significant. Both shrug off those who walk by themselves as long as they
//! are the minority.
//! BoT-SORT (Aharon et al., 2022, section 3.2) takes the motion from the picture; this needs none and costs
//! microseconds. Only a translation is found: turning in the picture plane and zooming are left to the tracks'
//! own velocities.

use super::extent::Extent;

/// The most tracks that take part: more would cost time and say the same.
const KNOWN_MAX: usize = 64;
/// The fewest tracks that can tell the camera's motion from their own.
const KNOWN_MIN: usize = 3;
/// Side of a voting cell, as a share of the tracks' median height.
const CELL: f64 = 0.1;
/// Cells on either side of the middle one, so that shifts of up to about two heights are found.
const REACH: usize = 20;
const SIDE: usize = 2 * REACH + 1;
/// The least ratio of the sizes of a detection and the track that it votes with.
const HEIGHT_RATIO_MIN: f64 = 0.8;
const WIDTH_RATIO_MIN: f64 = 0.7;
/// The share of the tracks that overlap a detection from which the picture moved little and nobody needs to vote.
const CALM: f64 = 0.7;
/// The times the votes for standing still that a shift needs, and one vote more.
const LEAD: f64 = 1.3;
/// The share of the tracks that a shift needs as votes besides.
const SUPPORT: f64 = 0.3;
/// The overlap with a prediction above which a detection counts for the median.
const IOU_MIN: f64 = 0.4;
/// The number of standard errors that a median must be away from 0.
const SIGNIFICANCE: f64 = 2.0;

/// Finds shifts, and keeps its memory from one frame to the next.
#[derive(Debug, Default)]
pub(super) struct CrowdMotion {
    heights: Vec<f64>,
    /// Rows of [`SIDE`] cells.
    votes: Vec<u32>,
    x: Vec<f64>,
    y: Vec<f64>,
}

impl CrowdMotion {
    /// Returns the shift in pixels from where well-known tracks are `expected` to where the `seen` are; (0, 0) where
    /// too few are known.
    pub(super) fn shift(&mut self, expected: &[Extent], seen: &[Extent]) -> (f64, f64) {
        let expected = &expected[..expected.len().min(KNOWN_MAX)];
        if expected.len() < KNOWN_MIN {
            return (0.0, 0.0);
        }
        self.measure(expected, seen, (0.0, 0.0));
        let mut voted = (0.0, 0.0);
        if (self.x.len() as f64) < CALM * expected.len() as f64 {
            voted = self.vote(expected, seen);
            if voted != (0.0, 0.0) {
                self.measure(expected, seen, voted);
            }
        }
        if self.x.len() < KNOWN_MIN {
            return voted;
        }
        (voted.0 + significant_median(&mut self.x), voted.1 + significant_median(&mut self.y))
    }

    /// Returns the shift with most votes, to about half a cell; (0, 0) where none stands out.
    fn vote(&mut self, expected: &[Extent], seen: &[Extent]) -> (f64, f64) {
        self.heights.clear();
        self.heights.extend(expected.iter().map(|extent| extent.height));
        let cell = CELL * median(&mut self.heights);
        self.votes.clear();
        self.votes.resize(SIDE * SIDE, 0);
        let per_cell = 1.0 / cell;
        for track in expected {
            let heights = track.height * HEIGHT_RATIO_MIN..=track.height / HEIGHT_RATIO_MIN;
            let widths = track.width * WIDTH_RATIO_MIN..=track.width / WIDTH_RATIO_MIN;
            let bottom = track.bottom();
            for detection in seen {
                if !heights.contains(&detection.height) || !widths.contains(&detection.width) {
                    continue;
                }
                let column = index((detection.x - track.x) * per_cell);
                let row = index((detection.bottom() - bottom) * per_cell);
                if let (Some(column), Some(row)) = (column, row) {
                    self.votes[row * SIDE + column] += 1;
                }
            }
        }
        let (mut most, mut at) = (LEAD * f64::from(self.around(REACH, REACH)) + 1.0, None);
        for row in 1..SIDE - 1 {
            for column in 1..SIDE - 1 {
                if self.votes[row * SIDE + column] > 0 {
                    let found = f64::from(self.around(row, column));
                    if found > most {
                        (most, at) = (found, Some((row, column)));
                    }
                }
            }
        }
        match at {
            Some((row, column)) if most >= SUPPORT * expected.len() as f64 => {
                let (x, y) = self.centre(row, column);
                (x * cell, y * cell)
            }
            _ => (0.0, 0.0),
        }
    }

    /// Returns the votes for a cell and its eight neighbours; the cell isn't at the edge.
    fn around(&self, row: usize, column: usize) -> u32 {
        neighbours(row, column).map(|(row, column)| self.votes[row * SIDE + column]).sum()
    }

    /// Returns the place where the votes in a cell and its neighbours lie on average, in cells from the middle.
    fn centre(&self, row: usize, column: usize) -> (f64, f64) {
        let (mut x, mut y, mut sum) = (0.0, 0.0, 0.0);
        for (row, column) in neighbours(row, column) {
            let votes = f64::from(self.votes[row * SIDE + column]);
            x += votes * (column as f64 - REACH as f64);
            y += votes * (row as f64 - REACH as f64);
            sum += votes;
        }
        (x / sum, y / sum)
    }

    /// Measures what remains after a shift: for each track the vector to the detection that overlaps it most.
    fn measure(&mut self, expected: &[Extent], seen: &[Extent], shift: (f64, f64)) {
        self.x.clear();
        self.y.clear();
        for track in expected {
            let track = Extent { x: track.x + shift.0, y: track.y + shift.1, ..*track };
            let (mut most, mut nearest) = (IOU_MIN, None);
            for detection in seen {
                // No overlap at all, and cheaper to see.
                if (detection.x - track.x).abs() > track.width.max(detection.width) {
                    continue;
                }
                let iou = track.iou(detection);
                if iou > most {
                    (most, nearest) = (iou, Some(detection));
                }
            }
            if let Some(detection) = nearest {
                self.x.push(detection.x - track.x);
                self.y.push(detection.bottom() - track.bottom());
            }
        }
    }
}

/// Returns the cell of a distance in cells, unless that is too far or NaN. Cells at the edge are left empty, so that
/// every cell with votes has eight neighbours.
fn index(cells: f64) -> Option<usize> {
    let near = cells.abs() < REACH as f64 - 0.5;
    near.then_some((cells + (REACH as f64 + 0.5)) as usize)
}

fn neighbours(row: usize, column: usize) -> impl Iterator<Item = (usize, usize)> {
    (row - 1..=row + 1).flat_map(move |row| (column - 1..=column + 1).map(move |column| (row, column)))
}

/// Returns the median, or 0 where it could as well be chance: within [`SIGNIFICANCE`] standard errors, of which one
/// is 1.2533 s / √n with the deviation s taken as 1.4826 times the median distance from the median. So a camera that
/// stands still stays still, and lost tracks aren't dragged along by the jitter of boxes.
fn significant_median(values: &mut [f64]) -> f64 {
    let middle = median(values);
    values.iter_mut().for_each(|value| *value = (*value - middle).abs());
    let error = 1.2533 * 1.4826 * median(values) / (values.len() as f64).sqrt();
    if middle.abs() > SIGNIFICANCE * error { middle } else { 0.0 }
}

/// Returns the middle value, or the mean of the two in the middle; there is at least one. It sorts the values.
fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// People of one height in no order.
    fn crowd() -> Vec<Extent> {
        let places = [(0.0, 0.0), (130.0, 17.0), (290.0, -45.0), (410.0, 60.0), (555.0, 8.0), (700.0, 31.0)];
        places.iter().map(|&(x, y)| Extent { x, y, width: 40.0, height: 100.0 }).collect()
    }

    fn moved(people: &[Extent], x: f64, y: f64) -> Vec<Extent> {
        people.iter().map(|person| Extent { x: person.x + x, y: person.y + y, ..*person }).collect()
    }

    #[test]
    fn a_shift_of_everybody_is_found_whether_boxes_overlap_or_not() {
        let mut camera = CrowdMotion::default();
        for (x, y) in [(0.0, 0.0), (1.25, -0.5), (14.0, 9.0), (-77.0, 31.0), (165.0, -120.0)] {
            let (found_x, found_y) = camera.shift(&crowd(), &moved(&crowd(), x, y));
            assert!((found_x - x).abs() < 1e-9 && (found_y - y).abs() < 1e-9, "{x} {y}: {found_x} {found_y}");
        }
    }

    #[test]
    fn a_minority_that_walks_moves_no_camera() {
        let mut seen = crowd();
        seen[0].x += 9.0;
        seen[1].x -= 6.0;
        assert_eq!(CrowdMotion::default().shift(&crowd(), &seen), (0.0, 0.0));
    }

    #[test]
    fn the_jitter_of_boxes_moves_no_camera_and_a_common_part_does() {
        let jittered = |common: f64| {
            let mut seen = moved(&crowd(), common, 0.0);
            for (person, jitter) in seen.iter_mut().zip([-2.0, 1.5, -1.0, 2.5, 0.5, 1.0]) {
                person.x += jitter;
            }
            seen
        };
        assert_eq!(CrowdMotion::default().shift(&crowd(), &jittered(0.0)), (0.0, 0.0));
        let (x, y) = CrowdMotion::default().shift(&crowd(), &jittered(6.0));
        assert!((x - 6.0).abs() < 1.0 && y == 0.0, "{x} {y}");
    }

    #[test]
    fn missing_and_strange_detections_are_borne() {
        let mut seen = moved(&crowd(), 60.0, 0.0);
        seen.remove(2);
        seen.push(Extent { x: 300.0, y: 200.0, width: 300.0, height: 90.0 });
        let (x, y) = CrowdMotion::default().shift(&crowd(), &seen);
        assert!((x - 60.0).abs() < 1e-9 && y.abs() < 1e-9, "{x} {y}");
    }

    #[test]
    fn too_few_tracks_or_no_detections_say_nothing() {
        let mut camera = CrowdMotion::default();
        assert_eq!(camera.shift(&crowd()[..2], &moved(&crowd(), 50.0, 0.0)), (0.0, 0.0));
        assert_eq!(camera.shift(&crowd(), &[]), (0.0, 0.0));
    }

    #[test]
    fn the_median_of_an_even_number_is_the_mean_of_the_middle_two() {
        assert_eq!(median(&mut [4.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&mut [4.0, 1.0, 2.0, 3.0]), 2.5);
    }
}
