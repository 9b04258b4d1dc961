//! Exit codes of the command.

use rva_bus::{BusError, BusErrorKind};
use rva_lake::LakeError;
use rva_service::ConfigError;
use rva_track::TrackError;
use rva_vision::{VisionError, VisionErrorKind};
use std::fmt;

/// The end of the command, as a number that scripts can rely on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// All done.
    Done,
    /// A file, a model, a library, a folder or a table can't be used.
    Failure,
    /// The request makes no sense; nothing was started.
    Usage,
    /// A source broke off; what was decoded is committed.
    Incomplete,
    /// Another process writes to the data folder.
    InUse,
    /// A file that was replayed holds no records, or most of it is none.
    NoRecords,
    /// Stopped by SIGINT.
    Interrupted,
    /// Stopped by SIGTERM, the second time.
    Terminated,
}

impl Exit {
    /// The codes and their meanings: the text of `rva help exit-codes`.
    pub const TABLE: [(Self, &'static str); 8] = [
        (Self::Done, "done; also a live source or an ingest that was stopped cleanly by a signal"),
        (Self::Failure, "failure: a file, model, library, folder or table can't be used, or doctor misses something"),
        (Self::Usage, "usage or configuration: a flag, key, class, tracker or device is wrong; nothing was started"),
        (Self::Incomplete, "incomplete: a source broke off; everything that was decoded is committed"),
        (Self::InUse, "in use: another process writes to this data folder; its id is named"),
        (
            Self::NoRecords,
            "no records: a replayed file is of another kind, or most of its lines are no records and will be dead letters",
        ),
        (
            Self::Interrupted,
            "stopped by Ctrl-C or SIGTERM before the end of a file: everything decoded is committed; after a second Ctrl-C: at once",
        ),
        (Self::Terminated, "stopped by a second SIGTERM at once; what is in the log is committed by the next ingest"),
    ];

    /// Returns the number.
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failure => 1,
            Self::Usage => 2,
            Self::Incomplete => 3,
            Self::InUse => 4,
            Self::NoRecords => 5,
            Self::Interrupted => 130,
            Self::Terminated => 143,
        }
    }

    /// Returns that of two ends of one command which is reported: a failure before a broken source before an
    /// interruption.
    pub fn worse(self, other: Self) -> Self {
        const ORDER: [Exit; 8] = [
            Exit::Done,
            Exit::Interrupted,
            Exit::Terminated,
            Exit::Incomplete,
            Exit::NoRecords,
            Exit::InUse,
            Exit::Usage,
            Exit::Failure,
        ];
        let rank = |exit: Self| ORDER.iter().position(|known| *known == exit);
        if rank(other) > rank(self) { other } else { self }
    }
}

/// Returns the table of exit codes as text.
pub fn table_text() -> String {
    let mut text = String::from("Exit codes:\n");
    for (exit, meaning) in Exit::TABLE {
        text.push_str(&format!("  {:>3}  {meaning}\n", exit.code()));
    }
    text
}

/// An error whose exit code the place that made it knows.
#[derive(Debug)]
pub struct Refusal {
    exit: Exit,
    text: String,
}

impl Refusal {
    /// Refuses a request that makes no sense.
    pub fn usage(text: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, text: text.into() }
    }

    /// Refuses to work where another process writes.
    pub fn in_use(text: impl Into<String>) -> Self {
        Self { exit: Exit::InUse, text: text.into() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Refusal {}

/// Returns the exit code of an error: that of the first cause that has one.
pub fn exit_of(error: &anyhow::Error) -> Exit {
    error.chain().find_map(code_of).unwrap_or(Exit::Failure)
}

/// Returns the exit code of an error of a source, a model or a tracker.
pub fn of_vision(error: &VisionError) -> Exit {
    match error.kind() {
        VisionErrorKind::Config | VisionErrorKind::Device => Exit::Usage,
        VisionErrorKind::Incomplete => Exit::Incomplete,
        _ => Exit::Failure,
    }
}

fn code_of(cause: &(dyn std::error::Error + 'static)) -> Option<Exit> {
    if let Some(refusal) = cause.downcast_ref::<Refusal>() {
        return Some(refusal.exit);
    }
    if cause.is::<ConfigError>() || cause.is::<TrackError>() {
        return Some(Exit::Usage);
    }
    if let Some(error) = cause.downcast_ref::<VisionError>() {
        return Some(of_vision(error));
    }
    if let Some(error) = cause.downcast_ref::<BusError>() {
        return Some(if error.kind() == BusErrorKind::Conflict { Exit::InUse } else { Exit::Failure });
    }
    cause.is::<LakeError>().then_some(Exit::Failure)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_code_is_in_the_table_once() {
        let codes: BTreeSet<u8> = Exit::TABLE.iter().map(|(exit, _)| exit.code()).collect();
        assert_eq!(codes, BTreeSet::from([0, 1, 2, 3, 4, 5, 130, 143]));
    }

    #[test]
    fn a_failure_outweighs_a_broken_source_which_outweighs_an_interruption() {
        assert_eq!(Exit::Done.worse(Exit::Interrupted), Exit::Interrupted);
        assert_eq!(Exit::Incomplete.worse(Exit::Interrupted), Exit::Incomplete);
        assert_eq!(Exit::Incomplete.worse(Exit::Failure), Exit::Failure);
    }

    #[test]
    fn context_around_an_error_keeps_its_code() {
        let error = anyhow::Error::new(Refusal::in_use("x")).context("open data folder");
        assert_eq!(exit_of(&error), Exit::InUse);
        let error = anyhow::Error::new(VisionError::new(VisionErrorKind::Device, "x"));
        assert_eq!(exit_of(&error), Exit::Usage);
        assert_eq!(exit_of(&anyhow::anyhow!("anything")), Exit::Failure);
    }
}
