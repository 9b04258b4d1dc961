//! What a source is called: a webcam index, a URL, or a path.

use crate::{VisionError, VisionErrorKind};
use std::fmt;
use url::Url;

/// Schemes that FFmpeg opens as a stream.
const SCHEMES: [&str; 13] =
    ["rtsp", "rtsps", "rtmp", "rtmps", "http", "https", "hls", "mms", "mmsh", "rtp", "srt", "tcp", "udp"];

/// Parts of the names of URL parameters whose values are secret.
const SECRET_NAMES: [&str; 12] =
    ["pass", "pwd", "psw", "token", "key", "auth", "secret", "sig", "user", "login", "credential", "session"];

/// Stands for what isn't shown.
const HIDDEN: &str = "***";

/// Where frames come from. Its text shows no credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceSpec {
    /// A local camera by its number.
    Webcam(u32),
    /// A stream or a remote file.
    Stream(StreamUrl),
    /// A video file, an image, a folder of images, or a pattern (`*`, `?`, `[…]`) that images match.
    /// Which one is decided by what is on disk when it is opened.
    Path(String),
}

impl SourceSpec {
    /// Reads a source as a user writes it: `0`, `rtsp://…`, `video.mp4`, `images/`, `images/*.jpg`.
    ///
    /// # Errors
    /// [`VisionErrorKind::Config`] for an empty text or a URL that can't be read. The text of the error doesn't repeat
    /// the URL.
    pub fn parse(text: &str) -> Result<Self, VisionError> {
        let text = text.trim();
        let camera = text.strip_prefix("/dev/video").unwrap_or(text);
        if !camera.is_empty() && camera.bytes().all(|byte| byte.is_ascii_digit()) {
            return match camera.parse() {
                Ok(index) if index <= i32::MAX as u32 => Ok(Self::Webcam(index)),
                _ => Err(wrong(format!("found webcam index {camera}, wanted 0 to {}", i32::MAX))),
            };
        }
        if text.is_empty() {
            return Err(wrong("found an empty source, wanted a path, a webcam index or a URL"));
        }
        match text.split_once("://") {
            Some((scheme, path)) if scheme.eq_ignore_ascii_case("file") => {
                let decoded = Url::parse(text).ok().and_then(|url| url.to_file_path().ok());
                let decoded = decoded.and_then(|path| path.into_os_string().into_string().ok());
                Ok(Self::Path(decoded.unwrap_or_else(|| path.to_owned())))
            }
            Some((scheme, _)) if is_scheme(scheme) => StreamUrl::parse(text).map(Self::Stream),
            _ => Ok(Self::Path(text.to_owned())),
        }
    }
}

impl fmt::Display for SourceSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Webcam(index) => write!(f, "webcam:{index}"),
            Self::Stream(url) => f.write_str(url.shown()),
            Self::Path(path) => f.write_str(path),
        }
    }
}

impl std::str::FromStr for SourceSpec {
    type Err = VisionError;
    fn from_str(text: &str) -> Result<Self, VisionError> {
        Self::parse(text)
    }
}

/// A URL that may hold credentials. It has no `Display`; its `Debug` shows what [`StreamUrl::shown`] does.
#[derive(Clone, PartialEq, Eq)]
pub struct StreamUrl {
    secret: String,
    shown: String,
    scheme: String,
}

impl StreamUrl {
    fn parse(text: &str) -> Result<Self, VisionError> {
        let scheme = text.split("://").next().unwrap_or_default().to_ascii_lowercase();
        if !SCHEMES.contains(&scheme.as_str()) {
            return Err(wrong(format!("found a URL with scheme {scheme:?}, wanted one of {}", SCHEMES.join(", "))));
        }
        let url = Url::parse(text).map_err(|error| {
            wrong(format!(
                "found a {scheme} URL that can't be read ({error}), \
                 wanted {scheme}://user:password@host:port/path with special characters percent-encoded"
            ))
        })?;
        if url.host_str().is_none_or(str::is_empty) && scheme != "udp" && scheme != "rtp" && scheme != "srt" {
            return Err(wrong(format!("found a {scheme} URL without a host, wanted {scheme}://host/path")));
        }
        Ok(Self { secret: text.to_owned(), shown: shown(&url), scheme })
    }

    /// The URL without user name, password, fragment, and the values of parameters whose names sound secret.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// The URL as it was given, for the library that opens it and nothing else.
    pub(super) fn secret(&self) -> &str {
        &self.secret
    }

    /// Whether what it names may be a file with an end.
    pub(super) fn may_be_file(&self) -> bool {
        matches!(self.scheme.as_str(), "http" | "https")
    }

    /// A line of a library, fit for showing.
    pub(super) fn hide(&self, line: &str) -> String {
        let mut line = line.replace(&self.secret, &self.shown);
        if let Ok(url) = Url::parse(&self.secret) {
            let parts = [url.username(), url.password().unwrap_or_default()];
            for part in parts.into_iter().filter(|part| part.len() > 2) {
                line = line.replace(part, HIDDEN);
            }
        }
        // The libraries rewrite URLs (other scheme, port added), so a remaining one is shown by the same rules.
        line.split_inclusive(char::is_whitespace)
            .map(|word| match (word.contains("://"), Url::parse(word.trim())) {
                (true, Ok(url)) => format!("{} ", shown(&url)),
                _ => word.to_owned(),
            })
            .collect::<String>()
            .trim_end()
            .to_owned()
    }
}

impl fmt::Debug for StreamUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StreamUrl({})", self.shown)
    }
}

/// Whether a path is a pattern.
pub(super) fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
}

fn wrong(text: impl Into<String>) -> VisionError {
    VisionError::new(VisionErrorKind::Config, text)
}

fn shown(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    let rest = match url.query() {
        Some(query) => format!("{}?{}", hide_values(url.path()), hide_values(query)),
        None => hide_values(url.path()),
    };
    // A password with an unencoded slash: the parser takes its beginning for the host, so nothing before @ is shown.
    match rest.rsplit_once('@') {
        Some((_, rest)) => format!("{}://{HIDDEN}@{rest}", url.scheme()),
        None => format!("{}://{host}{port}{rest}", url.scheme()),
    }
}

/// Hides the values of `name=value` pairs whose names sound secret, in a query or, as some cameras have it, in a path.
fn hide_values(text: &str) -> String {
    text.split_inclusive(['&', ';', '/'])
        .map(|part| {
            let (body, end) = match part.char_indices().next_back() {
                Some((at, end @ ('&' | ';' | '/'))) => (&part[..at], end.to_string()),
                _ => (part, String::new()),
            };
            match body.split_once('=') {
                Some((name, _)) if is_secret_name(name) => format!("{name}={HIDDEN}{end}"),
                _ => part.to_owned(),
            }
        })
        .collect()
}

fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET_NAMES.iter().any(|secret| name.contains(secret))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown_of(text: &str) -> String {
        SourceSpec::parse(text).unwrap().to_string()
    }

    #[test]
    fn sources_are_told_apart_by_their_text() {
        assert_eq!(SourceSpec::parse("0").unwrap(), SourceSpec::Webcam(0));
        assert_eq!(SourceSpec::parse("/dev/video2").unwrap(), SourceSpec::Webcam(2));
        for path in ["clip.mp4", "images/*.jpg", "a:b.avi", "7.mp4", "./0", "odd ://name.mp4"] {
            assert_eq!(SourceSpec::parse(path).unwrap(), SourceSpec::Path(path.to_owned()), "{path}");
        }
        assert_eq!(SourceSpec::parse("file:///tmp/a%20b.mp4").unwrap(), SourceSpec::Path("/tmp/a b.mp4".to_owned()));
        assert!(matches!(SourceSpec::parse("rtsp://cam/1").unwrap(), SourceSpec::Stream(_)));
    }

    #[test]
    fn credentials_are_never_shown() {
        let cases = [
            ("rtsp://admin:s3cret@cam:554/ch1", "rtsp://cam:554/ch1"),
            ("rtsp://admin@10.0.0.7/ch1?channel=1&subtype=0", "rtsp://10.0.0.7/ch1?channel=1&subtype=0"),
            ("http://cam/v.mjpg?user=bob&pwd=s3cret&w=640", "http://cam/v.mjpg?user=***&pwd=***&w=640"),
            ("https://host/a.m3u8?X-Amz-Signature=s3cret#t", "https://host/a.m3u8?X-Amz-Signature=***"),
            ("rtsp://cam/user=admin_password=s3cret_channel=1/x", "rtsp://cam/user=***/x"),
            ("rtsp://u:p@s3cret@cam/1", "rtsp://cam/1"),
            ("rtsp://admin:12/s3cret@cam/1", "rtsp://***@cam/1"),
        ];
        for (given, wanted) in cases {
            assert_eq!(shown_of(given), wanted);
            let spec = SourceSpec::parse(given).unwrap();
            let debug = format!("{spec:?}");
            assert!(!debug.contains("s3cret") && !debug.contains("admin:"), "{debug}");
        }
    }

    #[test]
    fn errors_about_urls_do_not_repeat_them() {
        for (given, wanted) in [
            ("rtsp://admin:s3?cret@cam/1", "percent-encoded"),
            ("gopher://admin:s3cret@cam/1", "\"gopher\", wanted one of rtsp"),
            ("rtsp:///s3cret", "without a host"),
            ("", "empty source"),
            ("99999999999", "webcam index 99999999999"),
        ] {
            let error = SourceSpec::parse(given).unwrap_err();
            assert_eq!(error.kind(), VisionErrorKind::Config);
            assert!(error.to_string().contains(wanted), "{error}");
            assert!(!error.to_string().contains("s3"), "{error}");
        }
    }

    #[test]
    fn lines_of_the_libraries_lose_the_credentials() {
        let SourceSpec::Stream(url) = SourceSpec::parse("rtsp://admin:s3cret@cam/1").unwrap() else {
            panic!("wanted a stream");
        };
        for line in ["open rtsp://admin:s3cret@cam/1 failed", "tcp://admin:s3cret@cam:554 refused", "wrong s3cret"] {
            let hidden = url.hide(line);
            assert!(!hidden.contains("s3cret") && !hidden.contains("admin"), "{hidden}");
        }
        assert_eq!(url.hide("401 Unauthorized"), "401 Unauthorized");
    }
}
