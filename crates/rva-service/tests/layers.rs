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

#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
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
        "cameras.cam_02.source: missing, wanted a file, a folder or glob of images or videos, a webcam index or a stream URL (rva.yaml:5)",
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
    assert_eq!(cameras["entrance"].source.expose(), "rtsp://cam/1");
    assert_eq!(cameras["entrance"].store.as_deref(), Some("store_07"));
    assert!(cameras["entrance"].enabled && !cameras["back.door"].enabled);
    assert_eq!(cameras["back.door"].source.expose(), "0");
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
        assert!(text.contains("********") && text.contains("rtsp://cam/1"), "{text}");
    }
    // What is wrong is told without it, however long it is, and so is what is misspelt.
    let layers = with_env(
        file("detector: {conf: \"rtsp://me:hunter5@cam/1\"}\nlog: {size_max: \"http://h/x?key=hunter6\"}\n"),
        &[("PULSAR_ADMIN_URL", "http://me:hunter7@broker"), ("ICEBERG_CATALOG_URI", "http:/me:hunter8@catalog")],
    );
    let text = format!("{layers:?}{}", problems(&layers).join("\n"));
    assert!(!text.contains("hunter"), "{text}");
    assert!(text.contains("pulsar.admin_url: found user information in it"), "{text}");
    let long = format!("rtsp://me:{}hunter9@cam/1", "x".repeat(70));
    assert!(!problems(&file(&format!("capture: {{policy: \"{long}\"}}\n")))[0].contains("xxx"));
}

#[test]
fn secrets_come_from_files_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).unwrap();
        folder.path().join(name).display().to_string()
    };
    let (token, password) = (at("token", "hunter2\n"), at("password", "hunter3"));
    let text = format!("cameras:\n  a: {{source: \"rtsp://cam/1\", user: me, password_file: \"{password}\"}}\n");
    let loaded =
        load(&with_env(file(&text), &[("PULSAR_TOKEN_FILE", &token), ("RVA_CAPTURE_PASSWORD_FILE", &token)])).unwrap();
    let exposed = |secret: &Option<rva_service::Secret>| secret.as_ref().map(|secret| secret.expose().to_owned());
    let config = &loaded.config;
    assert_eq!(exposed(&config.pulsar.token).as_deref(), Some("hunter2"));
    assert_eq!(exposed(&config.capture.password).as_deref(), Some("hunter2"));
    assert_eq!(exposed(&config.cameras["a"].password).as_deref(), Some("hunter3"));
    let shown = show(&loaded, ShowFormat::Yaml);
    assert!(!shown.contains("hunter") && shown.contains("environment PULSAR_TOKEN_FILE"), "{shown}");

    // The stronger layer wins; of two in one layer nobody knows which is meant.
    let both = with_env(file("pulsar: {token: hunter4}\n"), &[("PULSAR_TOKEN_FILE", &token)]);
    assert_eq!(exposed(&load(&both).unwrap().config.pulsar.token).as_deref(), Some("hunter2"));
    let both = with_env(file(&format!("pulsar: {{token_file: \"{token}\"}}\n")), &[("PULSAR_TOKEN", "hunter4")]);
    assert_eq!(exposed(&load(&both).unwrap().config.pulsar.token).as_deref(), Some("hunter4"));
    let both = with_env(Layers::default(), &[("PULSAR_TOKEN", "hunter4"), ("PULSAR_TOKEN_FILE", &token)]);
    let found = problems(&both);
    assert!(
        found[0].starts_with("pulsar.token_file: found pulsar.token (environment PULSAR_TOKEN) beside it"),
        "{found:?}"
    );
    let missing = problems(&with_env(Layers::default(), &[("S3_SECRET_KEY_FILE", "/nowhere/key")]));
    assert!(missing[0].contains("s3.secret_key_file: could not read /nowhere/key: No such file"), "{missing:?}");
}

#[test]
fn control_characters_of_keys_are_told_as_escapes() {
    let found = problems(&file("\"a\\eb\": 1\n")).join("");
    assert!(found.contains("a\\u{1b}b: unknown key") && !found.contains('\u{1b}'), "{found:?}");
}

#[test]
fn a_file_with_a_byte_order_mark_or_too_deep_nesting_is_told_from_each_other() {
    let loaded = load(&file("\u{feff}store_id: s\r\ndetector:\r\n  conf: 0.5\r\n")).unwrap();
    assert_eq!((loaded.config.store_id.as_str(), loaded.config.detector.conf), ("s", 0.5));
    let origin = loaded.settings.iter().find(|setting| setting.path == "store_id").unwrap().origin.to_string();
    assert_eq!(origin, "rva.yaml:1");
    let started = std::time::Instant::now();
    let found = problems(&file(&format!("a: {}", "[".repeat(200_000)))).join("");
    assert!(found.contains("nested deeper than 64 in line 1"), "{found}");
    assert!(started.elapsed().as_secs() < 2, "{:?}", started.elapsed());
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
