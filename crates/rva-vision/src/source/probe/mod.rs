//! The probe of a stream, which asks whether it is there before the video library does: that says less of what is
//! wrong, and asks a camera that locks its accounts more often.
//!
//! Only what is certain is an error here. An answer that can't be understood goes to FFmpeg, which reads more than any
//! standard allows; where FFmpeg fails, too, the doubt is told.
//!
//! RTSP is asked to describe itself, HTTP for the head of its answer, other protocols over TCP only for a connection.
//! Certificates aren't checked, as FFmpeg doesn't: cameras sign their own.

mod connection;
mod head;
mod http;
mod login;
mod rtsp;

use super::StreamUrl;
use crate::{VisionError, VisionErrorKind};
use connection::Connection;
use std::time::{Duration, Instant};

/// Finds out what is wrong with a stream; returns a doubt where its answer is odd, none where it answers as a stream
/// does, or can't be asked.
///
/// # Errors
/// [`VisionErrorKind::Unreachable`], [`VisionErrorKind::Refused`], [`VisionErrorKind::Unauthorized`],
/// [`VisionErrorKind::NotFound`], [`VisionErrorKind::NotAStream`], [`VisionErrorKind::Stalled`]. No text holds a
/// credential.
pub(super) fn probe(url: &StreamUrl, timeout: Duration) -> Result<Option<Doubt>, VisionError> {
    let patience = Patience { shown: url.shown(), timeout, deadline: Instant::now() + timeout };
    match url.scheme() {
        "rtsp" | "rtsps" => rtsp::probe(url, &patience),
        // FFmpeg goes through the proxy, whose rules aren't known here.
        "http" | "https" if std::env::var_os("http_proxy").is_some() => Ok(None),
        "http" | "https" => http::probe(url, &patience),
        "rtmp" => Connection::open(url, 1935, false, &patience).map(|_| None),
        "rtmps" => Connection::open(url, 443, false, &patience).map(|_| None),
        "tcp" if url.has_port() => Connection::open(url, 0, false, &patience).map(|_| None),
        _ => Ok(None),
    }
}

/// Finds out whether the server of a stream can be reached, and says nothing to it.
///
/// # Errors
/// Returns [`VisionErrorKind::Unreachable`] or [`VisionErrorKind::Refused`].
pub(super) fn reach(url: &StreamUrl, timeout: Duration) -> Result<(), VisionError> {
    let patience = Patience { shown: url.shown(), timeout, deadline: Instant::now() + timeout };
    if std::env::var_os("http_proxy").is_some() {
        return Ok(());
    }
    Connection::open(url, 443, false, &patience).map(drop)
}

/// The time that a probe waits, and the name that it is called by.
struct Patience<'a> {
    shown: &'a str,
    timeout: Duration,
    deadline: Instant,
}

impl Patience<'_> {
    /// Returns the rest of the time, at least a moment: a zero would mean for ever.
    fn left(&self) -> Option<Duration> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        (left > Duration::ZERO).then(|| left.max(Duration::from_millis(1)))
    }

    fn error(&self, kind: VisionErrorKind, found: &str, wanted: &str) -> VisionError {
        VisionError::new(kind, format!("{}: found {found}, wanted {wanted}", self.shown))
    }

    fn stalled(&self) -> VisionError {
        let found = format!("a connection that says nothing within {:.1} s", self.timeout.as_secs_f64());
        self.error(VisionErrorKind::Stalled, &found, "an answer")
    }

    fn no_stream(&self, found: &str) -> VisionError {
        self.error(VisionErrorKind::NotAStream, found, "a stream of pictures")
    }
}

/// A doubt that a probe can't decide: it is told only where FFmpeg fails, too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Doubt(String);

impl Doubt {
    fn new(found: impl Into<String>) -> Self {
        Self(found.into())
    }
}

impl std::fmt::Display for Doubt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Judges a status that is neither success nor a question for credentials. Others than those that say it clearly are
/// left to FFmpeg.
fn bad_status(status: u16, patience: &Patience<'_>) -> Result<Option<Doubt>, VisionError> {
    let wanted = "a stream of pictures";
    match status {
        403 => Err(patience.error(VisionErrorKind::Unauthorized, "that it is forbidden to this user (403)", wanted)),
        404 | 410 | 454 => {
            let found = format!("that the server has no such stream ({status})");
            Err(patience.error(VisionErrorKind::NotFound, &found, "the path of a stream that it has"))
        }
        _ => Ok(Some(Doubt::new(format!("it answers with status {status}")))),
    }
}
