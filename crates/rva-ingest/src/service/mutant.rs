//! Rules that are broken on purpose: the torture must notice each of them.

use super::Settings;
use crate::IngestRules;
use rva_lake::CommitRules;

/// A rule of exactly once that is broken on purpose.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub enum Mutant {
    /// Doesn't compare the stored offsets with those that a batch was built on.
    NoFence,
    /// Believes the catalog's answer.
    NoReload,
    /// Tells the log before the table has it.
    AcknowledgeFirst,
}

impl Mutant {
    /// Breaks the rule.
    pub fn apply(self, settings: &mut Settings) {
        let rules = CommitRules::default();
        let rules = match self {
            Self::NoFence => CommitRules { fence: false, ..rules },
            Self::NoReload => CommitRules { reload_after_unknown: false, ..rules },
            Self::AcknowledgeFirst => {
                settings.ingest.rules = IngestRules { acknowledge_after_commit: false };
                rules
            }
        };
        settings.tables.lake = settings.tables.lake.clone().with_rules(rules);
    }
}
