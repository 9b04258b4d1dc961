//! NDJSON out, and back into a log.

use crate::{drain, keys, message};
use rva_bus::{BusErrorKind, EventSink, NdjsonSink, ReplayOptions, ReplayReport, replay, replay_file};
use rva_testkit::bus::{MemoryFault, MemoryLog};
use rva_types::{Envelope, RejectionReason, decode_message};
use std::{
    io::{BufReader, Cursor, Write},
    sync::{Arc, Mutex},
    time::Duration,
};

fn record(camera: &str, frame: u64) -> String {
    format!(
        r#"{{"schema_version":"1.0","pipeline_run_id":"r","source":{{"store_id":"s","camera_id":"{camera}","stream_id":"t"}},"frame_index":{frame},"capture_ts":"2026-01-31T08:00:00.000000+00:00"}}"#
    )
}

async fn replayed(bytes: &[u8], options: ReplayOptions) -> (ReplayReport, Vec<rva_bus::Message>) {
    let mut log = MemoryLog::default();
    let reader = BufReader::with_capacity(16, Cursor::new(bytes.to_vec()));
    let report = replay(reader, "x.ndjson", &mut log, options).await.unwrap();
    (report, drain(&mut log.reader()).await)
}

#[tokio::test]
async fn a_written_file_is_replayed_byte_for_byte() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("out.ndjson");
    let mut sink = NdjsonSink::create(&path).unwrap();
    let records = [record("b", 1), record("a", 1), record("b", 2)];
    for record in &records {
        sink.send(message("ignored", record)).await.unwrap();
    }
    sink.flush().await.unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), records.map(|record| record + "\n").concat());

    let mut log = MemoryLog::default();
    let report = replay_file(&path, &mut log, ReplayOptions::default()).await.unwrap();
    assert_eq!(report.report, ReplayReport { lines: 3, sent: 3, bad: 0 });
    let found = drain(&mut log.reader()).await;
    let wanted = [("a", 1, record("a", 1)), ("b", 1, record("b", 1)), ("b", 2, record("b", 2))];
    assert_eq!(keys(&found), wanted.map(|(partition, n, body)| (partition.to_owned(), n, body)));
    let line = path.display().to_string();
    let wanted =
        [("camera_id", "a"), ("replay_file", &line), ("replay_line", "2"), ("store_id", "s"), ("stream_id", "t")];
    let properties: Vec<_> = found[0].properties.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(properties, wanted);
}

#[tokio::test]
async fn bad_lines_go_into_the_log_with_their_line_number() {
    let envelope = serde_json::to_string(&Envelope {
        schema_version: "1.0".into(),
        pipeline_run_id: "r".into(),
        frame_index: 9,
        payload: record("c", 9),
    })
    .unwrap();
    let text = format!("{}\r\n\n  \n{{broken\n\u{e9}\n{envelope}\n[1]", record("a", 1));
    let mut bytes = text.into_bytes();
    bytes.extend_from_slice(b"\n\xff\xfe");
    let (report, found) = replayed(&bytes, ReplayOptions::default()).await;
    assert_eq!(report, ReplayReport { lines: 8, sent: 6, bad: 4 });
    let line = |message: &rva_bus::Message| message.properties["replay_line"].clone();
    let bad: Vec<_> = found.iter().filter(|m| m.partition == "replay").map(|m| (line(m), m.body.to_vec())).collect();
    let wanted: [(&str, &[u8]); 4] = [("4", b"{broken"), ("5", "\u{e9}".as_bytes()), ("7", b"[1]"), ("8", b"\xff\xfe")];
    assert_eq!(bad, wanted.map(|(line, body)| (line.to_owned(), body.to_vec())));
    let good: Vec<_> =
        found.iter().filter(|m| m.partition != "replay").map(|m| (m.partition.as_str(), line(m))).collect();
    assert_eq!(good, [("a", "1".to_owned()), ("c", "6".to_owned())]);
    assert_eq!(found[0].body, record("a", 1).as_bytes(), "a line end of two bytes isn't part of the record");
}

#[tokio::test]
async fn a_line_over_the_bound_becomes_a_dead_letter_even_if_its_start_is_a_record() {
    let padded = record("a", 1) + &" ".repeat(500) + "garbage\n" + &record("a", 2) + "\n";
    let options = ReplayOptions { line_bytes_max: 300, ..ReplayOptions::default() };
    let (report, found) = replayed(padded.as_bytes(), options).await;
    assert_eq!(report, ReplayReport { lines: 2, sent: 2, bad: 1 });
    assert_eq!((found[0].partition.as_str(), found[1].partition.as_str()), ("a", "replay"));
    let cut = &found[1];
    assert!(cut.body.len() <= 300 + 7 && cut.body.ends_with(b" ...cut"));
    assert_eq!(cut.properties["replay_line_bytes"], (record("a", 1).len() + 507).to_string());
    let rejection = decode_message(&cut.body, &cut.properties).unwrap_err();
    assert_eq!(rejection.reason, RejectionReason::InvalidJson);
}

#[tokio::test]
async fn a_replay_waits_out_a_full_disk_and_stops_at_a_permanent_error() {
    let mut log = MemoryLog::default();
    log.inject(MemoryFault::Send(BusErrorKind::Transient));
    let options = ReplayOptions { retry_wait: Duration::from_millis(1), ..ReplayOptions::default() };
    let lines = record("a", 1) + "\n" + &record("a", 2);
    let report = replay(Cursor::new(lines.clone()), "x", &mut log, options).await.unwrap();
    assert_eq!((report.sent, drain(&mut log.reader()).await.len()), (2, 2));
    log.inject(MemoryFault::Send(BusErrorKind::Permanent));
    let error = replay(Cursor::new(lines), "x", &mut log, options).await.unwrap_err();
    assert_eq!(error.kind(), BusErrorKind::Permanent);
    assert!(error.to_string().starts_with("line 1 of x: "), "{error}");
}

#[tokio::test]
async fn a_file_that_is_not_there_or_cannot_be_made_is_named() {
    let mut log = MemoryLog::default();
    let error = replay_file("/nowhere/in.ndjson", &mut log, ReplayOptions::default()).await.unwrap_err();
    assert!(error.to_string().contains("/nowhere/in.ndjson"), "{error}");
    let error = NdjsonSink::create("/nowhere/out.ndjson").err().unwrap();
    assert!(error.to_string().contains("/nowhere/out.ndjson"), "{error}");
}

#[derive(Clone, Default)]
struct Pipe(Arc<Mutex<Vec<u8>>>);

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_stream_gets_one_line_a_body_and_a_body_of_two_lines_is_rejected() {
    let pipe = Pipe::default();
    let mut sink = NdjsonSink::to_stream(Box::new(pipe.clone()), "pipe");
    sink.send(message("a", "{\"a\":1}")).await.unwrap();
    let error = sink.send(message("a", "{\n}")).await.unwrap_err();
    assert_eq!(error.kind(), BusErrorKind::Rejected);
    sink.send(message("a", "2")).await.unwrap();
    sink.flush().await.unwrap();
    assert_eq!(*pipe.0.lock().unwrap(), b"{\"a\":1}\n2\n");
}
