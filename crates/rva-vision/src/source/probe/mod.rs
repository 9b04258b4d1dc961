//! Asks a stream whether it is there before the video library does: OpenCV's `open` is just false for a wrong password,
//! a refused connection and a stall.
//!
//! RTSP is asked to describe itself, HTTP for the head of its answer, other protocols over TCP only for a connection.
//! Certificates aren't checked, as FFmpeg doesn't: cameras sign their own.

mod connection;
mod http;
mod rtsp;

use super::StreamUrl;
use crate::{VisionError, VisionErrorKind};
use connection::Connection;
use http_auth::{PasswordClient, PasswordParams};
use std::time::{Duration, Instant};

/// Finds out what is wrong with a stream; `Ok` where it answers as a stream does, or can't be asked.
///
/// # Errors
/// [`VisionErrorKind::Unreachable`], [`VisionErrorKind::Refused`], [`VisionErrorKind::Unauthorized`],
/// [`VisionErrorKind::NotFound`], [`VisionErrorKind::NotAStream`], [`VisionErrorKind::Stalled`], and
/// [`VisionErrorKind::Unreadable`] for other answers. No text holds a credential.
pub(super) fn probe(url: &StreamUrl, timeout: Duration) -> Result<(), VisionError> {
    let patience = Patience { shown: url.shown(), timeout, deadline: Instant::now() + timeout };
    match url.scheme() {
        "rtsp" | "rtsps" => rtsp::probe(url, &patience),
        // FFmpeg goes through the proxy, whose rules aren't known here.
        "http" | "https" if std::env::var_os("http_proxy").is_some() => Ok(()),
        "http" | "https" => http::probe(url, &patience),
        "rtmp" => Connection::open(url, 1935, false, &patience).map(drop),
        "rtmps" => Connection::open(url, 443, false, &patience).map(drop),
        "tcp" if url.has_port() => Connection::open(url, 0, false, &patience).map(drop),
        _ => Ok(()),
    }
}

/// How long a probe waits, and what it is called.
struct Patience<'a> {
    shown: &'a str,
    timeout: Duration,
    deadline: Instant,
}

impl Patience<'_> {
    /// What is left, at least a moment: a zero would mean for ever.
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

/// Credentials for one conversation.
enum Login {
    /// The URL has none.
    None,
    /// Not asked for yet.
    Unused { user: String, password: String },
    /// The server asked, and knows.
    Used { user: String, password: String, client: Box<PasswordClient> },
}

impl Login {
    fn of(url: &StreamUrl) -> Self {
        match url.credentials() {
            Some((user, password)) => Self::Unused { user, password },
            None => Self::None,
        }
    }

    /// What goes into the `Authorization` header, once the server has asked for it.
    fn header(&mut self, method: &str, uri: &str) -> Option<String> {
        match self {
            Self::Used { user, password, client } => {
                client.respond(&PasswordParams { username: user, password, uri, method, body: None }).ok()
            }
            _ => None,
        }
    }

    /// Takes a challenge: `Ok` where it is worth to ask again.
    fn challenged(&mut self, challenge: Option<&str>, patience: &Patience<'_>) -> Result<(), VisionError> {
        const WANTED: &str = "scheme://user:password@… with the right ones, special characters percent-encoded";
        let refuse = |found: &str| Err(patience.error(VisionErrorKind::Unauthorized, found, WANTED));
        match std::mem::replace(self, Self::None) {
            Self::None => refuse("a stream that asks for user and password (401), and a URL without"),
            Self::Used { .. } => refuse("that user or password are refused (401)"),
            Self::Unused { user, password } => match PasswordClient::try_from(challenge.unwrap_or_default()) {
                Ok(client) => {
                    *self = Self::Used { user, password, client: Box::new(client) };
                    Ok(())
                }
                Err(_) => refuse("a stream that asks for another login than Basic and Digest (401)"),
            },
        }
    }
}

/// What a status means that is neither success nor a question for credentials.
fn bad_status(status: u16, patience: &Patience<'_>) -> VisionError {
    let wanted = "a stream of pictures";
    match status {
        403 => patience.error(VisionErrorKind::Unauthorized, "that it is forbidden to this user (403)", wanted),
        404 | 410 | 454 => {
            let found = format!("that the server has no such stream ({status})");
            patience.error(VisionErrorKind::NotFound, &found, "the path of a stream that it has")
        }
        _ => patience.error(VisionErrorKind::Unreadable, &format!("status {status}"), wanted),
    }
}
