//! The table of all configuration keys.

use crate::{
    ZonesOf,
    key::{Key, Kind},
};
use rva_types::{CaptureChoice, HwAcceleration, RtspTransport};

const fn key(path: &'static str, kind: Kind, default: Option<&'static str>, doc: &'static str) -> Key {
    Key { path, kind, default, env: &[], doc }
}

/// Returns the key of how long a table keeps its rows.
const fn kept(path: &'static str) -> Key {
    key(
        path,
        Kind::Duration(86_400_000),
        None,
        "how long rows of the table stay, in whole days (UTC); for ever where not given",
    )
}

const fn named(key: Key, env: &'static [&'static str]) -> Key {
    Key { env, ..key }
}

const TRANSPORT: Kind = Kind::Choice(RtspTransport::WORDS);
const HW_ACCELERATION: Kind = Kind::Choice(HwAcceleration::WORDS);
const CAPTURE: Kind = Kind::Choice(CaptureChoice::WORDS);

const PULSAR_SECRETS: &str = "pulsar.token (PULSAR_TOKEN, or a file: PULSAR_TOKEN_FILE)";
const S3_SECRETS: &str =
    "s3.access_key and s3.secret_key (S3_ACCESS_KEY, S3_SECRET_KEY, or files: S3_ACCESS_KEY_FILE, S3_SECRET_KEY_FILE)";
const ICEBERG_SECRETS: &str = "iceberg.token or iceberg.credential (ICEBERG_TOKEN, ICEBERG_CREDENTIAL, or files: ICEBERG_TOKEN_FILE, ICEBERG_CREDENTIAL_FILE)";

const fn http(instead: &'static str) -> Kind {
    Kind::Url(&["http", "https"], instead)
}

/// Every key but those of a camera. Order is the order of `rva config show`.
pub const KEYS: &[Key] = &[
    named(key("store_id", Kind::StoreId, Some("store_01"), "the shop of sources that name none"), &["STORE_ID"]),
    named(
        key("camera_id", Kind::CameraId, None, "camera id of the one source; several count cam_01, cam_02, …"),
        &["CAMERA_ID"],
    ),
    named(key("stream_id", Kind::StreamId, Some("stream_01"), "stream id of sources that name none"), &["STREAM_ID"]),
    named(key("source", Kind::Text, None, "the source where none is named on the command line"), &["VIDEO_PATH"]),
    key("start_time", Kind::Time, None, "capture time of a file's first frame; now where not given"),
    key("data_dir", Kind::Path, Some("rva-data"), "folder of catalog.db, warehouse/ and log/"),
    named(key("detector.model", Kind::Text, None, "a YOLOv8 detection export (ONNX)"), &["MODEL_NAME"]),
    named(
        key(
            "detector.conf",
            Kind::Number(0.0, 1.0),
            Some("0.25"),
            "least confidence of a recorded detection; raising it records fewer",
        ),
        &["CONF_THRES"],
    ),
    key(
        "detector.iou",
        Kind::Number(0.0, 1.0),
        Some("0.7"),
        "largest overlap that non-maximum suppression leaves; raising it keeps more",
    ),
    named(
        key("detector.classes", Kind::List, None, "class ids or names to keep; all where not given"),
        &["CLASS_FILTER"],
    ),
    key("detector.imgsz", Kind::Text, None, "input size in pixels, 640 or height,width, for models that leave it open"),
    key("detector.max_det", Kind::Integer(1, 100_000), Some("300"), "most detections of a frame"),
    key("detector.agnostic_nms", Kind::Flag, Some("false"), "suppress across classes"),
    key("detector.half", Kind::Flag, Some("false"), "16-bit input, for models that take it"),
    key("detector.device", Kind::Device, Some("cpu"), "cpu, cuda:0 or tensorrt:0"),
    named(
        key(
            "detector.tracker",
            Kind::Text,
            Some("steady"),
            "a tracker's name, or a tracker YAML file as Ultralytics has it",
        ),
        &["TRACKER_TYPE"],
    ),
    key(
        "detector.reid_model",
        Kind::Text,
        None,
        "appearance model in ONNX, for trackers that look at it (BoT-SORT with_reid, DeepSORT)",
    ),
    key("detector.vid_stride", Kind::Integer(1, 100_000), Some("1"), "process every n-th frame"),
    key(
        "detector.threads",
        Kind::Integer(1, 1024),
        None,
        "threads of the network on the processor; all cores where not given",
    ),
    key(
        "detector.parallel",
        Kind::Integer(1, 64),
        None,
        "inferences of a single camera at the same time, which share the threads; where not given 1 for what is live, up to 4 for files",
    ),
    key(
        "detector.max_batch",
        Kind::Integer(1, 256),
        Some("8"),
        "most pictures of several cameras in one call of the model; raising it helps on a GPU",
    ),
    key(
        "detector.max_wait_ms",
        Kind::Integer(0, 10_000),
        Some("5"),
        "longest wait of a picture for those of other cameras, in milliseconds",
    ),
    named(
        key(
            "detector.onnxruntime",
            Kind::Path,
            None,
            "the ONNX Runtime library; searched where not given (ORT_DYLIB_PATH first)",
        ),
        &["RVA_ONNXRUNTIME"],
    ),
    key(
        "detector.publish",
        Kind::Choice(&["log", "pulsar"]),
        Some("log"),
        "where records of rva-detector go: the embedded log, or through it to the topic",
    ),
    key(
        "detector.stats_interval",
        Kind::Duration(100),
        None,
        "how often each camera's counts are written; never where not given",
    ),
    key(
        "capture.policy",
        CAPTURE,
        Some("auto"),
        "which frames are processed when there are too many; auto is latest for live sources, all for files",
    ),
    key("capture.realtime", Kind::Flag, Some("false"), "play files at their own speed"),
    key("capture.transport", TRANSPORT, Some("tcp"), "how the pictures of RTSP travel"),
    key(
        "capture.pixels_max",
        Kind::Integer(1, 1 << 30),
        Some("67108864"),
        "most pixels of a picture; larger ones are refused before they are decoded",
    ),
    key("capture.hw_acceleration", HW_ACCELERATION, Some("none"), "hardware that decodes video"),
    key("capture.tls_ca", Kind::Path, None, "PEM file of who signs the certificates of https streams"),
    key("capture.tls_insecure", Kind::Flag, Some("false"), "leave certificates of streams unchecked, and don't warn"),
    key("capture.user", Kind::Text, None, "user of streams whose URL names none"),
    key("capture.password", Kind::Secret, None, "their password"),
    key("capture.password_file", Kind::SecretFile, None, "a file that holds it"),
    key(
        "capture.open_timeout",
        Kind::Duration(100),
        Some("10s"),
        "longest time until a stream gives pictures, 10m at most",
    ),
    key("capture.read_timeout", Kind::Duration(100), Some("10s"), "longest silence of a stream, 10m at most"),
    key(
        "capture.reconnect_min",
        Kind::Duration(10),
        Some("1s"),
        "first pause before a stream is opened again; it doubles",
    ),
    key("capture.reconnect_max", Kind::Duration(10), Some("60s"), "longest pause before a stream is opened again"),
    key("log.segment_size", Kind::Size(65_536), Some("64MiB"), "size at which a segment of the log is closed"),
    key("log.size_max", Kind::Size(1_048_576), Some("8GiB"), "bound of the whole log"),
    key("log.when_full", Kind::Choice(&["block", "drop_oldest"]), Some("block"), "what happens at the bound"),
    key("log.retention", Kind::Duration(0), Some("72h"), "how long committed records stay"),
    key("log.flush_interval", Kind::Duration(1), Some("200ms"), "most time of frames at risk on power loss"),
    key(
        "ingest.commit_interval",
        Kind::Duration(100),
        Some("10s"),
        "longest time between two commits while there is something new",
    ),
    key("ingest.commit_bytes", Kind::Size(1024), Some("64MiB"), "size at which a commit doesn't wait for the interval"),
    key(
        "ingest.job",
        Kind::JobName,
        Some("ingest"),
        "whose offsets the commits carry; another for each log that goes into the same tables",
    ),
    key(
        "ingest.entry_bytes_max",
        Kind::Size(1_048_576),
        Some("32MiB"),
        "most that one entry of Pulsar may unpack to, at most a third of ingest.buffered_bytes_max; larger ones are dead letters",
    ),
    key(
        "ingest.buffered_bytes_max",
        Kind::Size(1024),
        Some("96MiB"),
        "most that is held of messages, properties and keys counted; half as much again as ingest.commit_bytes where that is more",
    ),
    key(
        "ingest.memory_max",
        Kind::Size(67_108_864),
        None,
        "memory that the ingest keeps within; batches get smaller than ingest.commit_bytes where they must; what the container allows, 512MiB at most, where not given",
    ),
    key(
        "ingest.key_bytes_max",
        Kind::Size(65_536),
        Some("32MiB"),
        "memory that holds which events the table has, at most a sixteenth of ingest.memory_max: some hundred bytes for each camera; with more, fewer files are read for old events that come again",
    ),
    key(
        "ingest.partition_by_day",
        Kind::Flag,
        Some("false"),
        "partition bronze_raw by the day of its ingest too, for large installations; also where the table is there already: what it holds stays as it is",
    ),
    key(
        "ingest.on_rollback",
        Kind::Choice(&["rewind", "halt"]),
        Some("rewind"),
        "what happens when the table was rolled back: the log is read again, or the ingest ends",
    ),
    key(
        "ingest.accept_gap",
        Kind::Flag,
        Some("false"),
        "go on where the log has lost records that the table lacks, or may have",
    ),
    key(
        "ingest.orphan_age",
        Kind::Duration(0),
        Some("1d"),
        "age at which a data file that no snapshot names is removed",
    ),
    key(
        "ingest.stop_timeout",
        Kind::Duration(100),
        Some("30s"),
        "longest time that a signal waits for the last commit; the log keeps what it cuts off",
    ),
    key(
        "refine.interval",
        Kind::Duration(100),
        Some("10s"),
        "time between two looks for new rows of bronze; raising it makes gold older and cheaper",
    ),
    key(
        "refine.conf",
        Kind::Number(0.0, 1.0),
        Some("0.4"),
        "least confidence of a detection in silver; after a change rebuild silver, or old days keep the old one",
    ),
    key(
        "refine.memory_max",
        Kind::Size(0),
        Some("256MiB"),
        "most that is held of running hours, so that only their new rows are read; less costs reading, no row",
    ),
    key(
        "maintain.enabled",
        Kind::Flag,
        Some("true"),
        "merge small files beside the ingest; false leaves that to `rva maintain` or to another engine",
    ),
    key("maintain.interval", Kind::Duration(1000), Some("10m"), "time between two looks for small files to merge"),
    key(
        "maintain.snapshots_max",
        Kind::Integer(1, 1_000_000),
        Some("500"),
        "number of snapshots of a table that can be read back to; each makes a commit a little slower",
    ),
    key(
        "maintain.gold_snapshots_max",
        Kind::Integer(1, 1_000_000),
        Some("100"),
        "the same of a table of gold, where it is less than maintain.snapshots_max",
    ),
    key(
        "maintain.snapshots_age",
        Kind::Duration(1000),
        Some("5d"),
        "how long a snapshot can be read back to after another took its place",
    ),
    key(
        "maintain.file_size",
        Kind::Size(65_536),
        Some("128MiB"),
        "size of the files that small ones are merged into; one of three quarters of it stays as it is",
    ),
    key(
        "maintain.files_min",
        Kind::Integer(2, 1_000_000),
        Some("8"),
        "least number of small files of a partition that are merged; fewer aren't worth writing their rows again",
    ),
    key(
        "maintain.age_min",
        Kind::Duration(0),
        Some("1h"),
        "age from which on a file may be merged; of a gold partition no file may be younger",
    ),
    key(
        "maintain.memory_max",
        Kind::Size(1_048_576),
        Some("64MiB"),
        "most that is held of rows while they are sorted; more are sorted in files of the data folder",
    ),
    kept("maintain.retention.bronze_raw"),
    kept("maintain.retention.bronze_dead_letters"),
    kept("maintain.retention.silver_detections"),
    kept("maintain.retention.silver_frames"),
    kept("maintain.retention.silver_rejects"),
    kept("maintain.retention.gold_minute_by_cam"),
    kept("maintain.retention.gold_hour_by_cam"),
    kept("maintain.retention.gold_people_per_minute"),
    kept("maintain.retention.gold_camera_minute"),
    kept("maintain.retention.gold_zone_heatmap"),
    kept("maintain.retention.gold_zone_dwell"),
    kept("maintain.retention.gold_track_summary"),
    kept("maintain.retention.gold_zone_visits"),
    kept("maintain.retention.gold_zone_minute"),
    kept("maintain.retention.gold_line_crossings"),
    key(
        "backup.to",
        Kind::Text,
        None,
        "where `rva backup` writes if no other place is named, and whose newest backup the ingest looks for: a folder, or s3://BUCKET/PREFIX",
    ),
    key("backup.age_max", Kind::Duration(60_000), Some("26h"), "age from which the newest backup there is too old"),
    key(
        "zones",
        Kind::Zones(ZonesOf::Cameras),
        None,
        "zones and lines of cameras by a pattern of their ids; those of one camera stand in cameras.<id>.zones",
    ),
    key(
        "alerts",
        Kind::Alerts,
        None,
        "alerts for people in the shop, on how many people there are in a zone, a picture or a shop",
    ),
    key(
        "notify.timezone",
        Kind::TimeZone,
        Some("UTC"),
        "the time zone of the hours and days in which alerts are watched",
    ),
    key(
        "notify.opening_hours",
        Kind::DaySpan,
        None,
        "the hours in which every camera should look, like 09:00-20:00: what of them was not looked at is in the metrics",
    ),
    key("notify.opening_days", Kind::Days, Some("mon-sun"), "the days of the opening hours, like mon-sat"),
    key("notify.state", Kind::Path, None, "file of what was notified; alerts.json in the data folder where not given"),
    key("notify.webhook", Kind::Secret, None, "URL that notifications are posted to, as JSON"),
    key("notify.webhook_file", Kind::SecretFile, None, "a file that holds it"),
    key("notify.webhook_secret", Kind::Secret, None, "what they are signed with, as Standard Webhooks says: whsec_…"),
    key("notify.webhook_secret_file", Kind::SecretFile, None, "a file that holds it"),
    key(
        "notify.mqtt",
        Kind::Url(&["mqtt", "mqtts"], "notify.mqtt_user and notify.mqtt_password"),
        None,
        "the MQTT broker that notifications go to, as Home Assistant finds them",
    ),
    key("notify.mqtt_user", Kind::Text, None, "the broker's user"),
    key("notify.mqtt_password", Kind::Secret, None, "the user's password"),
    key("notify.mqtt_password_file", Kind::SecretFile, None, "a file that holds it"),
    key("notify.mqtt_topic", Kind::Text, Some("rva"), "the topic that all of ours begin with"),
    key(
        "notify.mqtt_discovery",
        Kind::Text,
        Some("homeassistant"),
        "the topic under which Home Assistant looks for what it should show",
    ),
    key(
        "query.memory_max",
        Kind::Size(16_777_216),
        Some("512MiB"),
        "most that a query holds in memory; beyond it sorts, groups and joins go on on disk",
    ),
    key(
        "query.spill_dir",
        Kind::Path,
        None,
        "where a query makes a folder for what doesn't fit; the system's for temporary files where not given",
    ),
    key("query.spill_max", Kind::Size(0), Some("32GiB"), "most that a query takes there"),
    key("bus.kind", Kind::Choice(&["log", "pulsar"]), Some("log"), "where records are: the embedded log, or Pulsar"),
    key(
        "catalog.kind",
        Kind::Choice(&["embedded", "rest"]),
        Some("embedded"),
        "where the tables are: in the data folder, or in a REST catalog and an object store",
    ),
    key(
        "health.address",
        Kind::Address,
        None,
        "where /live, /ready and /metrics answer, 0.0.0.0:8080; nowhere where not given",
    ),
    key("telemetry.log_format", Kind::Choice(&["text", "json"]), Some("text"), "how log lines look"),
    named(
        key("telemetry.log_level", Kind::LogFilter, Some("info"), "error, warn, info, debug, trace or directives"),
        &["RUST_LOG"],
    ),
    key("telemetry.quiet", Kind::Flag, Some("false"), "no progress; only warnings and errors are logged"),
    named(
        key(
            "telemetry.otlp_endpoint",
            http("the environment (OTEL_EXPORTER_OTLP_HEADERS)"),
            None,
            "OpenTelemetry collector that traces go to over HTTP, http://localhost:4318; none where not given",
        ),
        &["OTEL_EXPORTER_OTLP_ENDPOINT"],
    ),
    named(
        key("telemetry.trace_ratio", Kind::Number(0.0, 1.0), Some("0.01"), "part of the frames that are traced"),
        &["OTEL_TRACES_SAMPLER_ARG"],
    ),
    named(
        key(
            "pulsar.service_url",
            Kind::Url(&["pulsar", "pulsar+ssl"], PULSAR_SECRETS),
            Some("pulsar://localhost:6650"),
            "the broker; pulsar+ssl for TLS",
        ),
        &["PULSAR_SERVICE_URL"],
    ),
    named(
        key("pulsar.admin_url", http(PULSAR_SECRETS), Some("http://localhost:8082"), "the broker's admin API"),
        &["PULSAR_ADMIN_URL"],
    ),
    named(key("pulsar.token", Kind::Secret, None, "authentication token"), &["PULSAR_TOKEN"]),
    named(key("pulsar.token_file", Kind::SecretFile, None, "a file that holds it"), &["PULSAR_TOKEN_FILE"]),
    key("pulsar.ca_file", Kind::Path, None, "certificates (PEM) to trust beside the well-known ones"),
    named(key("pulsar.topic", Kind::Text, Some("persistent://retail/metadata/events"), "the topic"), &["PULSAR_TOPIC"]),
    named(
        key("pulsar.partitions", Kind::Integer(1, 1024), Some("4"), "partitions of the topic"),
        &["PULSAR_PARTITIONS"],
    ),
    key("pulsar.subscription", Kind::Text, Some("rva-ingest"), "the ingest's subscription"),
    named(key("s3.endpoint", http(S3_SECRETS), Some("http://localhost:9000"), "the object store"), &["S3_ENDPOINT"]),
    named(key("s3.region", Kind::Text, Some("us-east-1"), "its region"), &["S3_REGION"]),
    named(key("s3.path_style", Kind::Flag, Some("true"), "bucket in the path, as MinIO wants it"), &["S3_PATH_STYLE"]),
    named(key("s3.access_key", Kind::Secret, None, "access key"), &["S3_ACCESS_KEY", "MINIO_ROOT_USER"]),
    named(
        key("s3.access_key_file", Kind::SecretFile, None, "a file that holds it"),
        &["S3_ACCESS_KEY_FILE", "MINIO_ROOT_USER_FILE"],
    ),
    named(key("s3.secret_key", Kind::Secret, None, "secret key"), &["S3_SECRET_KEY", "MINIO_ROOT_PASSWORD"]),
    named(
        key("s3.secret_key_file", Kind::SecretFile, None, "a file that holds it"),
        &["S3_SECRET_KEY_FILE", "MINIO_ROOT_PASSWORD_FILE"],
    ),
    key("s3.ca_file", Kind::Path, None, "certificates (PEM) to trust beside the system's"),
    key("s3.connect_timeout", Kind::Duration(1), Some("5s"), "longest time until a connection is there"),
    key(
        "s3.timeout",
        Kind::Duration(1),
        Some("30s"),
        "longest time of a request; raise it where a part of 8 MiB takes longer",
    ),
    key("s3.retries", Kind::Integer(0, 100), Some("5"), "tries of a request after the first"),
    key("s3.retry_timeout", Kind::Duration(0), Some("60s"), "no further try of a request begins later than this"),
    named(
        key("iceberg.catalog_uri", http(ICEBERG_SECRETS), Some("http://localhost:8181"), "the REST catalog"),
        &["ICEBERG_CATALOG_URI"],
    ),
    named(key("iceberg.warehouse", Kind::Text, Some("s3://warehouse/"), "its warehouse"), &["ICEBERG_WAREHOUSE"]),
    named(key("iceberg.token", Kind::Secret, None, "bearer token"), &["ICEBERG_TOKEN"]),
    named(key("iceberg.token_file", Kind::SecretFile, None, "a file that holds it"), &["ICEBERG_TOKEN_FILE"]),
    named(key("iceberg.credential", Kind::Secret, None, "id:secret for OAuth 2"), &["ICEBERG_CREDENTIAL"]),
    named(key("iceberg.credential_file", Kind::SecretFile, None, "a file that holds it"), &["ICEBERG_CREDENTIAL_FILE"]),
    named(
        key("iceberg.oauth2_uri", http(ICEBERG_SECRETS), None, "where tokens are given out"),
        &["ICEBERG_OAUTH2_URI"],
    ),
    key("iceberg.scope", Kind::Text, None, "the scope that is asked for with the credential; catalog where not given"),
    key("iceberg.connect_timeout", Kind::Duration(1), Some("5s"), "longest time until a connection is there"),
    key(
        "iceberg.timeout",
        Kind::Duration(1),
        Some("30s"),
        "longest time of a call; the table is asked what became of a commit that takes longer",
    ),
    key("iceberg.ca_file", Kind::Path, None, "certificates (PEM) to trust beside the system's"),
    key(
        "iceberg.locations",
        Kind::List,
        None,
        "where the catalog may have tables, like s3://warehouse/rva; object stores where not given",
    ),
];

/// Keys of one camera, under `cameras.<camera id>`.
pub const CAMERA_KEYS: &[Key] = &[
    key("source", Kind::Text, None, "a file, a folder or glob of images or videos, a webcam index or a stream URL"),
    key("user", Kind::Text, None, "user of its stream, where the URL names none; as capture.user"),
    key("password", Kind::Secret, None, "its password"),
    key("password_file", Kind::SecretFile, None, "a file that holds it"),
    key("store", Kind::StoreId, None, "its shop; store_id where not given"),
    key("stream", Kind::StreamId, None, "its stream id; stream_id where not given"),
    key("enabled", Kind::Flag, Some("true"), "whether it takes part"),
    key("conf", Kind::Number(0.0, 1.0), None, "as detector.conf, which holds where not given; so do the others"),
    key("classes", Kind::List, None, "as detector.classes"),
    key("tracker", Kind::Text, None, "as detector.tracker"),
    key("reid_model", Kind::Text, None, "as detector.reid_model"),
    key("vid_stride", Kind::Integer(1, 100_000), None, "as detector.vid_stride"),
    key("capture", CAPTURE, None, "as capture.policy"),
    key("realtime", Kind::Flag, None, "as capture.realtime"),
    key("transport", TRANSPORT, None, "as capture.transport"),
    key("hw_acceleration", HW_ACCELERATION, None, "as capture.hw_acceleration"),
    key("tls_ca", Kind::Path, None, "as capture.tls_ca"),
    key("tls_insecure", Kind::Flag, None, "as capture.tls_insecure"),
    key("zones", Kind::Zones(ZonesOf::Camera), None, "its zones and lines, in shares of the picture from 0 to 1"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_default_is_a_value_of_its_kind() {
        for key in KEYS.iter().chain(CAMERA_KEYS) {
            if let Some(text) = key.default {
                assert!(key.kind.parse(text).is_ok(), "{}", key.path);
            }
        }
    }

    #[test]
    fn no_path_and_no_environment_name_stands_for_two_keys() {
        let paths: BTreeSet<_> = KEYS.iter().map(|key| key.path).collect();
        assert_eq!(paths.len(), KEYS.len());
        let mut names = BTreeSet::new();
        for key in KEYS {
            for name in key.env.iter().map(ToString::to_string).chain([key.env_name()]) {
                assert!(names.insert(name.clone()), "{name}");
            }
        }
    }

    #[test]
    fn every_environment_name_of_the_contract_is_known() {
        let known: BTreeSet<_> = KEYS.iter().flat_map(|key| key.env).copied().collect();
        let contract = [
            "MINIO_ROOT_USER",
            "MINIO_ROOT_PASSWORD",
            "S3_ENDPOINT",
            "S3_REGION",
            "S3_PATH_STYLE",
            "S3_ACCESS_KEY",
            "S3_SECRET_KEY",
            "ICEBERG_CATALOG_URI",
            "ICEBERG_WAREHOUSE",
            "PULSAR_SERVICE_URL",
            "PULSAR_ADMIN_URL",
            "PULSAR_TOKEN",
            "PULSAR_TOPIC",
            "PULSAR_PARTITIONS",
            "ICEBERG_TOKEN",
            "ICEBERG_CREDENTIAL",
            "ICEBERG_OAUTH2_URI",
            "STORE_ID",
            "CAMERA_ID",
            "STREAM_ID",
            "MODEL_NAME",
            "VIDEO_PATH",
            "TRACKER_TYPE",
            "CONF_THRES",
            "CLASS_FILTER",
        ];
        for name in contract {
            assert!(known.contains(name), "{name}");
        }
    }
}
