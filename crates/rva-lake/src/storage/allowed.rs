//! The locations that may be touched at all.
//!
//! A REST catalog says where its tables are, so whoever holds the catalog could point at anything that this process may
//! write. Its word is therefore followed only into the places that are named here.

use super::{Place, place, plain, refused};
use iceberg::Result;
use std::sync::Arc;

/// The places that files may be read from and written to. The default is every place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllowedLocations(Option<Arc<[Allowed]>>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Allowed {
    /// Every bucket of an object store.
    EveryBucket,
    /// A folder and everything in it, in the spelling of [`plain`].
    Folder(String),
}

impl AllowedLocations {
    /// Allows object stores only, which a catalog over the network may name by default.
    pub fn object_stores() -> Self {
        Self(Some(Arc::from([Allowed::EveryBucket])))
    }

    /// Allows only these: `s3://`, `s3://BUCKET`, `s3://BUCKET/PATH` or `file:///PATH`.
    ///
    /// # Errors
    /// Returns an error for the first text that is none of these.
    pub fn only<T: AsRef<str>>(prefixes: impl IntoIterator<Item = T>) -> Result<Self> {
        let wanted = "s3://, s3://BUCKET, s3://BUCKET/PATH or file:///PATH";
        let allowed = prefixes.into_iter().map(|prefix| {
            let prefix = prefix.as_ref();
            if ["s3://", "s3a://", "s3n://"].contains(&prefix) {
                return Ok(Allowed::EveryBucket);
            }
            match place(prefix.trim_end_matches('/')) {
                Ok(Place::Memory(_)) | Err(_) => Err(refused(prefix, wanted)),
                Ok(Place::Local(_) | Place::S3 { .. }) => Ok(Allowed::Folder(plain(prefix))),
            }
        });
        Ok(Self(Some(allowed.collect::<Result<_>>()?)))
    }

    /// Returns whether every place is allowed: the catalog is a file of the same owner.
    pub(crate) fn is_everything(&self) -> bool {
        self.0.is_none()
    }

    /// Returns whether somebody named a folder that holds this location.
    pub(crate) fn names(&self, location: &str) -> bool {
        self.0.iter().flat_map(|all| all.iter()).any(|allowed| match allowed {
            Allowed::EveryBucket => false,
            Allowed::Folder(folder) => is_inside(&plain(location), folder),
        })
    }

    /// Refuses a location that is in none of the places.
    ///
    /// # Errors
    /// Returns `DataInvalid`, with the way out.
    pub(crate) fn check(&self, location: &str) -> Result<()> {
        let is_bucket = || matches!(place(location), Ok(Place::S3 { .. }));
        let allowed = match &self.0 {
            None => true,
            Some(all) => self.names(location) || (all.contains(&Allowed::EveryBucket) && is_bucket()),
        };
        if allowed {
            return Ok(());
        }
        Err(refused(location, &format!("one in {self} (iceberg.locations, RVA_ICEBERG_LOCATIONS)")))
    }
}

/// Writes the places: `s3://, file:///srv/warehouse`.
impl std::fmt::Display for AllowedLocations {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Some(all) = &self.0 else { return f.write_str("any place") };
        for (at, allowed) in all.iter().enumerate() {
            let separator = if at == 0 { "" } else { ", " };
            match allowed {
                Allowed::EveryBucket => write!(f, "{separator}s3://")?,
                Allowed::Folder(folder) if folder.starts_with('/') => write!(f, "{separator}file://{folder}")?,
                Allowed::Folder(folder) => write!(f, "{separator}{folder}")?,
            }
        }
        Ok(())
    }
}

/// Returns whether a plain location is a folder or something in it, by whole parts of the path.
pub(crate) fn is_inside(location: &str, folder: &str) -> bool {
    let folder = folder.trim_end_matches('/');
    location.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_inside_a_folder_by_whole_parts() {
        for (location, folder, wanted) in [
            ("/a/b", "/a/b", true),
            ("/a/b/c", "/a/b/", true),
            ("/a/bc", "/a/b", false),
            ("/a", "/a/b", false),
            ("s3://w/t", "s3://w", true),
            ("s3://wx/t", "s3://w", false),
        ] {
            assert_eq!(is_inside(location, folder), wanted, "{location} in {folder}");
        }
    }

    #[test]
    fn only_what_is_named_is_allowed() {
        let all = AllowedLocations::default();
        assert!(all.check("/etc/passwd").is_ok() && all.is_everything());
        let buckets = AllowedLocations::object_stores();
        assert!(buckets.check("s3a://any/x").is_ok());
        for bad in ["file:///etc/passwd", "/etc/passwd", "memory:/x", "gs://b/x", "s3://b/../c", "s3:///x"] {
            assert!(buckets.check(bad).is_err(), "{bad}");
        }
        assert!(!buckets.names("s3://any/x"), "nobody named that bucket");
        let named = AllowedLocations::only(["s3://lake/rva/", "file:///srv/w"]).unwrap();
        assert!(named.check("s3n://lake/rva/x").is_ok() && named.check("file:/srv/w/x").is_ok());
        for bad in ["s3://lake/rvax", "s3://lake", "/srv/wx", "/srv"] {
            let text = named.check(bad).unwrap_err().to_string();
            assert!(text.contains(bad) && text.contains("s3://lake/rva, file:///srv/w"), "{text}");
        }
        assert!(AllowedLocations::only(["gs://b"]).is_err() && AllowedLocations::only(["relative"]).is_err());
    }
}
