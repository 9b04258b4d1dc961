//! Sends made-up frame records of about 1 KB to a topic, as the detector's sink sends them: for benchmarks.
//!
//! Every record is distinct: boxes, confidences and tracks come from a seeded generator. With `--rate` it keeps to so
//! many a second (a record's `capture_ts` is when it was made), else it sends as fast as the broker takes them.
//! `--again-every N` sends one of N a second time, N messages later; `--broken-every N` sends, beside each Nth, an
//! envelope whose payload is no JSON.
#![allow(clippy::unwrap_used, reason = "a measurement that fails ends")]

use rva_bus::{
    EventSink, OutgoingMessage,
    pulsar::{PulsarConnection, PulsarSink, PulsarSinkOptions, TopicSetup, set_up_topic},
};
use rva_types::{
    BBox, CameraId, Detection, FrameRecord, FrameRecordInput, ImageSize, RunId, RuntimeDescription, SourceIdentity,
    StoreId, StreamId, Timestamp, TrackedDetection,
};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant, SystemTime},
};

/// SplitMix64.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// In [from, to).
    fn within(&mut self, from: f32, to: f32) -> f32 {
        from + (to - from) * ((self.next() >> 40) as f32 / (1u64 << 24) as f32)
    }
}

struct Camera {
    run: RunId,
    source: SourceIdentity,
    frame: u64,
}

fn argument(name: &str, default: &str) -> String {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    arguments.nth(1).unwrap_or_else(|| default.to_owned())
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("found no {name}, wanted the stack's: stack.py status --env"))
}

fn detections(numbers: &mut Numbers) -> Vec<TrackedDetection> {
    let count = match numbers.next() % 10 {
        0 => 0,
        other => 1 + other % 3,
    };
    (0..count)
        .map(|_| {
            let (x, y) = (numbers.within(0.0, 1100.0), numbers.within(0.0, 500.0));
            let (w, h) = (numbers.within(30.0, 160.0), numbers.within(80.0, 210.0));
            let bbox = BBox { x1: x, y1: y, x2: x + w, y2: y + h };
            let class_id = u32::from(numbers.next().is_multiple_of(10));
            let detection = Detection { bbox, conf: numbers.within(0.3, 1.0), class_id };
            let is_tracked = !numbers.next().is_multiple_of(20);
            TrackedDetection { detection, track_id: is_tracked.then(|| 1 + numbers.next() % 400) }
        })
        .collect()
}

#[tokio::main]
async fn main() {
    let count: u64 = argument("--count", "1000").parse().unwrap();
    let cameras: usize = argument("--cameras", "8").parse().unwrap();
    let stores: usize = argument("--stores", "2").parse().unwrap();
    let rate: u64 = argument("--rate", "0").parse().unwrap();
    let mut numbers = Numbers(argument("--seed", "1").parse().unwrap());
    let topic = variable("PULSAR_TOPIC").parse().unwrap();
    let connection = PulsarConnection::new(variable("PULSAR_SERVICE_URL"), variable("PULSAR_ADMIN_URL"));
    let setup = TopicSetup::new(topic, argument("--subscription", "rva-ingest"));
    set_up_topic(&connection, &setup).await.unwrap();
    let mut sink = PulsarSink::connect(&connection, PulsarSinkOptions::new(setup.topic)).await.unwrap();
    let class_names = vec!["person".to_owned(), "backpack".to_owned()];
    let runtime = RuntimeDescription {
        model_name: "demo-person-416.onnx".into(),
        tracker_type: "steady".into(),
        conf_thres: 0.25,
        class_filter: None,
    };
    let mut all: Vec<Camera> = (0..cameras)
        .map(|number| Camera {
            run: RunId::parse(format!("{:032x}", numbers.next())).unwrap(),
            source: SourceIdentity {
                store_id: StoreId::parse(format!("store_{:02}", 1 + number % stores)).unwrap(),
                camera_id: CameraId::parse(format!("cam_{:02}", 1 + number)).unwrap(),
                stream_id: StreamId::parse("stream_01").unwrap(),
            },
            frame: 0,
        })
        .collect();
    let started = Instant::now();
    let first = Timestamp::from_micros(1_764_000_000_000_000);
    let again_every: u64 = argument("--again-every", "0").parse().unwrap();
    let broken_every: u64 = argument("--broken-every", "0").parse().unwrap();
    let is_one_of = |every: u64, number: u64| every > 0 && (number + 1).is_multiple_of(every);
    let (mut held, mut again, mut broken) = (None, 0u64, 0u64);
    let mut bytes = 0u64;
    for number in 0..count {
        if let Some(ahead) = (number * 1_000_000).checked_div(rate) {
            let due = started + Duration::from_micros(ahead);
            if let Some(wait) = due.checked_duration_since(Instant::now()).filter(|wait| wait.as_millis() >= 1) {
                tokio::time::sleep(wait).await;
            }
        }
        let at = usize::try_from(number).unwrap() % all.len();
        let camera = &mut all[at];
        camera.frame += 1;
        let capture_ts = if rate > 0 {
            Timestamp::from(SystemTime::now())
        } else {
            Timestamp::from_micros(first.as_micros() + i64::try_from(camera.frame * 100_000).unwrap())
        };
        let record = FrameRecord::new(&FrameRecordInput {
            run: &camera.run,
            source: &camera.source,
            frame_index: camera.frame,
            capture_ts,
            image_size: ImageSize { width: 1280, height: 720 },
            detections: &detections(&mut numbers),
            class_names: &class_names,
            runtime: &runtime,
            source_uri: Some("rtsp://camera.example/1"),
        });
        let body = record.to_json();
        bytes += body.len() as u64;
        let source = &camera.source;
        let properties = [
            ("store_id", source.store_id.to_string()),
            ("camera_id", source.camera_id.to_string()),
            ("stream_id", source.stream_id.to_string()),
        ];
        let message = OutgoingMessage {
            partition_key: source.camera_id.to_string(),
            properties: properties
                .map(|(name, value)| (name.to_owned(), value))
                .into_iter()
                .collect::<BTreeMap<_, _>>(),
            event_time: Some(capture_ts),
            body: body.into(),
        };
        if is_one_of(broken_every, number) {
            let body = format!(
                r#"{{"schema_version":"1.0","pipeline_run_id":"broken","frame_index":{number},"payload":"{{no JSON"}}"#
            );
            sink.send(OutgoingMessage { body: body.into(), ..message.clone() }).await.unwrap();
            broken += 1;
        }
        if is_one_of(again_every, number)
            && let Some(held) = held.replace(message.clone())
        {
            sink.send(held).await.unwrap();
            again += 1;
        }
        sink.send(message).await.unwrap();
    }
    sink.flush().await.unwrap();
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "{{\"messages\":{count},\"again\":{again},\"broken\":{broken},\"payload_bytes\":{bytes},\"seconds\":{seconds:.3}}}"
    );
}
