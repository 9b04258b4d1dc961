//! What a retry can cure, decided in one place.

use crate::seam::{LakeError, LakeErrorKind};
use iceberg::ErrorKind;
use std::{error::Error, io};

/// The first I/O error in a chain of causes.
fn io_kind(error: &(dyn Error + 'static)) -> Option<io::ErrorKind> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref::<io::Error>() {
            return Some(found.kind());
        }
        cause = error.source();
    }
    None
}

/// What an object store says that no retry changes: it refuses us, or the bucket isn't there. (A missing bucket comes
/// as an object that isn't found, with S3's code in the text.)
fn is_refused_by_store(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        match error.downcast_ref::<object_store::Error>() {
            // S3 refuses a signature whose time is far off; a clock gets right again.
            Some(object_store::Error::PermissionDenied { source, .. })
                if source.to_string().contains("RequestTimeTooSkewed") =>
            {
                return false;
            }
            Some(
                object_store::Error::PermissionDenied { .. }
                | object_store::Error::Unauthenticated { .. }
                | object_store::Error::InvalidPath { .. },
            ) => return true,
            Some(object_store::Error::NotFound { source, .. }) => return source.to_string().contains("NoSuchBucket"),
            _ => cause = error.source(),
        }
    }
    false
}

/// Whether a server's certificate was signed by nobody whom we trust.
pub(crate) fn is_unknown_authority(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let text = error.to_string();
        if ["UnknownIssuer", "CaUsedAsEndEntity", "invalid peer certificate"].iter().any(|part| text.contains(part)) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// An iceberg error at the seam: `could not <doing>: …`.
pub(crate) fn lake_error(doing: impl std::fmt::Display, error: iceberg::Error) -> LakeError {
    if is_unknown_authority(&error) {
        let text = format!(
            "could not {doing}: {error}: found a certificate of an authority that isn't known, wanted one that \
             s3.ca_file (iceberg.ca_file for the catalog) or a well-known authority signed"
        );
        return LakeError::new(LakeErrorKind::Permanent, text).with_source(error);
    }
    let kind = match io_kind(&error) {
        _ if is_refused_by_store(&error) => LakeErrorKind::Permanent,
        Some(io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem) => LakeErrorKind::Permanent,
        Some(_) => LakeErrorKind::Transient,
        None => match error.kind() {
            ErrorKind::FeatureUnsupported | ErrorKind::TableNotFound | ErrorKind::NamespaceNotFound => {
                LakeErrorKind::Permanent
            }
            _ => LakeErrorKind::Transient,
        },
    };
    LakeError::new(kind, format!("could not {doing}: {error}")).with_source(error)
}

/// The same for errors whose cause no retry changes: wrong types, unreadable properties.
pub(crate) fn permanent(doing: impl std::fmt::Display, error: impl Error + Send + Sync + 'static) -> LakeError {
    LakeError::new(LakeErrorKind::Permanent, format!("could not {doing}: {error}")).with_source(error)
}
