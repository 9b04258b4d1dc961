//! Layered configuration, from the outside.

use rva_service::{Layers, Origin, Override, ShowFormat, load, show};
use std::path::PathBuf;

fn file(text: &str) -> Layers {
    Layers { file: Some((PathBuf::from("rva.yaml"), text.to_owned())), ..Layers::default() }
}

fn with_env(mut layers: Layers, pairs: &[(&str, &str)]) -> Layers {
    layers.environment = pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    layers
}

#[allow(clippy::unwrap_used)]
fn problems(layers: &Layers) -> Vec<String> {
    load(layers).unwrap_err().problems.iter().map(ToString::to_string).collect()
}

#[test]
fn the_default_is_complete() {
    let loaded = load(&Layers::default()).unwrap();
    assert_eq!(loaded.config.store_id, "store_01");
    assert_eq!(loaded.config.detector.conf, 0.25);
    assert_eq!(loaded.config.ingest.commit_interval.as_secs(), 10);
    assert_eq!(loaded.config.ingest.commit_bytes, 64 << 20);
    assert!(loaded.settings.iter().all(|setting| setting.origin == Origin::Default));
}

#[test]
fn flags_beat_the_environment_which_beats_the_file_which_beats_the_default() {
    let text = "store_id: from_file\nstream_id: from_file\ndetector:\n  iou: 0.5\n";
    let mut layers =
        with_env(file(text), &[("STORE_ID", "from_env"), ("RVA_STREAM_ID", "from_rva_env"), ("STREAM_ID", "x")]);
    layers.overrides.push(Override { path: "store_id", flag: "--store-id", text: "from_flag".into() });
    let loaded = load(&layers).unwrap();
    assert_eq!(loaded.config.store_id, "from_flag");
    assert_eq!(loaded.config.stream_id, "from_rva_env");
    assert_eq!(loaded.config.detector.iou, 0.5);
    assert_eq!(loaded.config.detector.conf, 0.25);
    let origin = |path: &str| loaded.settings.iter().find(|s| s.path == path).unwrap().origin.to_string();
    assert_eq!(origin("store_id"), "--store-id");
    assert_eq!(origin("stream_id"), "environment RVA_STREAM_ID");
    assert_eq!(origin("detector.iou"), "rva.yaml:4");
    assert_eq!(origin("detector.conf"), "default");
}

#[test]
fn all_problems_are_reported_at_once_with_key_path_and_place() {
    let text = "stor_id: x\ncameras:\n  cam_01:\n    sorce: a.mp4\n  cam_02:\n    enabled: true\ndetector:\n  conf: 1.5\n  clases: [0]\ningest:\n  commit_interval: 10\n";
    let mut layers = with_env(file(text), &[("CONF_THRES", "high"), ("RVA_DETECTOR_CONFF", "0.5")]);
    layers.overrides.push(Override { path: "detector.vid_stride", flag: "--vid-stride", text: "0".into() });
    let found = problems(&layers);
    let wanted = [
        "stor_id: unknown key, nearest is store_id (rva.yaml:1)",
        "cameras.cam_01.sorce: unknown key, nearest is source (rva.yaml:4)",
        "cameras.cam_02.source: missing, wanted a file, a folder or glob of images, a webcam index or a stream URL (rva.yaml:5)",
        "detector.conf: found 1.5, wanted a number from 0 to 1 (rva.yaml:8)",
        "detector.clases: unknown key, nearest is classes (rva.yaml:9)",
        "ingest.commit_interval: found \"10\", wanted a duration like 500ms, 10s, 5m, 72h or 1h30m (rva.yaml:11)",
        "detector.conf: found \"high\", wanted a number from 0 to 1 (environment CONF_THRES)",
        "RVA_DETECTOR_CONFF: unknown variable, nearest is RVA_DETECTOR_CONF (environment RVA_DETECTOR_CONFF)",
        "detector.vid_stride: found 0, wanted a whole number from 1 to 100000 (--vid-stride)",
    ];
    assert_eq!(found, wanted);
}

#[test]
fn how_long_a_store_and_a_catalog_are_waited_for_is_configuration() {
    let config = load(&Layers::default()).unwrap().config;
    let seconds = |duration: std::time::Duration| duration.as_secs();
    assert_eq!(config.s3.retries, 5);
    assert_eq!((seconds(config.s3.connect_timeout), seconds(config.s3.retry_timeout)), (5, 60));
    assert_eq!((seconds(config.s3.timeout), seconds(config.iceberg.timeout)), (30, 30));
    assert_eq!((config.s3.ca_file, config.iceberg.ca_file), (None, None));

    let text = "s3: { ca_file: store.pem, timeout: 10s, retries: 0, retry_timeout: 0s }\niceberg: { timeout: 1m }\n";
    let variables = [("RVA_S3_CONNECT_TIMEOUT", "250ms"), ("RVA_ICEBERG_CONNECT_TIMEOUT", "2s")];
    let config = load(&with_env(file(text), &variables)).unwrap().config;
    assert_eq!(config.s3.ca_file, Some(PathBuf::from("store.pem")));
    assert_eq!((config.s3.retries, seconds(config.s3.timeout), seconds(config.s3.retry_timeout)), (0, 10, 0));
    assert_eq!((config.s3.connect_timeout.as_millis(), seconds(config.iceberg.connect_timeout)), (250, 2));
    assert_eq!(seconds(config.iceberg.timeout), 60);

    let found = problems(&file("s3:\n  retries: 101\n  connect_timeout: 0s\niceberg:\n  timeout: soon\n"));
    for (key, words) in [
        ("s3.retries: found 101", "a whole number from 0 to 100 (rva.yaml:2)"),
        ("s3.connect_timeout: found 0s", "wanted at least 1ms (rva.yaml:3)"),
        ("iceberg.timeout: found \"soon\"", "a duration like 500ms, 10s, 5m, 72h or 1h30m (rva.yaml:5)"),
    ] {
        assert!(found.iter().any(|text| text.starts_with(key) && text.ends_with(words)), "{key}: {found:?}");
    }
    assert_eq!(found.len(), 3, "{found:?}");
}

#[test]
fn cameras_are_a_map_and_keep_their_origin() {
    let text = "cameras:\n  entrance:\n    source: rtsp://cam/1\n    store: store_07\n  back.door: {source: 0, enabled: false}\n";
    let loaded = load(&file(text)).unwrap();
    let cameras = &loaded.config.cameras;
    assert_eq!(cameras["entrance"].source, "rtsp://cam/1");
    assert_eq!(cameras["entrance"].store.as_deref(), Some("store_07"));
    assert!(cameras["entrance"].enabled && !cameras["back.door"].enabled);
    assert_eq!(cameras["back.door"].source, "0");
}

#[test]
fn other_peoples_rva_variables_and_empty_ones_are_left_alone() {
    let names = ["RVA_SHARED", "RVA_TORTURE_SEED", "RVA_VTEST", "RVA_PYTHON", "RVA_BLESS", "RVA_CONFIG", "RVA_KILLS"];
    let mut pairs = names.map(|name| (name, "x")).to_vec();
    pairs.push(("STORE_ID", ""));
    let layers = with_env(Layers::default(), &pairs);
    assert_eq!(load(&layers).unwrap().config.store_id, "store_01");
}

#[test]
fn a_file_that_is_no_yaml_or_no_mapping_says_so() {
    for (text, wanted) in [("a: [", "YAML"), ("- 1\n- 2\n", "found a list"), ("a: 1\na: 2\n", "duplicate")] {
        let found = problems(&file(text)).join("\n");
        assert!(found.contains(wanted) && found.contains("rva.yaml"), "{found}");
    }
    assert!(load(&file("")).is_ok());
}

#[test]
fn secrets_are_hidden_wherever_the_configuration_is_shown() {
    let layers = with_env(
        file("s3:\n  secret_key: hunter2\ncameras:\n  a: {source: \"rtsp://me:hunter4@cam/1\"}\n"),
        &[("PULSAR_TOKEN", "hunter3")],
    );
    let loaded = load(&layers).unwrap();
    assert_eq!(loaded.config.s3.secret_key.as_ref().map(|s| s.expose()), Some("hunter2"));
    let texts = [show(&loaded, ShowFormat::Yaml), show(&loaded, ShowFormat::Json), format!("{loaded:?}")];
    for text in texts {
        assert!(!text.contains("hunter"), "{text}");
        assert!(text.contains("********") && text.contains("rtsp://me:"), "{text}");
    }
}

#[test]
fn what_is_shown_as_yaml_reads_back_as_the_same_configuration() {
    let text = "store_id: \"07\"\ncameras:\n  \"a b\": {source: \"x: y.mp4\"}\ndetector:\n  classes: [person, 2]\n";
    let loaded = load(&file(text)).unwrap();
    let again = load(&file(&show(&loaded, ShowFormat::Yaml))).unwrap();
    assert_eq!(again.config, loaded.config);
    let json: serde_json::Value = serde_json::from_str(&show(&loaded, ShowFormat::Json)).unwrap();
    assert_eq!(json["config"]["detector"]["classes"], serde_json::json!(["person", "2"]));
    assert_eq!(json["origins"]["detector.classes"], "rva.yaml:5");
}
