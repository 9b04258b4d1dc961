//! The records that a killed writer left behind.

use super::{LogOptions, LogWriter};
use crate::{BusError, BusErrorKind};
use async_recursion::async_recursion as boxed;
use std::path::PathBuf;

/// Makes the records readable that a killed writer accepted but had not synced: they lie beyond the durable mark, and
/// opening the log as a writer moves it. A writer that runs does so itself, and a full disk is waited for later: for
/// both there is nothing to do.
///
/// # Errors
/// Returns an error where the log in `dir` can't be opened as a writer for another reason; see [`LogWriter::open`].
#[boxed]
pub async fn settle(dir: PathBuf, options: LogOptions) -> Result<(), BusError> {
    let opened = tokio::task::spawn_blocking(move || LogWriter::open(dir, options).map(drop)).await;
    let opened = opened.unwrap_or_else(|error| {
        Err(BusError::new(BusErrorKind::Permanent, "could not settle the log").with_source(error))
    });
    match opened {
        Err(error) if error.kind() == BusErrorKind::Transient => {
            tracing::warn!(%error, "records of a writer that was killed stay unread for now");
            Ok(())
        }
        Err(error) if error.kind() != BusErrorKind::Conflict => Err(error),
        _ => Ok(()),
    }
}
