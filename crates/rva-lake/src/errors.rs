//! Kinds of errors, decided in one place: by the cause of an error, not by who reports it.

use crate::seam::{LakeError, LakeErrorKind};
use iceberg::ErrorKind;
use parquet::errors::ParquetError;
use std::{error::Error, io};

type Cause<'a> = &'a (dyn Error + 'static);

/// The cure of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cure {
    /// Waiting cures it: the network, a server, a lock.
    Time,
    /// Waiting until somebody makes room, or sets a clock right, cures it.
    Operator(&'static str),
    /// Another look at the table cures it, which somebody may have changed meanwhile. If it doesn't, nothing does.
    AnotherLook,
    /// Nothing that happens by itself cures it.
    Nothing(&'static str),
}

const NO_SPACE: &str = "make room on that disk; it goes on by itself";
const LOCKED: &str = "end the program that holds the catalog; it goes on by itself";
const AWAY: &str = "start what doesn't answer, or correct its address; it goes on by itself";
const CLOCK: &str = "set the clock of this machine or of the store right; it goes on by itself";
const DESCRIPTORS: &str = "raise the limit of open files (ulimit -n, LimitNOFILE=) and start again";
const PERMISSION: &str = "give this user the right and start again";
const DAMAGED: &str = "a file of the table is gone or damaged: roll the table back to an older snapshot, or restore the \
                       file, and start again";
const CANNOT_WRITE: &str =
    "take back what another engine changed (schema, partition fields, properties) and start again";
const REFUSED: &str = "correct the settings or the rights and start again";

fn causes<'a>(error: Cause<'a>) -> impl Iterator<Item = Cause<'a>> {
    // An I/O error passes over what it wraps.
    std::iter::successors(Some(error), |error| {
        let error: Cause<'a> = *error;
        match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(wrapped) => Some(wrapped as Cause<'a>),
            None => error.source(),
        }
    })
}

fn of_io(error: &io::Error) -> Option<Cure> {
    // 23 and 24: the system's table of open files is full, and the process's.
    if matches!(error.raw_os_error(), Some(23 | 24)) {
        return Some(Cure::Nothing(DESCRIPTORS));
    }
    Some(match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Cure::Operator(NO_SPACE),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Cure::Nothing(PERMISSION),
        io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof => Cure::AnotherLook,
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidFilename | io::ErrorKind::NotADirectory => {
            Cure::Nothing(CANNOT_WRITE)
        }
        // What it wraps says more.
        io::ErrorKind::Other | io::ErrorKind::InvalidData => return None,
        _ => Cure::Time,
    })
}

/// Returns the cure of an object store's error. A missing bucket comes as an object that isn't found, with S3's code in
/// the text.
fn of_store(error: &object_store::Error) -> Option<Cure> {
    Some(match error {
        // S3 refuses a signature whose time is far off; a clock gets right again.
        object_store::Error::PermissionDenied { source, .. } if source.to_string().contains("RequestTimeTooSkewed") => {
            Cure::Operator(CLOCK)
        }
        object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => {
            Cure::Nothing(PERMISSION)
        }
        object_store::Error::NotFound { source, .. } if source.to_string().contains("NoSuchBucket") => {
            Cure::Nothing(REFUSED)
        }
        object_store::Error::NotFound { .. } => Cure::AnotherLook,
        object_store::Error::InvalidPath { .. } | object_store::Error::NotSupported { .. } => Cure::Nothing(REFUSED),
        _ => return None,
    })
}

/// Returns the cure of SQLite's error, by its primary code.
fn of_sqlite(error: &sqlx::Error) -> Option<Cure> {
    let code = error.as_database_error()?.code()?.parse::<u32>().ok()? & 0xff;
    Some(match code {
        3 | 8 | 14 | 23 => Cure::Nothing(PERMISSION),
        11 | 26 => Cure::Nothing("restore catalog.db from a backup, or replay into a new data folder"),
        13 => Cure::Operator(NO_SPACE),
        5 | 6 => Cure::Operator(LOCKED),
        _ => Cure::Time,
    })
}

/// Returns the HTTP status that the crate's REST client tells in the context of its errors.
pub(crate) fn status(text: &str) -> Option<u16> {
    let (_, rest) = text.split_once("status: ")?;
    rest.get(..3)?.parse().ok()
}

fn of_status(error: &iceberg::Error) -> Option<Cure> {
    Some(match status(&error.to_string())? {
        // 409: another commit was first. 419: a session that ran out.
        408 | 409 | 419 | 425 | 429 => Cure::Time,
        400..=499 => Cure::Nothing(REFUSED),
        _ => Cure::Operator(AWAY),
    })
}

/// Returns the cure by the kind that the crate gives where no cause says more.
fn of_kind(error: &iceberg::Error) -> Cure {
    match error.kind() {
        ErrorKind::PreconditionFailed | ErrorKind::CatalogCommitConflicts => Cure::Time,
        // A snapshot would be older than the last change of the table.
        ErrorKind::DataInvalid if error.message().contains("timestamp") && error.message().contains("before last") => {
            Cure::Operator(CLOCK)
        }
        // Another engine changed the fields since the files were written: the next try writes them anew.
        ErrorKind::DataInvalid if error.message().contains("partition spec id does not match") => Cure::Time,
        ErrorKind::DataInvalid | ErrorKind::FeatureUnsupported => Cure::Nothing(CANNOT_WRITE),
        ErrorKind::TableNotFound | ErrorKind::NamespaceNotFound => {
            Cure::Nothing("start again: the table is made anew, or give the old one its name back first")
        }
        ErrorKind::TableAlreadyExists | ErrorKind::NamespaceAlreadyExists => Cure::Time,
        _ => Cure::Operator(AWAY),
    }
}

fn of_parquet(error: &ParquetError) -> Option<Cure> {
    match error {
        // What it wraps says more.
        ParquetError::External(_) => None,
        _ => Some(Cure::Nothing(DAMAGED)),
    }
}

fn of_cause(cause: Cause<'_>) -> Option<Cure> {
    if let Some(error) = cause.downcast_ref::<io::Error>() {
        return of_io(error);
    }
    if let Some(error) = cause.downcast_ref::<object_store::Error>() {
        return of_store(error);
    }
    if let Some(error) = cause.downcast_ref::<sqlx::Error>() {
        return of_sqlite(error);
    }
    if let Some(error) = cause.downcast_ref::<ParquetError>() {
        return of_parquet(error);
    }
    let iceberg = cause.downcast_ref::<iceberg::Error>()?;
    of_status(iceberg)
}

fn cure(error: &iceberg::Error) -> Cure {
    let certain = |cure: &Cure| !matches!(cure, Cure::Time);
    let found: Vec<Cure> = causes(error).filter_map(of_cause).collect();
    // The innermost cause that says something knows best.
    let told = found.iter().rev().find(|cure| certain(cure)).or(found.last()).copied();
    told.unwrap_or_else(|| {
        let inner = causes(error).filter_map(|cause| cause.downcast_ref::<iceberg::Error>()).last();
        of_kind(inner.filter(|inner| inner.kind() != ErrorKind::Unexpected).unwrap_or(error))
    })
}

/// Returns whether a file isn't there.
pub(crate) fn is_not_found(error: &iceberg::Error) -> bool {
    causes(error).any(|cause| {
        let local = cause.downcast_ref::<io::Error>().map(io::Error::kind) == Some(io::ErrorKind::NotFound);
        local || matches!(cause.downcast_ref(), Some(object_store::Error::NotFound { .. }))
    })
}

/// Returns whether a catalog or a store doesn't let us look.
pub(crate) fn is_refused(error: &iceberg::Error) -> bool {
    matches!(status(&error.to_string()), Some(401 | 403))
}

/// Returns what is wrong with a server's certificate, in words, and what would be right.
pub(crate) fn bad_certificate(error: Cause<'_>) -> Option<(&'static str, &'static str)> {
    let told = [
        ("NotValidForName", "a certificate for another name", "the name that the server's certificate is for"),
        ("certificate expired", "a certificate that has expired", "a current one at the server"),
        ("Expired", "a certificate that has expired", "a current one at the server"),
        ("NotValidYet", "a certificate that isn't valid yet", "a clock that is right, here and at the server"),
        ("InvalidContentType", "no TLS at the other end", "http:// in the address, or a server that speaks TLS there"),
        (
            "invalid peer certificate",
            "a certificate of an authority that isn't known",
            "one that s3.ca_file (iceberg.ca_file for the catalog) or a well-known authority signed",
        ),
        (
            "UnknownIssuer",
            "a certificate of an authority that isn't known",
            "one that s3.ca_file (iceberg.ca_file for the catalog) or a well-known authority signed",
        ),
        (
            "CaUsedAsEndEntity",
            "a certificate of an authority that isn't known",
            "one that s3.ca_file (iceberg.ca_file for the catalog) or a well-known authority signed",
        ),
    ];
    let texts: Vec<String> = causes(error).map(ToString::to_string).collect();
    let (_, found, wanted) = told.into_iter().find(|(sign, ..)| texts.iter().any(|text| text.contains(sign)))?;
    Some((found, wanted))
}

/// Turns an iceberg error into one of the seam: `could not <doing>: …`.
pub(crate) fn lake_error(doing: impl std::fmt::Display, error: iceberg::Error) -> LakeError {
    if let Some((found, wanted)) = bad_certificate(&error) {
        let text = format!("could not {doing}: {error}: found {found}, wanted {wanted}");
        return LakeError::new(LakeErrorKind::Permanent, text).with_source(error);
    }
    let (kind, way_out) = match cure(&error) {
        Cure::Time => (LakeErrorKind::Transient, None),
        Cure::Operator(way_out) => (LakeErrorKind::Transient, Some(way_out)),
        Cure::AnotherLook => (LakeErrorKind::Conflict, Some(DAMAGED)),
        Cure::Nothing(way_out) => (LakeErrorKind::Permanent, Some(way_out)),
    };
    let made = LakeError::new(kind, format!("could not {doing}: {error}")).with_source(error);
    match way_out {
        Some(way_out) => made.with_way_out(way_out),
        None => made,
    }
}

/// Turns an error whose cause no retry changes into one of the seam: wrong types, unreadable properties.
pub(crate) fn permanent(doing: impl std::fmt::Display, error: impl Error + Send + Sync + 'static) -> LakeError {
    LakeError::new(LakeErrorKind::Permanent, format!("could not {doing}: {error}")).with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use LakeErrorKind::{Conflict, Permanent, Transient};

    fn unexpected(cause: impl Into<Box<dyn Error + Send + Sync>>) -> iceberg::Error {
        iceberg::Error::new(ErrorKind::Unexpected, "work").with_source(std::io::Error::other(cause))
    }

    fn io(kind: io::ErrorKind) -> iceberg::Error {
        iceberg::Error::new(ErrorKind::Unexpected, "work").with_source(io::Error::from(kind))
    }

    fn http(code: &str) -> iceberg::Error {
        iceberg::Error::new(ErrorKind::Unexpected, "Received response with unexpected status code")
            .with_context("status", code)
    }

    #[test]
    fn an_error_has_the_class_of_what_can_cure_it() {
        let plain = |kind, text: &str| iceberg::Error::new(kind, text.to_owned());
        let missing = |text: &str| object_store::Error::NotFound { path: "x".into(), source: text.to_owned().into() };
        let cases = [
            (io(io::ErrorKind::StorageFull), Transient, "make room"),
            (io(io::ErrorKind::ConnectionRefused), Transient, ""),
            (io(io::ErrorKind::PermissionDenied), Permanent, "right"),
            (io(io::ErrorKind::NotFound), Conflict, "roll the table back"),
            (
                iceberg::Error::new(ErrorKind::Unexpected, "open").with_source(io::Error::from_raw_os_error(24)),
                Permanent,
                "ulimit -n",
            ),
            (plain(ErrorKind::DataInvalid, "Invalid value for commit.retry.num-retries"), Permanent, "take back"),
            (
                plain(ErrorKind::DataInvalid, "Invalid snapshot timestamp 1: before last updated timestamp 2"),
                Transient,
                "clock",
            ),
            (plain(ErrorKind::FeatureUnsupported, "void transform"), Permanent, "take back"),
            (plain(ErrorKind::TableNotFound, "gone"), Permanent, "name back"),
            (plain(ErrorKind::Unexpected, "no answer"), Transient, "address"),
            (plain(ErrorKind::CatalogCommitConflicts, "conflict"), Transient, ""),
            (http("400 Bad Request"), Permanent, "correct"),
            (http("403 Forbidden"), Permanent, "correct"),
            (http("404 Not Found"), Permanent, "correct"),
            (http("422 Unprocessable Entity"), Permanent, "correct"),
            (http("408 Request Timeout"), Transient, ""),
            (http("409 Conflict"), Transient, ""),
            (http("429 Too Many Requests"), Transient, ""),
            (http("500 Internal Server Error"), Transient, "start what"),
            (http("503 Service Unavailable"), Transient, "start what"),
            (unexpected(ParquetError::EOF("short".into())), Permanent, "restore"),
            (unexpected(ParquetError::External(Box::new(io(io::ErrorKind::TimedOut)))), Transient, ""),
            (unexpected(missing("NoSuchBucket")), Permanent, "settings"),
            (unexpected(missing("NoSuchKey")), Conflict, "roll the table back"),
        ];
        for (error, kind, way_out) in cases {
            let text = format!("{error:?}");
            let made = lake_error("work", error);
            assert_eq!(made.kind(), kind, "{text}");
            assert!(made.way_out().unwrap_or_default().contains(way_out), "{text}: {:?}", made.way_out());
        }
    }

    #[test]
    fn what_is_wrong_with_a_certificate_is_said_in_true_words() {
        for (text, wanted) in [
            ("invalid peer certificate: UnknownIssuer", "authority"),
            ("invalid peer certificate: Expired", "expired"),
            ("invalid peer certificate: certificate not valid for name \"x\": NotValidForName", "another name"),
            ("received corrupt message of type InvalidContentType", "no TLS"),
        ] {
            let made = lake_error("ask", unexpected(text.to_owned()));
            assert_eq!(made.kind(), Permanent, "{text}");
            assert!(made.to_string().contains(wanted), "{made}");
        }
    }
}
