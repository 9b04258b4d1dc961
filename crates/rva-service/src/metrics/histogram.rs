//! Values counted by their size.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counts values in buckets of fixed upper bounds, from any number of threads.
///
/// A value costs two atomic additions and a search of the bounds; nothing is allocated after [`Histogram::new`].
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [f64],
    /// The counts of values: one for each bound, and one for those above the last.
    buckets: Box<[AtomicU64]>,
    /// The sum of all values, in millionths, so that it can be added to without a lock.
    sum_millionths: AtomicU64,
}

/// The counts of a [`Histogram`] at one moment.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct HistogramCounts {
    /// Each bucket's upper bound (inclusive) and how many values fell into it and into no lower one. The last bound is
    /// infinite.
    pub buckets: Vec<(f64, u64)>,
    /// The sum of all values.
    pub sum: f64,
}

impl Histogram {
    /// Makes a histogram without values. `bounds` are the upper bounds of its buckets (inclusive), ascending.
    pub fn new(bounds: &'static [f64]) -> Self {
        debug_assert!(bounds.is_sorted_by(|a, b| a < b), "found bounds {bounds:?}, wanted ascending ones");
        let buckets = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, buckets, sum_millionths: AtomicU64::new(0) }
    }

    /// Counts a value. A negative one, or NaN, counts as zero.
    pub fn observe(&self, value: f64) {
        let value = value.max(0.0);
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        self.buckets[bucket].fetch_add(1, Relaxed);
        // Saturates for what no sum holds.
        self.sum_millionths.fetch_add((value * 1e6) as u64, Relaxed);
    }

    /// Returns the counts now. Each is whole; a value that is being counted may be in its bucket and not yet in the
    /// sum.
    pub fn counts(&self) -> HistogramCounts {
        let bounds = self.bounds.iter().copied().chain([f64::INFINITY]);
        let buckets = bounds.zip(&self.buckets).map(|(bound, count)| (bound, count.load(Relaxed))).collect();
        HistogramCounts { buckets, sum: self.sum_millionths.load(Relaxed) as f64 / 1e6 }
    }
}

impl HistogramCounts {
    /// Returns the number of values.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|(_, count)| count).sum()
    }

    /// Adds the counts of another histogram with the same bounds. One without buckets is zero.
    pub fn add(&mut self, other: &Self) {
        if self.buckets.is_empty() {
            self.buckets.clone_from(&other.buckets);
        } else {
            debug_assert!(other.buckets.is_empty() || self.buckets.len() == other.buckets.len());
            self.buckets.iter_mut().zip(&other.buckets).for_each(|((_, sum), (_, count))| *sum += count);
        }
        self.sum += other.sum;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_fall_into_the_bucket_whose_bound_they_reach() {
        let histogram = Histogram::new(&[0.1, 1.0]);
        [0.1, 0.05, 0.100_001, 1.0, 7.5, -3.0, f64::NAN].iter().for_each(|value| histogram.observe(*value));
        let counts = histogram.counts();
        assert_eq!(counts.buckets, [(0.1, 4), (1.0, 2), (f64::INFINITY, 1)]);
        assert!((counts.sum - 8.750_001).abs() < 1e-5, "{}", counts.sum);
        assert_eq!(counts.count(), 7);
    }

    #[test]
    fn histograms_of_the_same_bounds_add_up() {
        let (one, other) = (Histogram::new(&[1.0]), Histogram::new(&[1.0]));
        one.observe(0.5);
        other.observe(2.0);
        let mut sum = HistogramCounts::default();
        [one.counts(), other.counts(), HistogramCounts::default()].iter().for_each(|counts| sum.add(counts));
        assert_eq!(sum, HistogramCounts { buckets: vec![(1.0, 1), (f64::INFINITY, 1)], sum: 2.5 });
    }
}
