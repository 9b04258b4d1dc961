//! The way from the configuration's keys to the adapters' settings; keys that don't fit together are told all at once.

use crate::IngestOptions;
use rva_lake::BackupStore;
use rva_service::{
    BusKind, CatalogKind, ConfigError, Loaded, MaintainConfig, Problems, TelemetryConfig,
    tables::{TableSettings, backups_of},
};
use std::{path::PathBuf, time::Duration};

#[cfg(feature = "pulsar")]
use rva_bus::pulsar::{PulsarConnection, PulsarSourceOptions, TopicName, TopicSetup};

/// The source of records.
#[derive(Debug, Clone)]
pub enum Bus {
    /// The folder of an embedded log.
    Log(PathBuf),
    /// A topic of a broker.
    #[cfg(feature = "pulsar")]
    Pulsar(Box<PulsarBus>),
}

/// A topic of a broker.
#[cfg(feature = "pulsar")]
#[derive(Debug, Clone)]
pub struct PulsarBus {
    /// The connection to the broker.
    pub connection: PulsarConnection,
    /// The settings that it is read with.
    pub source: PulsarSourceOptions,
    /// The settings that it is made with.
    pub setup: TopicSetup,
}

/// The settings of the whole service.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The source of records.
    pub bus: Bus,
    /// The tables that they go to.
    pub tables: TableSettings,
    /// The settings of the loop.
    pub ingest: IngestOptions,
    /// The time that a signal waits for the last commit.
    pub stop_timeout: Duration,
    /// The settings of the maintenance beside the loop.
    pub maintain: MaintainConfig,
    /// The place whose newest backup is looked for, and the age from which that one is too old.
    pub backups: Option<(BackupStore, Duration)>,
    /// Whether and where traces are sent to.
    pub telemetry: TelemetryConfig,
    /// The data folder, where log or tables are in it.
    pub data_dir: Option<PathBuf>,
}

impl Settings {
    /// Makes settings of a configuration.
    ///
    /// # Errors
    /// Returns all problems: keys that don't fit together.
    pub fn of(loaded: &Loaded) -> Result<Self, ConfigError> {
        let config = &loaded.config;
        let mut problems = Problems::of(loaded);
        let log = || Bus::Log(config.data_folder().log());
        // Where the broker's keys are none, that is among the problems.
        let bus = match config.bus.kind {
            BusKind::Log => log(),
            BusKind::Pulsar => pulsar(&mut problems).unwrap_or_else(log),
        };
        let is_local = config.bus.kind == BusKind::Log || config.catalog.kind == CatalogKind::Embedded;
        let made = Self {
            bus,
            tables: TableSettings::checked(&mut problems),
            ingest: IngestOptions::of(&config.ingest),
            stop_timeout: config.ingest.stop_timeout,
            maintain: config.maintain.clone(),
            telemetry: config.telemetry.clone(),
            backups: backups_of(&mut problems).map(|store| (store, config.backup.age_max)),
            data_dir: is_local.then(|| config.data_dir.clone()),
        };
        problems.none_or(made)
    }
}

/// Reads the keys of the broker; `None` where one of them is a problem.
#[cfg(not(feature = "pulsar"))]
fn pulsar(problems: &mut Problems<'_>) -> Option<Bus> {
    problems.add(
        "bus.kind",
        "found pulsar, wanted log: this program was built without Pulsar (cargo build --features pulsar)",
    );
    None
}

/// Reads the keys of the broker; `None` where one of them is a problem.
#[cfg(feature = "pulsar")]
fn pulsar(problems: &mut Problems<'_>) -> Option<Bus> {
    let loaded = problems.loaded;
    let config = &loaded.config.pulsar;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.=:".contains(c);
    if !config.subscription.chars().all(is_plain) {
        let text = format!("found {:?}, wanted letters, digits and -_.=:", config.subscription);
        problems.add("pulsar.subscription", text);
    }
    let topic: TopicName = match config.topic.parse() {
        Ok(topic) => topic,
        Err(error) => {
            problems.add("pulsar.topic", error.to_string());
            return None;
        }
    };
    let connection = PulsarConnection {
        token: config.token.as_ref().map(|token| token.expose().to_owned()),
        ca_file: config.ca_file.clone(),
        ..PulsarConnection::new(&config.service_url, &config.admin_url)
    };
    let setup = TopicSetup { partitions: config.partitions, ..TopicSetup::new(topic.clone(), &config.subscription) };
    let IngestOptions { queue_bytes_max, entry_bytes_max, .. } = IngestOptions::of(&loaded.config.ingest);
    let source = PulsarSourceOptions {
        queue_bytes_max,
        entry_bytes_max,
        ..PulsarSourceOptions::new(topic, &config.subscription)
    };
    Some(Bus::Pulsar(Box::new(PulsarBus { connection, source, setup })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rva_lake::RestAuth;
    use rva_service::{Layers, load, tables::Tables};

    fn of(environment: &[(&str, &str)]) -> Result<Settings, ConfigError> {
        let environment = environment.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        Settings::of(&load(&Layers { environment, ..Layers::default() }).unwrap())
    }

    #[test]
    fn without_configuration_everything_is_in_the_data_folder() {
        let settings = of(&[]).unwrap();
        assert!(matches!(settings.bus, Bus::Log(folder) if *folder == *"rva-data/log"));
        assert!(matches!(settings.tables.tables, Tables::Embedded(folder) if *folder == *"rva-data"));
        assert_eq!(settings.data_dir, Some("rva-data".into()));
    }

    #[test]
    fn what_does_not_fit_together_is_told_at_once_with_origins_and_without_secrets() {
        let error = of(&[
            ("RVA_CATALOG_KIND", "rest"),
            ("ICEBERG_TOKEN", "hush"),
            ("ICEBERG_CREDENTIAL", "hush-too"),
            ("MINIO_ROOT_USER", "hush-hush"),
        ])
        .unwrap_err()
        .to_string();
        for part in [
            "3 problems",
            "iceberg.token: found a token and iceberg.credential",
            "(environment ICEBERG_TOKEN)",
            "iceberg.credential: found no colon in it, wanted id:secret",
            "s3.access_key: found it without s3.secret_key, wanted both or none (environment MINIO_ROOT_USER)",
        ] {
            assert!(error.contains(part), "{part}: {error}");
        }
        assert!(!error.contains("hush"), "{error}");
    }

    #[test]
    fn a_catalog_may_send_us_where_it_is_allowed_and_tables_are_read_whatever_the_bus_is() {
        let rest = ("RVA_CATALOG_KIND", "rest");
        let bad = of(&[rest, ("RVA_ICEBERG_LOCATIONS", "s3://lake, gs://other")]).unwrap_err().to_string();
        assert!(bad.contains("iceberg.locations: ") && bad.contains("gs://other"), "{bad}");
        of(&[rest, ("RVA_ICEBERG_LOCATIONS", "s3://lake/rva, file:///srv/w")]).unwrap();
        let environment = [rest, ("RVA_BUS_KIND", "pulsar"), ("PULSAR_TOPIC", "no topic")];
        let environment = environment.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        let loaded = load(&Layers { environment, ..Layers::default() }).unwrap();
        assert!(matches!(TableSettings::of(&loaded).unwrap().tables, Tables::Rest(_)));
    }

    #[test]
    fn secrets_are_in_no_debug_text() {
        let settings = of(&[
            ("RVA_CATALOG_KIND", "rest"),
            ("ICEBERG_CREDENTIAL", "me:hush"),
            ("S3_ACCESS_KEY", "me"),
            ("S3_SECRET_KEY", "hush"),
        ])
        .unwrap();
        let Tables::Rest(rest) = &settings.tables.tables else { panic!("wanted a REST catalog") };
        assert!(matches!(&rest.auth, RestAuth::ClientCredentials { credential, .. } if credential == "me:hush"));
        assert!(!format!("{settings:?}").contains("hush"), "{settings:?}");
    }

    #[cfg(not(feature = "pulsar"))]
    #[test]
    fn a_program_without_pulsar_says_how_to_get_one_with_it() {
        let error = of(&[("RVA_BUS_KIND", "pulsar")]).unwrap_err().to_string();
        assert!(error.contains("--features pulsar") && error.contains("environment RVA_BUS_KIND"), "{error}");
    }

    #[cfg(feature = "pulsar")]
    #[test]
    fn names_that_the_broker_would_not_take_are_problems() {
        let pulsar = ("RVA_BUS_KIND", "pulsar");
        let error = of(&[pulsar, ("PULSAR_TOPIC", "events"), ("RVA_PULSAR_SUBSCRIPTION", "a b")]).unwrap_err();
        assert_eq!(error.problems.len(), 2, "{error}");
        assert!(error.to_string().contains("wanted persistent://TENANT/NAMESPACE/TOPIC"), "{error}");
        let settings = of(&[pulsar, ("PULSAR_TOKEN", "hush"), ("RVA_CATALOG_KIND", "rest")]).unwrap();
        assert!(!format!("{settings:?}").contains("hush"), "{settings:?}");
        assert_eq!(settings.data_dir, None, "nothing of it is in the data folder");
    }
}
