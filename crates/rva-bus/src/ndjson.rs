//! Records as a file, one on each line.

use crate::{BusError, BusErrorKind, EventSink, OutgoingMessage, log::io_error};
use std::{
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
};

enum Output {
    File { file: File, bytes: u64 },
    Stream(Box<dyn Write + Send>),
}

/// An [`EventSink`] for `--output` that writes each body as a line to a file or to stdout.
///
/// A line is one write, so `tail -f` and a pipe see whole records at once. Key and properties aren't written.
pub struct NdjsonSink {
    output: Output,
    path: PathBuf,
}

impl NdjsonSink {
    /// Opens a file, emptied if it exists; `-` is stdout.
    ///
    /// # Errors
    /// Returns a `Permanent` error with the file's name where it can't be made.
    pub fn create(path: impl AsRef<Path>) -> Result<Self, BusError> {
        let path = path.as_ref();
        if path == Path::new("-") {
            return Ok(Self::to_stream(Box::new(io::stdout()), "stdout"));
        }
        let file = File::create(path).map_err(|error| io_error("make", path, error))?;
        Ok(Self { output: Output::File { file, bytes: 0 }, path: path.to_owned() })
    }

    /// Writes to any stream; `name` stands in errors.
    pub fn to_stream(stream: Box<dyn Write + Send>, name: &str) -> Self {
        Self { output: Output::Stream(stream), path: name.into() }
    }
}

#[async_trait::async_trait]
impl EventSink for NdjsonSink {
    async fn send(&mut self, message: OutgoingMessage) -> Result<(), BusError> {
        if let Some(at) = message.body.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
            let text = format!("found a line break at byte {at} of a body, wanted a body on one line");
            return Err(BusError::new(BusErrorKind::Rejected, text));
        }
        let mut line = Vec::with_capacity(message.body.len() + 1);
        line.extend_from_slice(&message.body);
        line.push(b'\n');
        let written = match &mut self.output {
            Output::Stream(stream) => stream.write_all(&line).and_then(|()| stream.flush()),
            Output::File { file, bytes } => match file.write_all(&line) {
                Ok(()) => {
                    *bytes += line.len() as u64;
                    Ok(())
                }
                Err(error) => {
                    // No half line stays behind, where the file can be cut at all (a device can't).
                    let cut = file.set_len(*bytes).and_then(|()| io::Seek::seek(file, io::SeekFrom::Start(*bytes)));
                    if let Err(cut) = cut {
                        tracing::debug!(file = %self.path.display(), error = %cut, "a half line stays behind");
                    }
                    Err(error)
                }
            },
        };
        written.map_err(|error| io_error("write", &self.path, error))
    }

    async fn flush(&mut self) -> Result<(), BusError> {
        let flushed = match &mut self.output {
            Output::Stream(stream) => stream.flush(),
            Output::File { file, .. } => match file.sync_data() {
                // A pipe or a device that was named as the file has nothing to sync.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
                synced => synced,
            },
        };
        flushed.map_err(|error| io_error("flush", &self.path, error))
    }
}
