//! The errors that keep a refinement from going on.

use rva_lake::{LakeError, LakeErrorKind};

/// An error of the tables; its kind says what a retry can cure.
pub(crate) type Trouble = LakeError;

/// Returns an error that nothing cures by itself.
pub(crate) fn permanent(text: String) -> Trouble {
    LakeError::new(LakeErrorKind::Permanent, text)
}

/// Returns the error of a table whose snapshots between a position and now are gone; it says what to work out again.
pub(crate) fn expired(table: &str, from: Option<u64>, rebuilt: &str) -> Trouble {
    let from = from.unwrap_or(0);
    permanent(format!(
        "found the snapshots of rva.{table} since number {from} expired, wanted them to tell what is new: work the tables \
         out again with `rva refine --rebuild {rebuilt}` (with --from DAY for the days since then)"
    ))
}
