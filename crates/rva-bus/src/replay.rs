//! A file of records into a log.

use crate::{BusError, BusErrorKind, EventSink, OutgoingMessage, log::io_error};
use bytes::Bytes;
use rva_types::{PropertyName, Timestamp, decode_message};
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufRead, BufReader},
    path::Path,
    time::Duration,
};

/// The partition of lines that name no camera; the ingest makes dead letters of them.
pub const REPLAY_PARTITION: &str = "replay";
/// Property: the file that a message was replayed from.
pub const REPLAY_FILE: &str = "replay_file";
/// Property: its line there, from 1.
pub const REPLAY_LINE: &str = "replay_line";
/// Property of a line over the bound: its length in bytes; the body holds only its start.
pub const REPLAY_LINE_BYTES: &str = "replay_line_bytes";

/// How much of a line over the bound goes into the log.
const KEPT_BYTES: usize = 64 << 10;
/// Ends the body of such a line, so that it can never pass for a whole record.
const CUT_TEXT: &[u8] = b" ...cut";

/// How a file is replayed.
#[derive(Debug, Clone, Copy)]
pub struct ReplayOptions {
    /// Longest line in bytes. Of a longer one only the first 64 KiB and the text ` ...cut` go into the log, so that
    /// it becomes a dead letter. Default 16 MiB.
    pub line_bytes_max: usize,
    /// How long to wait before a message is sent again after a transient error (no space left). Default 1 s.
    pub retry_wait: Duration,
}

impl Default for ReplayOptions {
    fn default() -> Self {
        Self { line_bytes_max: 16 << 20, retry_wait: Duration::from_secs(1) }
    }
}

/// What a replay did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReplayReport {
    /// Lines read, empty ones too.
    pub lines: u64,
    /// Messages sent, bad ones too.
    pub sent: u64,
    /// Messages that will be dead letters.
    pub bad: u64,
}

/// Replays a file; see [`replay`].
///
/// # Errors
/// The file can't be read, or the sink refuses for good.
pub async fn replay_file(
    path: impl AsRef<Path>,
    sink: &mut dyn EventSink,
    options: ReplayOptions,
) -> Result<ReplayReport, BusError> {
    let path = path.as_ref();
    let file = File::open(path).map_err(|error| io_error("open", path, error))?;
    replay(BufReader::with_capacity(256 << 10, file), &path.display().to_string(), sink, options).await
}

/// Sends every line that isn't blank as a message and flushes at the end.
///
/// The body is the line's bytes without the line end (`\n` or `\r\n`). A record or an envelope goes into its
/// camera's partition, with `store_id`, `camera_id` and `stream_id` as properties and its capture time; a line that is
/// neither goes into [`REPLAY_PARTITION`]. Every message has [`REPLAY_FILE`] (`name`) and [`REPLAY_LINE`]. A transient
/// error of the sink is waited out. Reading blocks the task for one buffer at a time.
///
/// # Errors
/// The reader fails, or the sink refuses for good; the text names file and line.
pub async fn replay(
    mut reader: impl BufRead + Send,
    name: &str,
    sink: &mut dyn EventSink,
    options: ReplayOptions,
) -> Result<ReplayReport, BusError> {
    let mut report = ReplayReport::default();
    let mut line = Vec::new();
    loop {
        let read = read_line(&mut reader, &mut line, options.line_bytes_max);
        let Some(length) = read.map_err(|error| io_error("read", Path::new(name), error))? else { break };
        report.lines += 1;
        if line.iter().all(u8::is_ascii_whitespace) && length == line.len() as u64 {
            continue;
        }
        let (message, bad) = message(&line, length, name, report.lines);
        send(sink, message, options.retry_wait)
            .await
            .map_err(|error| BusError::new(error.kind(), format!("line {} of {name}: {error}", report.lines)))?;
        report.sent += 1;
        report.bad += u64::from(bad);
        if report.sent % 64 == 0 {
            tokio::task::yield_now().await;
        }
    }
    sink.flush().await?;
    Ok(report)
}

async fn send(sink: &mut dyn EventSink, message: OutgoingMessage, wait: Duration) -> Result<(), BusError> {
    let mut warned = false;
    loop {
        match sink.send(message.clone()).await {
            Err(error) if error.kind() == BusErrorKind::Transient => {
                if !warned {
                    warned = true;
                    tracing::warn!(%error, "the replay waits");
                }
                tokio::time::sleep(wait).await;
            }
            result => return result,
        }
    }
}

/// The message of a line, and whether it will be a dead letter.
fn message(line: &[u8], length: u64, name: &str, number: u64) -> (OutgoingMessage, bool) {
    let mut properties =
        BTreeMap::from([(REPLAY_FILE.to_owned(), name.to_owned()), (REPLAY_LINE.to_owned(), number.to_string())]);
    let cut = length > line.len() as u64;
    if !cut && let Ok(event) = decode_message(line, &BTreeMap::new()) {
        let camera = event.key.camera.as_str().to_owned();
        properties.insert(PropertyName::STORE_ID.into(), event.store.as_str().to_owned());
        properties.insert(PropertyName::CAMERA_ID.into(), camera.clone());
        let more: MoreOfRecord = serde_json::from_str(&event.payload).unwrap_or_default();
        if let Some(stream) = more.source.and_then(|source| source.stream_id).filter(|stream| !stream.is_empty()) {
            properties.insert(PropertyName::STREAM_ID.into(), stream);
        }
        let event_time = more.capture_ts.and_then(|ts| Timestamp::parse(&ts).ok());
        let body = Bytes::copy_from_slice(line);
        return (OutgoingMessage { partition_key: camera, properties, event_time, body }, false);
    }
    let mut body = line.to_vec();
    if cut {
        properties.insert(REPLAY_LINE_BYTES.into(), length.to_string());
        body.extend_from_slice(CUT_TEXT);
    }
    let message =
        OutgoingMessage { partition_key: REPLAY_PARTITION.into(), properties, event_time: None, body: body.into() };
    (message, true)
}

#[derive(Deserialize, Default)]
struct MoreOfRecord {
    #[serde(default)]
    capture_ts: Option<String>,
    #[serde(default)]
    source: Option<MoreOfSource>,
}

#[derive(Deserialize, Default)]
struct MoreOfSource {
    #[serde(default)]
    stream_id: Option<String>,
}

/// Reads a line without its end and answers its length; of a line over `max` only the start stays in `line`.
fn read_line(reader: &mut impl BufRead, line: &mut Vec<u8>, max: usize) -> io::Result<Option<u64>> {
    line.clear();
    let (mut length, mut over) = (0_u64, false);
    loop {
        let buffer = match reader.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            buffer => buffer?,
        };
        if buffer.is_empty() {
            return Ok((length > 0).then_some(length));
        }
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let part = &buffer[..end.unwrap_or(buffer.len())];
        length += part.len() as u64;
        if !over && line.len() + part.len() > max {
            over = true;
            line.extend_from_slice(&part[..part.len().min(KEPT_BYTES)]);
            line.truncate(KEPT_BYTES.min(max));
            line.shrink_to_fit();
        } else if !over {
            line.extend_from_slice(part);
        }
        let used = end.map_or(buffer.len(), |end| end + 1);
        reader.consume(used);
        if end.is_some() {
            if !over && line.last() == Some(&b'\r') {
                line.pop();
                length -= 1;
            }
            return Ok(Some(length));
        }
    }
}
