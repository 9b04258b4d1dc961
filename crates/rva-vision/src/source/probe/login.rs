//! User and password of one conversation, and the challenges that a server may make.

use super::{Doubt, Patience, head::Head};
use crate::{VisionError, VisionErrorKind, source::StreamUrl};
use http_auth::{ChallengeRef, PasswordClient, PasswordParams, digest::Algorithm, parse_challenges};

/// The source that a challenge wants.
const WANTED: &str = "scheme://user:password@… with the right ones, special characters percent-encoded";

/// Credentials for one conversation.
pub(super) enum Login {
    /// The URL has no credentials.
    None,
    /// The credentials that weren't asked for yet.
    Unused { user: String, password: String },
    /// The credentials that the server asked for, and knows.
    Used { user: String, password: String, client: Box<PasswordClient>, beyond: Option<String> },
}

impl Login {
    pub(super) fn of(url: &StreamUrl) -> Self {
        match url.credentials() {
            Some((user, password)) => Self::Unused { user, password },
            None => Self::None,
        }
    }

    /// Returns the `Authorization` header, once the server has asked for it.
    pub(super) fn header(&mut self, method: &str, uri: &str) -> Option<String> {
        let Self::Used { user, password, client, .. } = self else { return None };
        let mut header = client.respond(&PasswordParams { username: user, password, uri, method, body: None }).ok()?;
        // Without `qop` the crate leaves it out, and a server takes the answer for MD5.
        if let PasswordClient::Digest(digest) = &**client
            && !header.contains("algorithm=")
            && let Some(name) = match digest.algorithm() {
                Algorithm::Sha256 => Some("SHA-256"),
                Algorithm::Sha512Trunc256 => Some("SHA-512-256"),
                _ => None,
            }
        {
            header.push_str(&format!(", algorithm={name}{}", if digest.session() { "-sess" } else { "" }));
        }
        Some(header)
    }

    /// Takes a challenge: returns `Ok(None)` where it is worth to ask again, a doubt where FFmpeg may know what isn't
    /// known here.
    pub(super) fn challenged(&mut self, head: &Head, patience: &Patience<'_>) -> Result<Option<Doubt>, VisionError> {
        let refuse = |found: &str| Err(patience.error(VisionErrorKind::Unauthorized, found, WANTED));
        match std::mem::replace(self, Self::None) {
            Self::None => refuse("a stream that asks for user and password (401), and a URL without"),
            Self::Used { .. } => refuse("that user or password are refused (401)"),
            Self::Unused { user, password } => match client(head) {
                Some(client) => {
                    *self = Self::Used { user, password, client: Box::new(client), beyond: beyond_ffmpeg(head) };
                    Ok(None)
                }
                None => Ok(Some(Doubt::new(
                    beyond_ffmpeg(head).unwrap_or_else(|| format!("it asks for a login by {}", schemes(head))),
                ))),
            },
        }
    }

    /// Returns a doubt where FFmpeg can't answer what the server asked, though user and password are right.
    pub(super) fn beyond_ffmpeg(&self) -> Option<Doubt> {
        match self {
            Self::Used { beyond: Some(beyond), .. } => {
                Some(Doubt::new(format!("user and password are right, but {beyond}")))
            }
            _ => None,
        }
    }
}

/// Returns the part of a challenge that FFmpeg 5.1 can't answer: it takes the last Digest that is offered, and knows
/// MD5, written like that, alone.
fn beyond_ffmpeg(head: &Head) -> Option<String> {
    let algorithms: Vec<String> = head.all("www-authenticate").filter_map(digest_algorithm).collect();
    let is_known = |algorithm: &String| matches!(algorithm.as_str(), "" | "MD5" | "MD5-sess");
    let last = algorithms.last().filter(|algorithm| !is_known(algorithm))?;
    let why = match last.to_ascii_lowercase().as_str() {
        "md5" | "md5-sess" => "know MD5 in capitals alone",
        _ if algorithms.iter().any(is_known) => "take the last of the Digests that it offers, and know MD5 alone",
        _ => "know MD5 alone",
    };
    Some(format!(
        "the server asks for Digest with {last}, and FFmpeg's libraries {why}: let the camera offer MD5 or Basic alone, or use a \
         GStreamer pipeline"
    ))
}

/// Returns the algorithm of a challenge for Digest, empty where it names none; `None` for other challenges.
fn digest_algorithm(challenge: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(challenge).into_owned();
    let lower = text.to_ascii_lowercase();
    if !lower.starts_with("digest ") {
        return None;
    }
    let Some(at) = lower.find("algorithm=") else { return Some(String::new()) };
    let value = text[at + "algorithm=".len()..].trim_start_matches('"');
    let is_letter = |c: char| c.is_ascii_alphanumeric() || c == '-';
    Some(value.chars().take_while(|c| is_letter(*c)).take(24).collect())
}

/// Returns a client that answers the challenges of a head; `None` where they aren't written as the standard says, or
/// none is known.
///
/// MD5 before other algorithms, since FFmpeg knows no other, and Digest before Basic.
fn client(head: &Head) -> Option<PasswordClient> {
    let texts: Vec<&str> = head.all("www-authenticate").map(std::str::from_utf8).collect::<Result<_, _>>().ok()?;
    let mut challenges: Vec<ChallengeRef<'_>> = Vec::new();
    for text in texts {
        challenges.extend(parse_challenges(text).ok()?);
    }
    let mut clients: Vec<PasswordClient> =
        challenges.iter().filter_map(|challenge| PasswordClient::try_from(challenge).ok()).collect();
    let rank = |client: &PasswordClient| match client {
        PasswordClient::Digest(digest) if digest.algorithm() == Algorithm::Md5 => 0,
        PasswordClient::Digest(_) => 1,
        _ => 2,
    };
    clients.sort_by_key(rank);
    clients.into_iter().next()
}

/// Returns the names of the ways to log in that a server offers, as far as they can be read.
fn schemes(head: &Head) -> String {
    let names: Vec<String> = head
        .all("www-authenticate")
        .map(|value| {
            let words = value.split(|byte| !byte.is_ascii_alphanumeric()).next().unwrap_or_default();
            String::from_utf8_lossy(&words[..words.len().min(16)]).into_owned()
        })
        .collect();
    if names.is_empty() { "no known way".to_owned() } else { format!("{}, oddly written", names.join(", ")) }
}
