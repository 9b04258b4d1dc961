//! The service publishing to the real broker of the native stack.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use rva_bus::{
    EventSource, Message,
    pulsar::{PulsarConnection, PulsarSource, PulsarSourceOptions, TopicName, TopicSetup, set_up_topic},
};
use rva_stack::Stack;
use rva_testkit::collector::Collector;
use rva_types::{OffsetMap, decode_message};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

const SUBSCRIPTION: &str = "rva-ingest";
const FRAMES: u64 = 25;

fn connection(stack: &Stack) -> PulsarConnection {
    PulsarConnection::new(stack.get("PULSAR_SERVICE_URL"), stack.get("PULSAR_ADMIN_URL"))
}

fn new_topic() -> TopicName {
    format!("persistent://rva-test/detector/t-{}", uuid::Uuid::new_v4().simple()).parse().unwrap()
}

/// Two cameras that look at a clip of moving pictures.
fn write_configuration(folder: &Path) {
    let clip = folder.join("clip.avi");
    let pictures = format!("testsrc2=size=320x240:rate=25:duration={}", FRAMES / 25);
    let made = Command::new("ffmpeg")
        .args(["-v", "error", "-y", "-f", "lavfi", "-i", &pictures, "-c:v", "mjpeg", "-threads", "1"])
        .arg(&clip)
        .status();
    assert!(made.unwrap().success());
    let model = rva_stack::root().join("data/models/demo-person-416.onnx");
    let text = format!(
        "detector: {{model: {}, publish: pulsar}}\ncameras:\n  a: {{source: {clip}}}\n  b: {{source: {clip}}}\n",
        model.display(),
        clip = clip.display()
    );
    fs::write(folder.join("rva.yaml"), text).unwrap();
}

fn start(folder: &Path, stack: &Stack, topic: &TopicName) -> Child {
    command(folder, stack, topic).spawn().unwrap()
}

fn command(folder: &Path, stack: &Stack, topic: &TopicName) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rva-detector"));
    if std::env::var_os("ORT_DYLIB_PATH").is_none() {
        command.env("ORT_DYLIB_PATH", rva_stack::root().join("data/cache/onnxruntime"));
    }
    command
        .current_dir(folder)
        .envs(["PULSAR_SERVICE_URL", "PULSAR_ADMIN_URL"].map(|name| (name, stack.get(name))))
        .env("PULSAR_TOPIC", topic.to_string())
        .stdout(Stdio::null())
        .stderr(fs::File::create(folder.join("stderr")).unwrap());
    command
}

fn said(folder: &Path) -> String {
    fs::read_to_string(folder.join("stderr")).unwrap_or_default()
}

/// The messages that are on the topic.
async fn messages(connection: &PulsarConnection, topic: &TopicName) -> Vec<Message> {
    let options = PulsarSourceOptions::new(topic.clone(), SUBSCRIPTION);
    let mut source = PulsarSource::connect(connection, options).await.unwrap();
    source.seek(&OffsetMap::new()).await.unwrap();
    let mut all = Vec::new();
    loop {
        let messages = source.poll(1 << 20, Duration::from_secs(3)).await.unwrap();
        if messages.is_empty() {
            return all;
        }
        all.extend(messages);
    }
}

/// Frames by camera that are on the topic.
async fn on_topic(connection: &PulsarConnection, topic: &TopicName) -> BTreeMap<String, BTreeSet<u64>> {
    let mut frames: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
    for message in messages(connection, topic).await {
        let key = decode_message(&message.body, &message.properties).unwrap().key;
        frames.entry(key.camera.to_string()).or_default().insert(key.frame_index as u64);
    }
    frames
}

fn all() -> BTreeMap<String, BTreeSet<u64>> {
    ["a", "b"].map(|camera| (camera.to_owned(), (1..=FRAMES).collect())).into()
}

#[tokio::test]
async fn every_frame_is_on_the_topic_also_when_the_broker_comes_later() {
    let Some(stack) = rva_stack::stack() else { return };
    let _turn = stack.alone().await;
    let connection = connection(stack);
    for is_away in [false, true] {
        let (topic, folder) = (new_topic(), tempfile::tempdir().unwrap());
        let setup = TopicSetup { partitions: 2, ..TopicSetup::new(topic.clone(), SUBSCRIPTION) };
        set_up_topic(&connection, &setup).await.unwrap();
        write_configuration(folder.path());
        if is_away {
            stack.kill("pulsar");
        }
        let mut detector = start(folder.path(), stack, &topic);
        if is_away {
            let (began, mut has_ended) = (Instant::now(), false);
            while !has_ended {
                assert!(began.elapsed() < Duration::from_secs(120), "{}", said(folder.path()));
                tokio::time::sleep(Duration::from_millis(100)).await;
                has_ended = said(folder.path()).matches("the run is in the spool").count() == 1;
            }
            assert!(detector.try_wait().unwrap().is_none(), "it waits for the broker: {}", said(folder.path()));
            stack.start("pulsar");
        }
        let status = tokio::task::spawn_blocking(move || detector.wait()).await.unwrap().unwrap();
        assert_eq!(status.code(), Some(0), "{}", said(folder.path()));
        assert_eq!(on_topic(&connection, &topic).await, all(), "is_away: {is_away}");
    }
}

#[tokio::test]
async fn the_trace_of_a_frame_crosses_the_broker() {
    let Some(stack) = rva_stack::stack() else { return };
    let _turn = stack.shared().await;
    let connection = connection(stack);
    let (topic, folder, collector) = (new_topic(), tempfile::tempdir().unwrap(), Collector::start());
    set_up_topic(&connection, &TopicSetup::new(topic.clone(), SUBSCRIPTION)).await.unwrap();
    write_configuration(folder.path());
    let mut detector = command(folder.path(), stack, &topic);
    detector.env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint()).env("OTEL_TRACES_SAMPLER_ARG", "1");
    let mut detector = detector.spawn().unwrap();
    let status = tokio::task::spawn_blocking(move || detector.wait()).await.unwrap().unwrap();
    assert_eq!(status.code(), Some(0), "{}", said(folder.path()));
    let mut named = BTreeSet::new();
    for message in messages(&connection, &topic).await {
        let key = decode_message(&message.body, &message.properties).unwrap().key;
        let (camera, frame) = (key.camera.to_string(), key.frame_index.to_string());
        assert!(named.insert((camera, frame, message.properties["traceparent"].clone())));
    }
    let spans = collector.spans();
    let frames = spans.iter().filter(|span| span.name == "frame");
    let of = |name: &str, span: &rva_testkit::collector::SeenSpan| span.attributes[name].clone();
    let sent: BTreeSet<(String, String, String)> = frames
        .map(|span| {
            let traceparent = format!("00-{}-{}-01", span.trace, span.id);
            (of("rva.camera_id", span), of("rva.frame_index", span), traceparent)
        })
        .collect();
    assert_eq!(named.len(), 2 * FRAMES as usize);
    assert_eq!(named, sent);
}

#[tokio::test]
async fn a_topic_that_was_not_set_up_is_an_error_at_the_start() {
    let Some(stack) = rva_stack::stack() else { return };
    let _turn = stack.shared().await;
    let folder = tempfile::tempdir().unwrap();
    write_configuration(folder.path());
    let topic = new_topic();
    let status = start(folder.path(), stack, &topic).wait().unwrap();
    assert_eq!(status.code(), Some(1), "{}", said(folder.path()));
    let text = said(folder.path());
    assert!(text.contains(&topic.to_string()) && text.contains("publish to"), "{text}");
}
