//! What a source is called: a webcam index, a URL, or a path.

use super::{GstPipeline, RtspTransport};
use crate::{VisionError, VisionErrorKind};
use base64::Engine;
use percent_encoding::percent_decode_str;
use std::{fmt, path::Path};
use url::Url;

/// Schemes that FFmpeg opens as a stream.
const SCHEMES: [&str; 13] =
    ["rtsp", "rtsps", "rtmp", "rtmps", "http", "https", "hls", "mms", "mmsh", "rtp", "srt", "tcp", "udp"];

/// Parts of the names of URL parameters whose values are secret.
const SECRET_NAMES: [&str; 12] =
    ["pass", "pwd", "psw", "token", "key", "auth", "secret", "sig", "user", "login", "credential", "session"];

/// Stands for what isn't shown.
pub(super) const HIDDEN: &str = "***";

/// Where frames come from. Its text shows no credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceSpec {
    /// A local camera by its number.
    Webcam(u32),
    /// A stream or a remote file.
    Stream(StreamUrl),
    /// A GStreamer pipeline.
    Pipeline(GstPipeline),
    /// A video file, an image, a folder of images, or a pattern (`*`, `?`, `[…]`) that images match.
    /// Which one is decided by what is on disk when it is opened.
    Path(String),
}

impl SourceSpec {
    /// Reads a source as a user writes it: `0`, `rtsp://…`, `video.mp4`, `images/`, `images/*.jpg`, and, with `gst:` in
    /// front or ` ! ` in it, a GStreamer pipeline that ends in `appsink`.
    ///
    /// # Errors
    /// [`VisionErrorKind::Config`] for an empty text, a pipeline without its end or a URL that can't be read. The text of the error doesn't repeat
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
        // A file may be called as a pipeline is written.
        if text.starts_with("gst:") || text.contains(" ! ") && !Path::new(text).exists() {
            return GstPipeline::parse(text).map(Self::Pipeline);
        }
        if text == "-" {
            return Err(wrong("found -, wanted a path, a webcam index or a URL: standard input can't be a source"));
        }
        match text.split_once("://") {
            Some((scheme, path)) if scheme.eq_ignore_ascii_case("file") => {
                let decoded = Url::parse(text).ok().and_then(|url| url.to_file_path().ok());
                let decoded = decoded.and_then(|path| path.into_os_string().into_string().ok());
                Ok(Self::Path(decoded.unwrap_or_else(|| path.to_owned())))
            }
            Some((scheme, _)) if is_scheme(scheme) => StreamUrl::parse(text).map(Self::Stream),
            _ => match counted_pattern(text).filter(|_| !Path::new(text).exists()) {
                Some(glob) => {
                    Err(wrong(format!("found the numbered pattern {text:?}, wanted a glob such as {glob:?}")))
                }
                None => Ok(Self::Path(text.to_owned())),
            },
        }
    }
}

/// The glob for a pattern with a number in it as FFmpeg writes it, `frame_%04d.jpg`.
fn counted_pattern(text: &str) -> Option<String> {
    let (before, rest) = text.split_once('%')?;
    let after = rest.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix('d')?;
    // `50%done.avi` is a name.
    (!after.starts_with(char::is_alphanumeric)).then(|| format!("{before}*{after}"))
}

impl fmt::Display for SourceSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Webcam(index) => write!(f, "webcam:{index}"),
            Self::Stream(url) => f.write_str(url.shown()),
            Self::Pipeline(pipeline) => f.write_str(pipeline.shown()),
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
    url: Url,
}

impl StreamUrl {
    /// Reads a URL; the text of the error doesn't repeat it.
    pub(super) fn parse(text: &str) -> Result<Self, VisionError> {
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
        Ok(Self { secret: text.to_owned(), shown: shown(&url), scheme, url })
    }

    /// The URL without user name, password, fragment, and the values of parameters whose names sound secret.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// The URL for FFmpeg and nothing else. FFmpeg takes RTSP's transport from the end of the query and says the rest
    /// to the camera; a process has one environment for all cameras, so OpenCV's own variable is no way.
    pub(super) fn for_library(&self, transport: RtspTransport) -> String {
        let is_rtsp = self.scheme.starts_with("rtsp");
        let mark = if self.url.query().is_some() { '&' } else { '?' };
        match transport {
            RtspTransport::Udp if is_rtsp => format!("{}{mark}udp", self.secret.split('#').next().unwrap_or_default()),
            _ => self.secret.clone(),
        }
    }

    /// In lower case.
    pub(super) fn scheme(&self) -> &str {
        &self.scheme
    }

    /// The host's name or address; empty where there is none.
    pub(super) fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default()
    }

    /// Whether it names a port.
    pub(super) fn has_port(&self) -> bool {
        self.url.port().is_some()
    }

    /// The URL as a server is asked for it: without user, password and fragment.
    pub(super) fn bare(&self) -> Url {
        let mut bare = self.url.clone();
        // It fails for URLs that can't have a user.
        let _ = bare.set_username("");
        let _ = bare.set_password(None);
        bare.set_fragment(None);
        bare
    }

    /// User and password, percent-decoded.
    pub(super) fn credentials(&self) -> Option<(String, String)> {
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let (user, password) = (self.url.username(), self.url.password().unwrap_or_default());
        (!user.is_empty() || !password.is_empty()).then(|| (decoded(user), decoded(password)))
    }

    /// The same with other credentials, as some pipelines have them beside the URL.
    pub(super) fn with_credentials(&self, user: &str, password: &str) -> Self {
        let mut url = self.url.clone();
        let _ = url.set_username(user);
        let _ = url.set_password(Some(password));
        Self { secret: url.to_string(), shown: shown(&url), scheme: self.scheme.clone(), url }
    }

    /// What a line of a library may say of the credentials: as given, as the parser writes them, decoded, and as the
    /// Basic scheme sends them. The longest come first.
    fn secrets(&self) -> Vec<String> {
        let Some((user, password)) = self.credentials() else { return Vec::new() };
        let basic = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
        let (raw_user, raw_password) = (self.url.username(), self.url.password().unwrap_or_default());
        let mut secrets = vec![
            basic,
            format!("{user}:{password}"),
            format!("{raw_user}:{raw_password}"),
            raw_user.to_owned(),
            raw_password.to_owned(),
            user,
            password,
        ];
        // A shorter one would take letters out of innocent words.
        secrets.retain(|secret| secret.len() > 2);
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        secrets
    }

    /// Whether what it names may be a file with an end.
    pub(super) fn may_be_file(&self) -> bool {
        matches!(self.scheme.as_str(), "http" | "https")
    }

    /// A line of a library, fit for showing.
    pub(super) fn hide(&self, line: &str) -> String {
        let mut line = line.replace(&self.secret, &self.shown);
        for secret in self.secrets() {
            line = line.replace(&secret, HIDDEN);
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

pub(super) fn shown(url: &Url) -> String {
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

pub(super) fn is_secret_name(name: &str) -> bool {
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
    fn a_file_with_an_exclamation_mark_between_blanks_is_a_file_where_it_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hall ! door.mp4").to_str().unwrap().to_owned();
        assert_eq!(SourceSpec::parse(&path).unwrap_err().kind(), VisionErrorKind::Config, "no such file: a pipeline");
        std::fs::write(&path, "x").unwrap();
        assert_eq!(SourceSpec::parse(&path).unwrap(), SourceSpec::Path(path.clone()));
    }

    #[test]
    fn numbered_patterns_and_standard_input_are_refused_with_the_way_out() {
        let error = SourceSpec::parse("in/frame_%04d.jpg").unwrap_err().to_string();
        assert!(error.contains("\"in/frame_*.jpg\""), "{error}");
        let error = SourceSpec::parse("-").unwrap_err().to_string();
        assert!(error.contains("standard input can't be a source"), "{error}");
        for path in ["100%.mp4", "a%x.mp4", "50%done.avi", "%d"] {
            let found = SourceSpec::parse(path);
            assert_eq!(found.is_ok(), path != "%d", "{path}");
        }
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
        let SourceSpec::Stream(url) = SourceSpec::parse("rtsp://ad%40min:s3%2Fcret@cam/1").unwrap() else {
            panic!("wanted a stream");
        };
        for line in ["user ad@min, password s3/cret", "ad%40min:s3%2Fcret", "Basic YWRAbWluOnMzL2NyZXQ="] {
            let hidden = url.hide(line);
            assert!(!["s3", "min", "YWRA"].iter().any(|part| hidden.contains(part)), "{hidden}");
        }
    }

    #[test]
    fn ffmpeg_reads_the_transport_at_the_end_of_the_query() {
        let told = |text: &str, transport| StreamUrl::parse(text).unwrap().for_library(transport);
        assert_eq!(told("rtsp://u:p@cam/1", RtspTransport::Udp), "rtsp://u:p@cam/1?udp");
        assert_eq!(told("rtsp://cam/1?a=b#c", RtspTransport::Udp), "rtsp://cam/1?a=b&udp");
        assert_eq!(told("rtsp://cam/1", RtspTransport::Tcp), "rtsp://cam/1");
        assert_eq!(told("http://cam/1", RtspTransport::Udp), "http://cam/1");
    }
}
