//! The merged configuration as types.

use crate::{
    AlertConfig, DaySpan, LogFormat, Secret, SourceText, ZoneConfig, alerts, parse_bytes, parse_duration, zones,
};
use chrono_tz::Tz;
use rva_types::{CaptureChoice, DataFolder, Device, HwAcceleration, JobName, RtspTransport, Timestamp};
use serde::{Deserialize, Deserializer, de::Error};
use std::{collections::BTreeMap, fmt::Display, net::SocketAddr, path::PathBuf, str::FromStr, time::Duration};

/// The whole configuration, after default, file, environment and flags. [`crate::KEYS`] says what each field means.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// `store_id`
    pub store_id: String,
    /// `camera_id`
    pub camera_id: Option<String>,
    /// `stream_id`
    pub stream_id: String,
    /// `source`
    pub source: Option<SourceText>,
    /// `start_time`, RFC 3339
    #[serde(default, deserialize_with = "optional_time")]
    pub start_time: Option<Timestamp>,
    /// `data_dir`
    pub data_dir: PathBuf,
    /// `detector.*`
    pub detector: DetectorConfig,
    /// `capture.*`
    pub capture: CaptureConfig,
    /// `log.*`
    pub log: LogConfig,
    /// `ingest.*`
    pub ingest: IngestConfig,
    /// `refine.*`
    pub refine: RefineConfig,
    /// `maintain.*`
    pub maintain: MaintainConfig,
    /// `backup.*`
    pub backup: BackupConfig,
    /// `query.*`
    pub query: QueryConfig,
    /// `bus.*`
    pub bus: BusConfig,
    /// `catalog.*`
    pub catalog: CatalogConfig,
    /// `health.*`
    pub health: HealthConfig,
    /// `telemetry.*`
    pub telemetry: TelemetryConfig,
    /// `pulsar.*`
    pub pulsar: PulsarConfig,
    /// `s3.*`
    pub s3: S3Config,
    /// `iceberg.*`
    pub iceberg: IcebergConfig,
    /// `zones`, of cameras by a pattern of their ids.
    #[serde(deserialize_with = "zones::deserialize")]
    pub zones: Vec<ZoneConfig>,
    /// `alerts`, for people in the shop.
    #[serde(deserialize_with = "alerts::deserialize")]
    pub alerts: Vec<AlertConfig>,
    /// `notify.*`
    pub notify: NotifyConfig,
    /// `cameras.*`, by camera id.
    pub cameras: BTreeMap<String, CameraConfig>,
}

impl Config {
    /// Returns the paths of the data folder.
    pub fn data_folder(&self) -> DataFolder {
        DataFolder::at(&self.data_dir)
    }
}

/// The settings that people are found and followed by.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DetectorConfig {
    /// `detector.model`
    pub model: Option<String>,
    /// `detector.conf`, in [0, 1]
    pub conf: f64,
    /// `detector.iou`, in [0, 1]
    pub iou: f64,
    /// `detector.classes`, ids and names
    pub classes: Option<Vec<String>>,
    /// `detector.imgsz`: `640`, or `480,640` for height and width
    pub imgsz: Option<String>,
    /// `detector.max_det`
    pub max_det: u32,
    /// `detector.agnostic_nms`
    pub agnostic_nms: bool,
    /// `detector.half`
    pub half: bool,
    /// `detector.device`
    #[serde(deserialize_with = "parsed")]
    pub device: Device,
    /// `detector.tracker`
    pub tracker: String,
    /// `detector.reid_model`
    pub reid_model: Option<String>,
    /// `detector.vid_stride`, frames
    pub vid_stride: u32,
    /// `detector.threads`
    pub threads: Option<u32>,
    /// `detector.parallel`, inferences
    pub parallel: Option<u32>,
    /// `detector.max_batch`, pictures
    pub max_batch: u32,
    /// `detector.max_wait_ms`
    pub max_wait_ms: u32,
    /// `detector.onnxruntime`
    pub onnxruntime: Option<PathBuf>,
    /// `detector.publish`
    pub publish: BusKind,
    /// `detector.stats_interval`
    #[serde(deserialize_with = "optional_duration")]
    pub stats_interval: Option<Duration>,
}

/// The settings that sources are opened and read by.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaptureConfig {
    /// `capture.policy`
    #[serde(deserialize_with = "parsed")]
    pub policy: CaptureChoice,
    /// `capture.realtime`
    pub realtime: bool,
    /// `capture.transport`
    #[serde(deserialize_with = "parsed")]
    pub transport: RtspTransport,
    /// `capture.pixels_max`
    pub pixels_max: u64,
    /// `capture.hw_acceleration`
    #[serde(deserialize_with = "parsed")]
    pub hw_acceleration: HwAcceleration,
    /// `capture.tls_ca`
    pub tls_ca: Option<PathBuf>,
    /// `capture.tls_insecure`
    pub tls_insecure: bool,
    /// `capture.user`
    pub user: Option<String>,
    /// `capture.password`
    pub password: Option<Secret>,
    /// `capture.open_timeout`
    #[serde(deserialize_with = "duration")]
    pub open_timeout: Duration,
    /// `capture.read_timeout`
    #[serde(deserialize_with = "duration")]
    pub read_timeout: Duration,
    /// `capture.reconnect_min`
    #[serde(deserialize_with = "duration")]
    pub reconnect_min: Duration,
    /// `capture.reconnect_max`
    #[serde(deserialize_with = "duration")]
    pub reconnect_max: Duration,
}

/// The settings of where alerts for people in the shop go.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NotifyConfig {
    /// `notify.timezone`, a name of the IANA database
    #[serde(deserialize_with = "parsed")]
    pub timezone: Tz,
    /// `notify.opening_hours`
    #[serde(default, deserialize_with = "alerts::opening_hours")]
    pub opening_hours: Option<DaySpan>,
    /// `notify.opening_days`, Monday first
    #[serde(deserialize_with = "alerts::opening_days")]
    pub opening_days: [bool; 7],
    /// `notify.state`
    pub state: Option<PathBuf>,
    /// `notify.webhook`, which is a secret: many services take whoever knows the URL
    pub webhook: Option<Secret>,
    /// `notify.webhook_secret`
    pub webhook_secret: Option<Secret>,
    /// `notify.mqtt`
    pub mqtt: Option<String>,
    /// `notify.mqtt_user`
    pub mqtt_user: Option<String>,
    /// `notify.mqtt_password`
    pub mqtt_password: Option<Secret>,
    /// `notify.mqtt_topic`
    pub mqtt_topic: String,
    /// `notify.mqtt_discovery`
    pub mqtt_discovery: String,
}

/// The settings of the embedded log.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogConfig {
    /// `log.segment_size`, bytes
    #[serde(deserialize_with = "bytes")]
    pub segment_size: u64,
    /// `log.size_max`, bytes
    #[serde(deserialize_with = "bytes")]
    pub size_max: u64,
    /// `log.when_full`
    pub when_full: WhenFull,
    /// `log.retention`
    #[serde(deserialize_with = "duration")]
    pub retention: Duration,
    /// `log.flush_interval`
    #[serde(deserialize_with = "duration")]
    pub flush_interval: Duration,
}

/// The fate of a record for which a full log has no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenFull {
    /// Lets it wait until the log may forget older ones.
    Block,
    /// Removes the oldest records, read or not, and counts them.
    DropOldest,
}

/// The settings of the ingest.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IngestConfig {
    /// `ingest.commit_interval`
    #[serde(deserialize_with = "duration")]
    pub commit_interval: Duration,
    /// `ingest.commit_bytes`
    #[serde(deserialize_with = "bytes")]
    pub commit_bytes: u64,
    /// `ingest.job`
    #[serde(deserialize_with = "parsed")]
    pub job: JobName,
    /// `ingest.entry_bytes_max`
    #[serde(deserialize_with = "bytes")]
    pub entry_bytes_max: u64,
    /// `ingest.buffered_bytes_max`
    #[serde(deserialize_with = "bytes")]
    pub buffered_bytes_max: u64,
    /// `ingest.memory_max`
    #[serde(default, deserialize_with = "optional_bytes")]
    pub memory_max: Option<u64>,
    /// `ingest.key_bytes_max`
    #[serde(deserialize_with = "bytes")]
    pub key_bytes_max: u64,
    /// `ingest.partition_by_day`
    pub partition_by_day: bool,
    /// `ingest.on_rollback`
    pub on_rollback: OnRollback,
    /// `ingest.accept_gap`
    pub accept_gap: bool,
    /// `ingest.orphan_age`
    #[serde(deserialize_with = "duration")]
    pub orphan_age: Duration,
    /// `ingest.stop_timeout`
    #[serde(deserialize_with = "duration")]
    pub stop_timeout: Duration,
}

/// The settings that silver and gold are kept current by.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefineConfig {
    /// `refine.interval`
    #[serde(deserialize_with = "duration")]
    pub interval: Duration,
    /// `refine.conf`
    pub conf: f64,
    /// `refine.memory_max`
    #[serde(deserialize_with = "bytes")]
    pub memory_max: u64,
}

/// The settings of the merging of small files.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaintainConfig {
    /// `maintain.enabled`
    pub enabled: bool,
    /// `maintain.interval`
    #[serde(deserialize_with = "duration")]
    pub interval: Duration,
    /// `maintain.snapshots_max`
    pub snapshots_max: usize,
    /// `maintain.gold_snapshots_max`
    pub gold_snapshots_max: usize,
    /// `maintain.snapshots_age`
    #[serde(deserialize_with = "duration")]
    pub snapshots_age: Duration,
    /// `maintain.file_size`
    #[serde(deserialize_with = "bytes")]
    pub file_size: u64,
    /// `maintain.files_min`
    pub files_min: usize,
    /// `maintain.age_min`
    #[serde(deserialize_with = "duration")]
    pub age_min: Duration,
    /// `maintain.memory_max`
    #[serde(deserialize_with = "bytes")]
    pub memory_max: u64,
    /// `maintain.retention.*`: how long rows of tables stay, by their names without the namespace; those of others stay
    /// for ever.
    #[serde(deserialize_with = "durations")]
    pub retention: BTreeMap<String, Duration>,
}

/// The place of backups.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackupConfig {
    /// `backup.to`
    pub to: Option<String>,
    /// `backup.age_max`
    #[serde(deserialize_with = "duration")]
    pub age_max: Duration,
}

/// The bounds of a query.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueryConfig {
    /// `query.memory_max`
    #[serde(deserialize_with = "bytes")]
    pub memory_max: u64,
    /// `query.spill_dir`
    pub spill_dir: Option<PathBuf>,
    /// `query.spill_max`
    #[serde(deserialize_with = "bytes")]
    pub spill_max: u64,
}

/// The policy for a table that was rolled back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnRollback {
    /// Reads the log again.
    Rewind,
    /// Ends the ingest.
    Halt,
}

/// The place of records.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BusConfig {
    /// `bus.kind`
    pub kind: BusKind,
}

/// A kind of bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BusKind {
    /// The embedded log of the data folder.
    Log,
    /// A topic of a broker (`pulsar.*`).
    Pulsar,
}

/// The place of the tables.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CatalogConfig {
    /// `catalog.kind`
    pub kind: CatalogKind,
}

/// A kind of catalog.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CatalogKind {
    /// `catalog.db` and `warehouse/` of the data folder.
    Embedded,
    /// A REST catalog (`iceberg.*`) whose files are in an object store (`s3.*`).
    Rest,
}

/// The address at which a service says how it is.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HealthConfig {
    /// `health.address`
    pub address: Option<SocketAddr>,
}

/// Logs and progress.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TelemetryConfig {
    /// `telemetry.log_format`
    pub log_format: LogFormat,
    /// `telemetry.log_level`
    pub log_level: String,
    /// `telemetry.quiet`
    pub quiet: bool,
    /// `telemetry.otlp_endpoint`
    pub otlp_endpoint: Option<String>,
    /// `telemetry.trace_ratio`, in [0, 1].
    pub trace_ratio: f64,
}

/// The settings of the broker.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PulsarConfig {
    /// `pulsar.service_url`
    pub service_url: String,
    /// `pulsar.admin_url`
    pub admin_url: String,
    /// `pulsar.token`
    pub token: Option<Secret>,
    /// `pulsar.ca_file`
    pub ca_file: Option<PathBuf>,
    /// `pulsar.topic`
    pub topic: String,
    /// `pulsar.partitions`
    pub partitions: u32,
    /// `pulsar.subscription`
    pub subscription: String,
}

/// The settings of the object store.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct S3Config {
    /// `s3.endpoint`
    pub endpoint: String,
    /// `s3.region`
    pub region: String,
    /// `s3.path_style`
    pub path_style: bool,
    /// `s3.access_key`
    pub access_key: Option<Secret>,
    /// `s3.secret_key`
    pub secret_key: Option<Secret>,
    /// `s3.ca_file`
    pub ca_file: Option<PathBuf>,
    /// `s3.connect_timeout`
    #[serde(deserialize_with = "duration")]
    pub connect_timeout: Duration,
    /// `s3.timeout`
    #[serde(deserialize_with = "duration")]
    pub timeout: Duration,
    /// `s3.retries`
    pub retries: u32,
    /// `s3.retry_timeout`
    #[serde(deserialize_with = "duration")]
    pub retry_timeout: Duration,
}

/// The settings of the REST catalog.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IcebergConfig {
    /// `iceberg.catalog_uri`
    pub catalog_uri: String,
    /// `iceberg.warehouse`
    pub warehouse: String,
    /// `iceberg.token`
    pub token: Option<Secret>,
    /// `iceberg.credential`
    pub credential: Option<Secret>,
    /// `iceberg.oauth2_uri`
    pub oauth2_uri: Option<String>,
    /// `iceberg.scope`
    pub scope: Option<String>,
    /// `iceberg.connect_timeout`
    #[serde(deserialize_with = "duration")]
    pub connect_timeout: Duration,
    /// `iceberg.timeout`
    #[serde(deserialize_with = "duration")]
    pub timeout: Duration,
    /// `iceberg.ca_file`
    pub ca_file: Option<PathBuf>,
    /// `iceberg.locations`
    pub locations: Option<Vec<String>>,
}

/// A camera; its key in the map is its id.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CameraConfig {
    /// `cameras.<id>.source`
    pub source: SourceText,
    /// `cameras.<id>.user`
    pub user: Option<String>,
    /// `cameras.<id>.password`
    pub password: Option<Secret>,
    /// `cameras.<id>.store`
    pub store: Option<String>,
    /// `cameras.<id>.stream`
    pub stream: Option<String>,
    /// `cameras.<id>.enabled`
    pub enabled: bool,
    /// `cameras.<id>.conf`, in [0, 1]
    pub conf: Option<f64>,
    /// `cameras.<id>.classes`
    pub classes: Option<Vec<String>>,
    /// `cameras.<id>.tracker`
    pub tracker: Option<String>,
    /// `cameras.<id>.reid_model`
    pub reid_model: Option<String>,
    /// `cameras.<id>.vid_stride`, frames
    pub vid_stride: Option<u32>,
    /// `cameras.<id>.capture`
    #[serde(default, deserialize_with = "optional_parsed")]
    pub capture: Option<CaptureChoice>,
    /// `cameras.<id>.realtime`
    pub realtime: Option<bool>,
    /// `cameras.<id>.transport`
    #[serde(default, deserialize_with = "optional_parsed")]
    pub transport: Option<RtspTransport>,
    /// `cameras.<id>.hw_acceleration`
    #[serde(default, deserialize_with = "optional_parsed")]
    pub hw_acceleration: Option<HwAcceleration>,
    /// `cameras.<id>.tls_ca`
    pub tls_ca: Option<PathBuf>,
    /// `cameras.<id>.tls_insecure`
    pub tls_insecure: Option<bool>,
    /// `cameras.<id>.zones`
    #[serde(deserialize_with = "zones::deserialize")]
    pub zones: Vec<ZoneConfig>,
}

fn parsed<'de, D: Deserializer<'de>, T: FromStr<Err: Display>>(deserializer: D) -> Result<T, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
}

fn optional_parsed<'de, D: Deserializer<'de>, T: FromStr<Err: Display>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| text.parse().map_err(D::Error::custom)).transpose()
}

fn optional_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| Timestamp::parse(&text).map_err(D::Error::custom)).transpose()
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    parse_duration(&String::deserialize(deserializer)?).map_err(D::Error::custom)
}

fn durations<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, Duration>, D::Error> {
    let texts = BTreeMap::<String, Option<String>>::deserialize(deserializer)?;
    let given = texts.into_iter().filter_map(|(name, text)| Some((name, text?)));
    given.map(|(name, text)| Ok((name, parse_duration(&text).map_err(D::Error::custom)?))).collect()
}

fn bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    parse_bytes(&String::deserialize(deserializer)?).map_err(D::Error::custom)
}

fn optional_bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| parse_bytes(&text).map_err(D::Error::custom)).transpose()
}

fn optional_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| parse_duration(&text).map_err(D::Error::custom)).transpose()
}
