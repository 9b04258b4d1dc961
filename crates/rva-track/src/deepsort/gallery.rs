//! The memory of how a track looked.

use crate::frame::likeness;

/// The latest looks of one track.
#[derive(Debug, Clone, Default)]
pub(super) struct Gallery {
    /// The looks one after the other, each a row of `dim` numbers.
    rows: Vec<f32>,
    dim: usize,
    /// The row that the next one takes the place of, once there are as many as may be.
    oldest: usize,
}

impl Gallery {
    /// Adds a look, in place of the oldest where there are `budget` already. Another dimension begins anew.
    pub(super) fn remember(&mut self, look: &[f32], budget: usize) {
        if look.len() != self.dim {
            *self = Self { rows: Vec::new(), dim: look.len(), oldest: 0 };
        }
        if self.rows.len() < budget * self.dim {
            self.rows.extend_from_slice(look);
            return;
        }
        let start = self.oldest * self.dim;
        self.rows[start..start + self.dim].copy_from_slice(look);
        self.oldest = (self.oldest + 1) % budget;
    }

    /// Returns the least cosine distance to one of the looks; `None` where nothing can be compared.
    pub(super) fn distance(&self, look: &[f32]) -> Option<f64> {
        let rows = self.rows.chunks_exact(self.dim.max(1));
        rows.filter_map(|row| likeness(row, look)).max_by(f64::total_cmp).map(|likeness| 1.0 - likeness)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_look_counts_and_the_oldest_is_forgotten() {
        let mut gallery = Gallery::default();
        assert_eq!(gallery.distance(&[1.0, 0.0]), None);
        gallery.remember(&[1.0, 0.0], 2);
        gallery.remember(&[0.0, 1.0], 2);
        assert_eq!(gallery.distance(&[1.0, 0.0]), Some(0.0));
        gallery.remember(&[0.0, -1.0], 2);
        assert_eq!(gallery.distance(&[1.0, 0.0]), Some(1.0), "the first is gone");
        assert_eq!(gallery.distance(&[0.0, 1.0]), Some(0.0), "the second is not");
        gallery.remember(&[1.0, 0.0], 2);
        assert_eq!(gallery.distance(&[0.0, 1.0]), Some(1.0), "now it is");
        assert_eq!(gallery.distance(&[1.0, 0.0, 0.0]), None, "of another model");
        gallery.remember(&[1.0, 0.0, 0.0], 2);
        assert_eq!(gallery.distance(&[1.0, 0.0, 0.0]), Some(0.0));
    }
}
