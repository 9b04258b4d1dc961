//! All scores of a tracker on a sequence, or on several together.

use crate::{ClearCounts, HotaCounts, IdentityCounts, Sequence};

/// Names of the scores in the order of [`TrackScores::values`], as MOTChallenge writes them. Shares are in [0, 1].
pub const METRICS: [&str; 21] = [
    "HOTA", "DetA", "AssA", "LocA", "DetRe", "DetPr", "AssRe", "AssPr", "MOTA", "MOTP", "IDF1", "IDP", "IDR", "IDSW",
    "FP", "FN", "MT", "PT", "ML", "Frag", "TP",
];

/// The counts behind every score.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TrackScores {
    /// HOTA and its parts.
    pub hota: HotaCounts,
    /// MOTA and its parts.
    pub clear: ClearCounts,
    /// IDF1 and its parts.
    pub identity: IdentityCounts,
}

impl TrackScores {
    /// Scores one sequence.
    pub fn of(sequence: &Sequence) -> Self {
        Self {
            hota: HotaCounts::count(sequence),
            clear: ClearCounts::count(sequence),
            identity: IdentityCounts::count(sequence),
        }
    }

    /// Scores several sequences together: counts add up, so long sequences weigh more (TrackEval's `COMBINED_SEQ`).
    pub fn combined<'a>(all: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut sum = Self::default();
        for scores in all {
            sum.hota.add(&scores.hota);
            sum.clear.add(&scores.clear);
            sum.identity.add(&scores.identity);
        }
        sum
    }

    /// Returns all scores, in the order of [`METRICS`].
    pub fn values(&self) -> [f64; METRICS.len()] {
        let Self { hota, clear, identity } = self;
        let count = |n: u64| n as f64;
        [
            hota.hota(),
            hota.det_a(),
            hota.ass_a(),
            hota.loc_a(),
            hota.det_re(),
            hota.det_pr(),
            hota.ass_re(),
            hota.ass_pr(),
            clear.mota(),
            clear.motp(),
            identity.idf1(),
            identity.idp(),
            identity.idr(),
            count(clear.id_switches),
            count(clear.false_positives),
            count(clear.false_negatives),
            count(clear.mostly_tracked),
            count(clear.partly_tracked),
            count(clear.mostly_lost),
            count(clear.fragments),
            count(clear.true_positives),
        ]
    }

    /// Returns one score by its name, in any case of letters; `None` for a name that isn't one of [`METRICS`].
    pub fn value(&self, metric: &str) -> Option<f64> {
        let at = METRICS.iter().position(|name| name.eq_ignore_ascii_case(metric))?;
        self.values().get(at).copied()
    }

    /// Returns whether a score is a count rather than a share.
    pub fn is_count(metric: &str) -> bool {
        ["IDSW", "FP", "FN", "MT", "PT", "ML", "Frag", "TP"].contains(&metric)
    }
}
