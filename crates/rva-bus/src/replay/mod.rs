//! Replay of a file of records into a log.
//!
//! A file is read by a thread of its own: [`open`] takes packing and encoding off, [`split`] cuts the text into
//! records, and the code here makes messages of them. So a reader that hangs, or an endless line, keeps nobody from
//! stopping.

mod guess;
mod open;
mod split;

use crate::{BusError, BusErrorKind, EventSink, OutgoingMessage, log::io_error};
use bytes::Bytes;
use rva_types::{MessageDecoder, PropertyName, RecordHead, Timestamp};
use split::{Piece, Splitter};
use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read},
    path::Path,
    time::{Duration, SystemTime},
};
use tokio::sync::mpsc;

/// The partition of lines that name no camera; the ingest makes dead letters of them.
pub const REPLAY_PARTITION: &str = "replay";
/// Names the property that holds the file that a message was replayed from.
pub const REPLAY_FILE: &str = "replay_file";
/// Names the property that holds its line there, from 1.
pub const REPLAY_LINE: &str = "replay_line";
/// Names the property of a line over the bound that holds its length in bytes; the body holds only its start.
pub const REPLAY_LINE_BYTES: &str = "replay_line_bytes";

/// The end of the body of such a line, so that it can never pass for a whole record.
const CUT_TEXT: &[u8] = b" ...cut";

/// The number of buffers that are read ahead.
const BUFFERS_AHEAD: usize = 2;

/// The bytes of a text that its kind is guessed by.
const HEAD_BYTES: usize = 4096;

/// The settings of a replay.
#[derive(Debug, Clone, Copy)]
pub struct ReplayOptions {
    /// The longest line in bytes. Of a longer one only the first 64 KiB and the text ` ...cut` go into the log, so that
    /// it becomes a dead letter. Default 16 MiB.
    pub line_bytes_max: usize,
    /// The wait before a message is sent again after a transient error (no space left). Default 1 s.
    pub retry_wait: Duration,
}

impl Default for ReplayOptions {
    fn default() -> Self {
        Self { line_bytes_max: 16 << 20, retry_wait: Duration::from_secs(1) }
    }
}

/// The counts of a replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReplayReport {
    /// Lines read, empty ones too.
    pub lines: u64,
    /// Messages sent, bad ones too.
    pub sent: u64,
    /// Messages that will be dead letters.
    pub bad: u64,
}

impl ReplayReport {
    /// Returns whether more than half of the messages will be dead letters.
    pub fn is_mostly_bad(&self) -> bool {
        self.bad > self.sent - self.bad
    }
}

/// The outcome of a replay: the counts, and the kind that the file may be where most of it is no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Replayed {
    /// The counts of lines and messages.
    pub report: ReplayReport,
    /// The kind of the file in words: `CSV`.
    pub looks_like: Option<&'static str>,
    /// Set where the file is of a kind that holds no records: nothing of it was sent.
    pub is_refused: bool,
}

/// Replays a file; see [`replay_stream`].
///
/// # Errors
/// Returns an error where the file can't be read, or the sink refuses for good.
pub async fn replay_file(
    path: impl AsRef<Path>,
    sink: &mut dyn EventSink,
    options: ReplayOptions,
) -> Result<Replayed, BusError> {
    let path = path.as_ref();
    let file = File::open(path).map_err(|error| io_error("open", path, error))?;
    replay_stream(file, &path.display().to_string(), sink, options).await
}

/// Replays text whose kind is known, as [`replay_stream`] does, and returns the counts alone.
///
/// # Errors
/// Fails as [`replay_stream`] does.
pub async fn replay(
    reader: impl Read + Send + 'static,
    name: &str,
    sink: &mut dyn EventSink,
    options: ReplayOptions,
) -> Result<ReplayReport, BusError> {
    Ok(replay_stream(reader, name, sink, options).await?.report)
}

/// Sends every record as a message, in the file's order, and flushes at the end.
///
/// The text may be packed (gzip, zstd) and in UTF-8 or UTF-16. Records stand one a line, which ends in `\n`, `\r\n` or
/// `\r`, or are spread over lines or held by an array; then the blanks between their parts are left out. The body is
/// otherwise the record's bytes. A record or an envelope goes into its camera's partition, with `store_id`, `camera_id`
/// and `stream_id` as properties and its capture time; a line that is neither goes into [`REPLAY_PARTITION`]. Every
/// message has [`REPLAY_FILE`] (`name`) and [`REPLAY_LINE`]. A transient error of the sink is waited out. Of a file
/// that can't hold records (a video, an HTML page) nothing is sent.
///
/// # Errors
/// Returns an error that names file and line where the reader fails, or the sink refuses for good. Records read before
/// it are in the log.
pub async fn replay_stream(
    reader: impl Read + Send + 'static,
    name: &str,
    sink: &mut dyn EventSink,
    options: ReplayOptions,
) -> Result<Replayed, BusError> {
    let (give, mut given) = mpsc::channel(BUFFERS_AHEAD);
    let bytes_max = options.line_bytes_max;
    std::thread::Builder::new()
        .name("replay".into())
        .spawn(move || {
            if let Err(error) = read(Box::new(reader), bytes_max, &give) {
                // Nobody listens where the replay was stopped.
                let _ = give.blocking_send(Part::Failed(error));
            }
        })
        .map_err(|error| io_error("start a thread for", Path::new(name), error))?;
    let mut replayed = Replayed::default();
    let mut decoder = MessageDecoder::default();
    while let Some(part) = given.recv().await {
        match part {
            Part::Head { looks_like, is_refused } => {
                replayed.looks_like = looks_like;
                replayed.is_refused = is_refused;
            }
            Part::Pieces { pieces, lines } => {
                for piece in pieces {
                    send_piece(sink, &mut decoder, piece, name, options, &mut replayed.report).await?;
                }
                replayed.report.lines = lines;
                tokio::task::yield_now().await;
            }
            Part::BrokeOff => {
                let line = replayed.report.lines;
                tracing::warn!(name, line, "a file breaks off: found no end of the array that its records are in");
            }
            Part::Failed(error) => {
                sink.flush().await?;
                let at = format!("read behind line {} of", replayed.report.lines);
                return Err(io_error(&at, Path::new(name), error));
            }
        }
    }
    sink.flush().await?;
    Ok(replayed)
}

/// A message of the reading thread.
enum Part {
    Head {
        looks_like: Option<&'static str>,
        is_refused: bool,
    },
    /// Records in order, and the number of lines up to their end.
    Pieces {
        pieces: Vec<Piece>,
        lines: u64,
    },
    BrokeOff,
    Failed(io::Error),
}

/// Reads to the end, or until nobody listens.
fn read(reader: Box<dyn Read + Send>, bytes_max: usize, give: &mpsc::Sender<Part>) -> io::Result<()> {
    let (head, mut reader) = open::peek(open::plain(reader)?, HEAD_BYTES)?;
    if let Some(what) = guess::binary(&head) {
        let _ = give.blocking_send(Part::Head { looks_like: Some(what), is_refused: true });
        return Ok(());
    }
    let guess = guess::text(&head);
    let is_refused = guess.is_some_and(|guess| guess.is_sure);
    if give.blocking_send(Part::Head { looks_like: guess.map(|guess| guess.what), is_refused }).is_err() || is_refused {
        return Ok(());
    }
    let mut splitter = Splitter::new(bytes_max);
    let mut buffer = vec![0; open::BUFFER_BYTES];
    loop {
        let length = match reader.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        let pieces = if length == 0 { splitter.finish() } else { splitter.push(&buffer[..length]) };
        // Also without a record: a stop is noticed only so.
        if give.blocking_send(Part::Pieces { pieces, lines: splitter.lines() }).is_err() {
            return Ok(());
        }
        if length == 0 {
            if splitter.is_open() {
                let _ = give.blocking_send(Part::BrokeOff);
            }
            return Ok(());
        }
    }
}

async fn send_piece(
    sink: &mut dyn EventSink,
    decoder: &mut MessageDecoder,
    piece: Piece,
    name: &str,
    options: ReplayOptions,
    report: &mut ReplayReport,
) -> Result<(), BusError> {
    let line = piece.line;
    let (message, is_bad) = message(decoder, piece, name);
    send(sink, message, options.retry_wait)
        .await
        .map_err(|error| BusError::new(error.kind(), format!("line {line} of {name}: {error}")))?;
    report.sent += 1;
    report.bad += u64::from(is_bad);
    Ok(())
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

/// Returns the message of a piece, and whether it will be a dead letter.
fn message(decoder: &mut MessageDecoder, piece: Piece, name: &str) -> (OutgoingMessage, bool) {
    let Piece { mut body, length, line } = piece;
    let mut properties =
        BTreeMap::from([(REPLAY_FILE.to_owned(), name.to_owned()), (REPLAY_LINE.to_owned(), line.to_string())]);
    let is_cut = length > body.len() as u64;
    let now = Timestamp::from(SystemTime::now());
    if !is_cut && let Ok(event) = decoder.decode(&body, &BTreeMap::new(), now) {
        let camera = event.key.camera.as_str().to_owned();
        properties.insert(PropertyName::STORE_ID.into(), event.store.as_str().to_owned());
        properties.insert(PropertyName::CAMERA_ID.into(), camera.clone());
        let head = RecordHead::parse(&event.payload).unwrap_or_default();
        if let Some(stream) = head.stream_id {
            properties.insert(PropertyName::STREAM_ID.into(), stream);
        }
        let event_time = head.capture_ts;
        return (OutgoingMessage { partition_key: camera, properties, event_time, body: body.into() }, false);
    }
    if is_cut {
        properties.insert(REPLAY_LINE_BYTES.into(), length.to_string());
        body.extend_from_slice(CUT_TEXT);
    }
    let body = Bytes::from(body);
    (OutgoingMessage { partition_key: REPLAY_PARTITION.into(), properties, event_time: None, body }, true)
}
