//! The tables that the configuration names: the way from its keys to an open lake. Keys that don't fit together are told
//! all at once.

use crate::{
    CatalogKind, Config, ConfigError, IcebergConfig, Loaded, MaintainConfig, Problems, S3Config, Secret, memory_limit,
};
use async_recursion::async_recursion as boxed;
use rva_lake::{
    BackupStore, Lake, LakeError, LakeOptions, MergeLimits, RestAuth, RestOptions,
    storage::{AllowedLocations, LakeStorage, LakeStorageFactory, S3Keys, S3Options},
};
use std::path::PathBuf;

/// The part of the ingest's memory that holds which events the table has.
const KEYS_SHARE: u64 = 16;

/// The place of the tables.
#[derive(Debug, Clone)]
pub enum Tables {
    /// A folder with `catalog.db` and `warehouse/`.
    Embedded(PathBuf),
    /// A REST catalog.
    Rest(RestOptions),
}

/// Writes where they are, for whoever reads a log or a terminal.
impl std::fmt::Display for Tables {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Embedded(folder) => write!(f, "the tables in {}", folder.display()),
            Self::Rest(rest) => {
                write!(f, "the tables of {} at {}", rest.warehouse.as_deref().unwrap_or_default(), rest.uri)
            }
        }
    }
}

/// The settings that tables are opened with.
#[derive(Debug, Clone)]
pub struct TableSettings {
    /// The place of the tables.
    pub tables: Tables,
    /// The settings that the tables' files are reached and kept by.
    pub lake: LakeOptions,
}

impl TableSettings {
    /// Makes settings of a configuration. The source of records is not looked at.
    ///
    /// # Errors
    /// Returns all problems: keys that don't fit together.
    pub fn of(loaded: &Loaded) -> Result<Self, ConfigError> {
        let mut problems = Problems::of(loaded);
        let made = Self::checked(&mut problems);
        problems.none_or(made)
    }

    /// Makes settings of a configuration, and adds the keys that don't fit together to those of others: the settings
    /// mean nothing then.
    pub fn checked(problems: &mut Problems<'_>) -> Self {
        let mut check = Check(problems);
        Self { tables: check.tables(), lake: check.lake() }
    }

    /// Returns the folder of rows that are sorted: beside the tables where they are on this machine, else where queries
    /// spill; `None` for the system's temporary folder.
    pub fn spill_dir(&self, config: &Config) -> Option<PathBuf> {
        match &self.tables {
            Tables::Embedded(folder) => Some(folder.clone()),
            Tables::Rest(_) => config.query.spill_dir.clone(),
        }
    }

    /// Opens the tables to write; bronze is made where it is missing.
    ///
    /// # Errors
    /// Returns the errors of catalog and store.
    #[boxed]
    pub async fn open(&self) -> Result<Lake, LakeError> {
        install_tls();
        let options = self.lake.clone();
        match &self.tables {
            Tables::Embedded(dir) => Lake::open_embedded(dir, options).await,
            Tables::Rest(rest) => Lake::open_rest(rest, options).await,
        }
    }

    /// Opens the tables to read, which must be there.
    ///
    /// # Errors
    /// Returns an error where there are none, or they can't be reached.
    #[boxed]
    pub async fn open_to_read(&self) -> Result<Lake, LakeError> {
        install_tls();
        let options = self.lake.clone();
        match &self.tables {
            Tables::Embedded(dir) => Lake::open_embedded_read_only(dir, options).await,
            Tables::Rest(rest) => Lake::open_rest_read_only(rest, options).await,
        }
    }
}

/// Returns the storage of a place beside the tables, as backups are: a path, or `s3://` with the keys of the
/// configuration. It reaches nothing else.
///
/// # Errors
/// Returns all problems: keys that don't fit together, or a place that is of neither kind.
pub fn storage_of(loaded: &Loaded, place: &str) -> Result<LakeStorage, ConfigError> {
    if !place.contains("://") || place.starts_with("file://") {
        return Ok(LakeStorage::default());
    }
    let mut problems = Problems::of(loaded);
    let mut check = Check(&mut problems);
    let s3 = check.s3(&loaded.config.s3);
    let allowed = check.locations(Some(std::slice::from_ref(&place.to_owned())));
    let storage = LakeStorageFactory::with_s3(s3).allowing(allowed).storage();
    problems.none_or(storage)
}

/// Returns the place of backups that the configuration names, `backup.to`; `None` where it names none, or the place is
/// among the problems. Nothing is looked at.
pub fn backups_of(problems: &mut Problems<'_>) -> Option<BackupStore> {
    let loaded = problems.loaded;
    let place = loaded.config.backup.to.as_deref()?;
    let storage = storage_of(loaded, place).map_err(|error| error.to_string());
    match storage.and_then(|storage| BackupStore::at(storage, place).map_err(|error| error.to_string())) {
        Ok(store) => Some(store),
        Err(error) => {
            problems.add("backup.to", error);
            None
        }
    }
}

/// Returns the options of tables that a configuration leads to.
fn lake_options(config: &Config) -> LakeOptions {
    let mut options = LakeOptions::default();
    options.job = config.ingest.job.clone();
    // The part of the ingest's memory that its index of known keys has at most.
    let share = config.ingest.memory_max.or_else(memory_limit).map_or(u64::MAX, |memory| memory / KEYS_SHARE);
    options.key_bytes_max = usize::try_from(config.ingest.key_bytes_max.min(share)).unwrap_or(usize::MAX);
    options.partition_by_day = config.ingest.partition_by_day;
    options.housekeeping.orphan_age = config.ingest.orphan_age;
    options.housekeeping.snapshots_kept = config.maintain.snapshots_max;
    options.housekeeping.gold_snapshots_kept = config.maintain.gold_snapshots_max;
    options.housekeeping.snapshots_age = config.maintain.snapshots_age;
    options
}

/// Returns the limits of merges that a configuration leads to. Rows that are sorted are spilled into `folder`.
pub fn merge_limits(config: &MaintainConfig, folder: Option<PathBuf>) -> MergeLimits {
    MergeLimits {
        file_bytes: config.file_size,
        files_min: config.files_min,
        age_min: config.age_min,
        memory: usize::try_from(config.memory_max).unwrap_or(usize::MAX),
        spill_dir: folder,
        retention: config.retention.clone(),
    }
}

/// Chooses the provider of TLS: two in one program would make the first connection panic. It fails where one is
/// installed already.
pub fn install_tls() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// Reads the keys of the tables.
struct Check<'a, 'b>(&'a mut Problems<'b>);

impl Check<'_, '_> {
    fn lake(&mut self) -> LakeOptions {
        let config = &self.0.loaded.config;
        let mut lake = lake_options(config);
        if config.catalog.kind == CatalogKind::Rest {
            let allowed = self.locations(config.iceberg.locations.as_deref());
            lake = lake.with_s3_in(self.s3(&config.s3), allowed);
        }
        lake
    }

    /// Returns the locations that the catalog may send us to.
    fn locations(&mut self, prefixes: Option<&[String]>) -> AllowedLocations {
        let Some(prefixes) = prefixes.filter(|prefixes| !prefixes.is_empty()) else {
            return AllowedLocations::object_stores();
        };
        AllowedLocations::only(prefixes).unwrap_or_else(|error| {
            self.0.add("iceberg.locations", error.to_string());
            AllowedLocations::object_stores()
        })
    }

    fn tables(&mut self) -> Tables {
        let config = &self.0.loaded.config;
        match config.catalog.kind {
            CatalogKind::Embedded => Tables::Embedded(config.data_dir.clone()),
            CatalogKind::Rest => Tables::Rest(self.rest(&config.iceberg)),
        }
    }

    fn rest(&mut self, config: &IcebergConfig) -> RestOptions {
        if config.token.is_some() && config.credential.is_some() {
            self.0.add("iceberg.token", "found a token and iceberg.credential, wanted one of them");
        }
        if config.credential.as_ref().is_some_and(|credential| !credential.expose().contains(':')) {
            self.0.add("iceberg.credential", "found no colon in it, wanted id:secret");
        }
        let text = |secret: &Secret| secret.expose().to_owned();
        let auth = match (&config.token, &config.credential) {
            (Some(token), _) => RestAuth::Token(text(token)),
            (None, Some(credential)) => RestAuth::ClientCredentials {
                credential: text(credential),
                oauth2_uri: config.oauth2_uri.clone(),
                scope: config.scope.clone(),
            },
            (None, None) => RestAuth::None,
        };
        RestOptions {
            warehouse: Some(config.warehouse.clone()),
            auth,
            // Where there are keys of one's own, the catalog needn't make any.
            vended_credentials: self.0.loaded.config.s3.access_key.is_none(),
            ca_certificates: config.ca_file.clone(),
            connect_timeout: config.connect_timeout,
            request_timeout: config.timeout,
            ..RestOptions::new(&config.catalog_uri)
        }
    }

    fn s3(&mut self, config: &S3Config) -> S3Options {
        let keys = match (&config.access_key, &config.secret_key) {
            (Some(access), Some(secret)) => Some(S3Keys {
                access_key: access.expose().to_owned(),
                secret_key: secret.expose().to_owned(),
                session_token: None,
            }),
            (None, None) => None,
            (found, _) => {
                let (there, missing) = match found {
                    Some(_) => ("s3.access_key", "s3.secret_key"),
                    None => ("s3.secret_key", "s3.access_key"),
                };
                self.0.add(there, format!("found it without {missing}, wanted both or none"));
                None
            }
        };
        let ca_certificates = config.ca_file.as_ref().and_then(|path| match std::fs::read(path) {
            Ok(pem) => Some(pem),
            Err(error) => {
                self.0.add("s3.ca_file", format!("could not read {}: {error}", path.display()));
                None
            }
        });
        S3Options {
            endpoint: Some(config.endpoint.clone()),
            region: Some(config.region.clone()),
            path_style: Some(config.path_style),
            keys,
            ca_certificates,
            connect_timeout: config.connect_timeout,
            request_timeout: config.timeout,
            retries_max: config.retries as usize,
            retry_timeout: config.retry_timeout,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Layers, load};

    fn loaded(environment: &[(&str, &str)]) -> Loaded {
        let environment = environment.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        load(&Layers { environment, ..Layers::default() }).unwrap()
    }

    #[test]
    fn tables_are_in_the_data_folder_unless_a_catalog_is_named() {
        let settings = TableSettings::of(&loaded(&[])).unwrap();
        assert_eq!(settings.tables.to_string(), "the tables in rva-data");
        let rest = [("RVA_CATALOG_KIND", "rest"), ("ICEBERG_CATALOG_URI", "http://c:1"), ("ICEBERG_WAREHOUSE", "lake")];
        let settings = TableSettings::of(&loaded(&rest)).unwrap();
        assert_eq!(settings.tables.to_string(), "the tables of lake at http://c:1");
    }

    #[test]
    fn the_index_of_keys_has_its_share_of_the_memory_and_no_more_than_is_wanted() {
        let of = |environment: &[(&str, &str)]| lake_options(&loaded(environment).config).key_bytes_max;
        assert_eq!(of(&[("RVA_INGEST_MEMORY_MAX", "512MiB")]), 32 << 20);
        assert_eq!(of(&[("RVA_INGEST_MEMORY_MAX", "64MiB")]), 4 << 20);
        assert_eq!(of(&[("RVA_INGEST_MEMORY_MAX", "4GiB"), ("RVA_INGEST_KEY_BYTES_MAX", "100MiB")]), 100 << 20);
    }

    #[test]
    fn all_that_does_not_fit_together_is_told_at_once_and_without_secrets() {
        let wrong = [
            ("RVA_CATALOG_KIND", "rest"),
            ("ICEBERG_TOKEN", "hush"),
            ("ICEBERG_CREDENTIAL", "hush-too"),
            ("S3_SECRET_KEY", "hush-hush"),
            ("RVA_ICEBERG_LOCATIONS", "gs://other"),
        ];
        let error = TableSettings::of(&loaded(&wrong)).unwrap_err();
        let paths: Vec<&str> = error.problems.iter().map(|problem| problem.path.as_str()).collect();
        let wanted = ["iceberg.token", "iceberg.credential", "iceberg.locations", "s3.secret_key"];
        assert_eq!(paths, wanted, "{error}");
        assert!(!error.to_string().contains("hush"), "{error}");
    }
}
