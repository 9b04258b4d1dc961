//! The places where a table's own files may be. Nothing outside is ever written or deleted, whatever the catalog says.

use crate::seam::{LakeError, LakeErrorKind};
use crate::storage::{AllowedLocations, is_inside, normal, plain};
use iceberg::TableIdent;
use iceberg::spec::TableMetadata;

/// Names the property with the folder of data files, if that isn't under the table's location.
pub(crate) const DATA_PATH: &str = "write.data.path";
/// Names the property with the folder of metadata files, if that isn't under the table's location.
pub(crate) const METADATA_PATH: &str = "write.metadata.path";

/// Names the property with the number of the format in which our tables are kept; a table without it has the first. Who
/// changes what an older program would misread (columns, offsets in summaries, what a file's place says) raises it.
pub(crate) const FORMAT: &str = "rva.format";
/// The newest format that this program reads and writes.
pub(crate) const FORMAT_MAX: u32 = 1;

/// The folders of a table: its location, and those that its properties name where that is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TablePlaces {
    roots: Vec<String>,
}

impl TablePlaces {
    pub(crate) fn of(metadata: &TableMetadata, allowed: &AllowedLocations) -> Self {
        let location = metadata.location();
        let named = [DATA_PATH, METADATA_PATH].into_iter().filter_map(|key| metadata.properties().get(key));
        let named = named.filter(|path| is_allowed(path, location, allowed));
        let roots = std::iter::once(location).chain(named.map(String::as_str));
        // A location without a path would make a whole bucket or disk the table's own.
        Self { roots: roots.filter_map(normal).filter(|root| has_path(root)).collect() }
    }

    /// Returns whether a location is in one of the table's folders.
    pub(crate) fn hold(&self, location: &str) -> bool {
        let location = normal(location);
        location.is_some_and(|location| self.roots.iter().any(|root| is_inside(&location, root) && location != *root))
    }

    /// Returns whether a location is in one of the table's folders, or is such a folder.
    pub(crate) fn touch(&self, location: &str) -> bool {
        normal(location).is_some_and(|location| self.roots.iter().any(|root| is_inside(&location, root)))
    }

    /// Returns whether a folder, in its one spelling, is in one of the table's folders, or one of them in it.
    pub(crate) fn meet(&self, folder: &str) -> bool {
        self.roots.iter().any(|root| is_inside(folder, root) || is_inside(root, folder))
    }
}

/// Returns whether a property may name a folder: one in the table's location, or in a place that the configuration
/// names, or anywhere where the catalog is a file of the same owner.
fn is_allowed(path: &str, location: &str, allowed: &AllowedLocations) -> bool {
    normal(path).is_some_and(|plain_path| {
        is_inside(&plain_path, &plain(location)) || allowed.is_everything() || allowed.names(path)
    })
}

/// Returns whether more than a scheme and a bucket, or the root, is named.
fn has_path(plain: &str) -> bool {
    let path = plain.split_once("://").map_or(plain, |(_, rest)| rest.split_once('/').map_or("", |(_, path)| path));
    let path = path.strip_prefix("memory:").unwrap_or(path);
    !path.trim_matches('/').is_empty()
}

/// Refuses a table that a later version made, or one that sends us where we must not write.
///
/// # Errors
/// Returns `Permanent`, with the way out.
pub(crate) fn check_table(
    ident: &TableIdent,
    metadata: &TableMetadata,
    allowed: &AllowedLocations,
) -> Result<(), LakeError> {
    let location = metadata.location();
    let refused = |found: &str, wanted: &str| {
        let text = format!("table {ident}: found {found}, wanted {wanted}");
        Err(LakeError::new(LakeErrorKind::Permanent, text))
    };
    if let Some(found) = metadata.properties().get(FORMAT)
        && !found.parse().is_ok_and(|format: u32| (1..=FORMAT_MAX).contains(&format))
    {
        let wanted = format!(
            "1 to {FORMAT_MAX}: a later version of rva wrote this table, go on with that version, or restore a backup \
             of before the upgrade (rva restore): nothing was read or written"
        );
        return refused(&format!("{FORMAT} = {found}"), &wanted);
    }
    if allowed.check(location).is_err() {
        let wanted =
            format!("one in {allowed} (iceberg.locations, RVA_ICEBERG_LOCATIONS): nothing was read or written");
        return refused(&format!("location {location}"), &wanted);
    }
    if !has_path(&plain(location)) {
        return refused(&format!("location {location}"), "a folder of its own: nothing was read or written");
    }
    match metadata.properties().get(DATA_PATH) {
        Some(path) if !is_allowed(path, location, allowed) => refused(
            &format!("{DATA_PATH} = {path}"),
            &format!(
                "a folder in its location {location}, or in one that iceberg.locations (RVA_ICEBERG_LOCATIONS) names: \
                 nothing was written"
            ),
        ),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use iceberg::TableCreation;
    use iceberg::spec::{Schema, TableMetadataBuilder};

    fn table(location: &str, properties: &[(&str, &str)]) -> TableMetadata {
        let creation = TableCreation::builder()
            .name("t".to_owned())
            .location(location.to_owned())
            .schema(Schema::builder().build().unwrap())
            .properties(properties.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())))
            .build();
        TableMetadataBuilder::from_table_creation(creation).unwrap().build().unwrap().metadata
    }

    fn verdict(location: &str, properties: &[(&str, &str)], allowed: &AllowedLocations) -> Result<(), String> {
        let ident = TableIdent::from_strs(["rva", "t"]).unwrap();
        check_table(&ident, &table(location, properties), allowed).map_err(|error| error.to_string())
    }

    #[test]
    fn a_catalog_over_the_network_sends_us_nowhere_but_into_the_table() {
        let buckets = AllowedLocations::object_stores();
        assert_eq!(verdict("s3://lake/rva/t", &[], &buckets), Ok(()));
        assert_eq!(verdict("s3://lake/rva/t", &[(DATA_PATH, "s3a://lake/rva/t/elsewhere")], &buckets), Ok(()));
        for (location, path) in [
            ("file:///home/me", None),
            ("/home/me", None),
            ("s3://lake", None),
            ("s3://lake/", None),
            ("s3://lake/rva/t", Some("file:///home/me")),
            ("s3://lake/rva/t", Some("/home/me")),
            ("s3://lake/rva/t", Some("s3://lake/rva/t2")),
            ("s3://lake/rva/t", Some("s3://other/rva/t")),
            ("s3://lake/rva/t", Some("s3://lake/rva/t/../other")),
        ] {
            let properties: Vec<_> = path.into_iter().map(|path| (DATA_PATH, path)).collect();
            let text = verdict(location, &properties, &buckets).unwrap_err();
            assert!(text.contains("rva.t") && text.contains(path.unwrap_or(location).trim_end_matches('/')), "{text}");
        }
    }

    #[test]
    fn a_table_of_a_later_format_is_refused_with_the_way_out() {
        let anywhere = AllowedLocations::object_stores();
        assert_eq!(verdict("s3://lake/rva/t", &[(FORMAT, "1")], &anywhere), Ok(()));
        for found in ["2", "0", "", "one"] {
            let text = verdict("s3://lake/rva/t", &[(FORMAT, found)], &anywhere).unwrap_err();
            assert!(text.contains(&format!("table rva.t: found rva.format = {found}, wanted 1 to 1")), "{text}");
            assert!(text.contains("go on with that version, or restore a backup"), "{text}");
        }
    }

    #[test]
    fn a_place_that_is_named_may_hold_the_data() {
        let named = AllowedLocations::only(["s3://lake", "s3://archive/rva"]).unwrap();
        let data = [(DATA_PATH, "s3://archive/rva/t"), (METADATA_PATH, "s3://other/t")];
        assert_eq!(verdict("s3://lake/rva/t", &data, &named), Ok(()));
        let places = TablePlaces::of(&table("s3://lake/rva/t", &data), &named);
        assert!(places.hold("s3://archive/rva/t/x.parquet") && places.hold("s3a://lake/rva/t/metadata/x.avro"));
        assert!(!places.hold("s3://other/t/x.metadata.json") && !places.hold("s3://lake/rva/t"));
        assert!(places.touch("s3://lake/rva/t") && !places.touch("s3://lake/rva/t2"));
        assert!(places.meet("s3://lake/rva/t/metadata") && places.meet("s3://lake/rva") && places.meet("s3://archive"));
        assert!(!places.meet("s3://lake/rva/t2") && !places.meet("s3://other"));
    }

    #[test]
    fn in_a_catalog_of_ones_own_the_properties_are_ones_own_too() {
        let all = AllowedLocations::default();
        let data = [(DATA_PATH, "/mnt/big/data"), (METADATA_PATH, "file:///mnt/big/metadata")];
        assert_eq!(verdict("/srv/w/t", &data, &all), Ok(()));
        let places = TablePlaces::of(&table("file:///srv/w/t", &data), &all);
        assert!(places.hold("/mnt/big/data/x") && places.hold("/mnt/big/metadata/x") && !places.hold("/mnt/big/x"));
    }
}
