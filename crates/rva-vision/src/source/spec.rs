//! The name of a source: a webcam index, a URL, or a path.

use super::GstPipeline;
use crate::{VisionError, VisionErrorKind};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use rva_types::{HIDDEN, redact, secrets_of, shown_source};
use std::{fmt, path::Path};
use url::Url;

/// The schemes that FFmpeg opens as a stream.
const SCHEMES: [&str; 13] =
    ["rtsp", "rtsps", "rtmp", "rtmps", "http", "https", "hls", "mms", "mmsh", "rtp", "srt", "tcp", "udp"];

/// The source of frames. Neither its text nor its `Debug` form shows credentials.
#[derive(Clone, PartialEq, Eq)]
pub enum SourceSpec {
    /// A local camera by its number.
    Webcam(u32),
    /// A stream or a remote file.
    Stream(StreamUrl),
    /// A GStreamer pipeline.
    Pipeline(GstPipeline),
    /// A video file, an image, a folder of images or of videos, or a pattern (`*`, `?`, `[…]`) that some match. The
    /// files on disk decide which one it is when it is opened.
    Path(String),
}

impl SourceSpec {
    /// Reads a source as a user writes it: `0`, `rtsp://…`, `video.mp4`, `images/`, `images/*.jpg`, and, with `gst:` in
    /// front or ` ! ` in it, a GStreamer pipeline that ends in `appsink`.
    ///
    /// # Errors
    /// Returns [`VisionErrorKind::Config`] for an empty text, a pipeline without its end or a URL that can't be read.
    /// The text of the error doesn't repeat the URL.
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
        if let Some(scheme) = misspelt(text) {
            let wanted =
                wrong(format!("found {scheme} twice, or without its two slashes, wanted {scheme}://host/path"));
            return Err(wanted);
        }
        match text.split_once("://") {
            Some((scheme, path)) if scheme.eq_ignore_ascii_case("file") => {
                let decoded = Url::parse(text).ok().and_then(|url| url.to_file_path().ok());
                let decoded = decoded.and_then(|path| path.into_os_string().into_string().ok());
                Ok(Self::Path(decoded.unwrap_or_else(|| path.to_owned())))
            }
            Some((scheme, _)) if is_scheme(scheme) => StreamUrl::parse(text).map(Self::Stream),
            _ => match numbered(text).filter(|_| !Path::new(text).exists()) {
                Some(glob) => {
                    let text = shown_source(text);
                    Err(wrong(format!(
                        "found the numbered pattern {text:?}, wanted a glob in quotes, such as {glob:?}"
                    )))
                }
                None => Ok(Self::Path(text.to_owned())),
            },
        }
    }
}

/// Returns the glob for a pattern with a number in it as FFmpeg and OpenCV write it, `frame_%04d.jpg`; `None` for
/// other texts.
fn numbered(text: &str) -> Option<String> {
    let (before, rest) = text.split_once('%')?;
    let after = rest.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix(['d', 'i'])?;
    // `50%done.avi` is a name.
    (!after.starts_with(char::is_alphanumeric)).then(|| format!("{before}*{after}"))
}

impl SourceSpec {
    /// Adds a login, where it is a stream whose URL names none. Other sources know no login, and pipelines have
    /// properties for theirs.
    pub fn with_login(self, user: &str, password: &str) -> Self {
        match self {
            Self::Stream(url) if url.credentials().is_none() => Self::Stream(url.with_credentials(user, password)),
            other => other,
        }
    }
}

impl fmt::Display for SourceSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Webcam(index) => write!(f, "webcam:{index}"),
            Self::Stream(url) => f.write_str(url.shown()),
            Self::Pipeline(pipeline) => f.write_str(pipeline.shown()),
            Self::Path(path) => f.write_str(&shown_source(path)),
        }
    }
}

impl fmt::Debug for SourceSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Webcam(index) => f.debug_tuple("Webcam").field(index).finish(),
            Self::Stream(url) => f.debug_tuple("Stream").field(url).finish(),
            Self::Pipeline(pipeline) => f.debug_tuple("Pipeline").field(pipeline).finish(),
            Self::Path(path) => f.debug_tuple("Path").field(&shown_source(path)).finish(),
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
            let scheme = shown_source(&scheme);
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
        Ok(Self { secret: text.to_owned(), shown: shown_source(text), scheme, url })
    }

    /// Returns the URL as it may be shown, as [`rva_types::shown_source`] decides it.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// Returns the URL for FFmpeg and nothing else.
    pub(super) fn for_library(&self) -> String {
        self.secret.clone()
    }

    /// Returns the scheme in lower case.
    pub(super) fn scheme(&self) -> &str {
        &self.scheme
    }

    /// Returns the host's name or address; empty where there is none.
    pub(super) fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default()
    }

    /// Returns whether it names a port.
    pub(super) fn has_port(&self) -> bool {
        self.url.port().is_some()
    }

    /// Returns the URL as a server is asked for it: without user, password and fragment.
    pub(super) fn bare(&self) -> Url {
        let mut bare = self.url.clone();
        // It fails for URLs that can't have a user.
        let _ = bare.set_username("");
        let _ = bare.set_password(None);
        bare.set_fragment(None);
        bare
    }

    /// Returns user and password, percent-decoded.
    pub(super) fn credentials(&self) -> Option<(String, String)> {
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let (user, password) = (self.url.username(), self.url.password().unwrap_or_default());
        (!user.is_empty() || !password.is_empty()).then(|| (decoded(user), decoded(password)))
    }

    /// Returns the URL with other credentials, as some pipelines have them beside the URL.
    pub(super) fn with_credentials(&self, user: &str, password: &str) -> Self {
        let mut url = self.url.clone();
        // The parser would leave a percent sign of a password as it is.
        let encoded = |text| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let _ = url.set_username(&encoded(user));
        let _ = url.set_password(Some(&encoded(password)));
        let secret = url.to_string();
        Self { shown: shown_source(&secret), secret, scheme: self.scheme.clone(), url }
    }

    /// Returns whether it may name a file with an end.
    pub(super) fn may_be_file(&self) -> bool {
        matches!(self.scheme.as_str(), "http" | "https")
    }

    /// Returns a line of a library, fit for showing.
    pub(super) fn hide(&self, line: &str) -> String {
        hide(&self.secret, line)
    }
}

/// Returns a line of a library about a source, fit for showing: without the source's own secrets in any form, and
/// without anything that looks like one, since the libraries rewrite URLs (another scheme, a port).
pub(super) fn hide(source: &str, line: &str) -> String {
    let line = line.replace(source, &shown_source(source));
    let line = secrets_of(source).iter().fold(line, |line, secret| line.replace(secret, HIDDEN));
    redact(&line).trim_end().to_owned()
}

impl fmt::Debug for StreamUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StreamUrl({})", self.shown)
    }
}

/// Returns whether a path is a pattern.
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

/// Returns the scheme of a stream that is written with one slash, or before another one: FFmpeg would take it for a
/// file, and show it whole.
fn misspelt(text: &str) -> Option<String> {
    let (scheme, rest) = text.split_once(':')?;
    let scheme = scheme.to_ascii_lowercase();
    let is_ours = SCHEMES.contains(&scheme.as_str());
    (is_ours && !rest.starts_with("//") && (rest.starts_with(['/', '\\']) || rest.contains("://"))).then_some(scheme)
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
        let forced = SourceSpec::parse("gst:videotestsrc ! appsink").unwrap();
        assert!(matches!(forced, SourceSpec::Pipeline(_)));
    }

    #[test]
    fn numbered_patterns_and_standard_input_are_refused_with_the_way_out() {
        for (given, glob) in [
            ("in/frame_%04d.jpg", "\"in/frame_*.jpg\""),
            ("%d.png", "\"*.png\""),
            ("a%i.png", "\"a*.png\""),
            ("%05d", "\"*\""),
        ] {
            let error = SourceSpec::parse(given).unwrap_err();
            assert_eq!(error.kind(), VisionErrorKind::Config);
            assert!(error.to_string().contains(glob), "{error}");
        }
        let error = SourceSpec::parse("-").unwrap_err().to_string();
        assert!(error.contains("standard input can't be a source"), "{error}");
        for path in ["100%.mp4", "a%x.mp4", "50%done.avi", "a%20b.mp4"] {
            assert_eq!(SourceSpec::parse(path).unwrap(), SourceSpec::Path(path.to_owned()));
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("50%d.avi").to_str().unwrap().to_owned();
        std::fs::write(&path, "x").unwrap();
        assert_eq!(SourceSpec::parse(&path).unwrap(), SourceSpec::Path(path.clone()), "a file that is there");
    }

    #[test]
    fn credentials_are_never_shown() {
        let cases = [
            ("rtsp://admin:s3cret@cam:554/ch1", "rtsp://cam:554/ch1"),
            ("rtsp://admin@10.0.0.7/ch1?channel=1&subtype=0", "rtsp://10.0.0.7/ch1?channel=1&subtype=0"),
            ("http://cam/v.mjpg?user=bob&pwd=s3cret&w=640", "http://cam/v.mjpg?user=***&pwd=***&w=640"),
            ("https://host/a.m3u8?X-Amz-Signature=s3cret#t", "https://host/a.m3u8?X-Amz-Signature=***"),
            ("rtsp://cam/user=admin_password=s3cret_channel=1/x", "rtsp://cam/user=***"),
            ("rtsp://u:p@s3cret@cam/1", "rtsp://cam/1"),
            ("rtsp://admin:12/s3cret@cam/1", "rtsp://***"),
        ];
        for (given, wanted) in cases {
            assert_eq!(shown_of(given), wanted);
            let spec = SourceSpec::parse(given).unwrap();
            let debug = format!("{spec:?}");
            assert!(!debug.contains("s3cret") && !debug.contains("admin:"), "{debug}");
        }
    }

    #[test]
    fn a_login_from_elsewhere_is_that_of_streams_without_one() {
        let spec = |text: &str| SourceSpec::parse(text).unwrap();
        let SourceSpec::Stream(url) = spec("rtsp://cam/1?channel=2").with_login("ad min", "50%40/s3@") else {
            panic!("wanted a stream");
        };
        assert_eq!(url.credentials(), Some(("ad min".into(), "50%40/s3@".into())));
        assert_eq!(url.for_library(), "rtsp://ad%20min:50%2540%2Fs3%40@cam/1?channel=2");
        assert_eq!(url.shown(), "rtsp://cam/1?channel=2");
        for text in ["rtsp://me:own@cam/1", "clip.mp4", "0", "gst:videotestsrc ! appsink"] {
            assert_eq!(spec(text).with_login("u", "p"), spec(text), "{text}");
        }
    }

    #[test]
    fn errors_about_urls_do_not_repeat_them() {
        for (given, wanted) in [
            ("rtsp://admin:s3?cret@cam/1", "percent-encoded"),
            ("gopher://admin:s3cret@cam/1", "\"gopher\", wanted one of rtsp"),
            ("rtsp:///s3cret", "without a host"),
            ("rtsp:/admin:s3cret@cam/1", "without its two slashes, wanted rtsp://host"),
            ("rtsp:rtsp://admin:s3cret@cam/1", "found rtsp twice"),
            ("HTTP:\\\\admin:s3cret@cam", "wanted http://host"),
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
        let path = SourceSpec::parse("./rtsp://admin:s3cret@cam/1").unwrap();
        assert!(!format!("{path} {path:?}").contains("s3cret"), "{path:?}");
        let SourceSpec::Stream(url) = SourceSpec::parse("rtsp://ad%40min:s3%2Fcret@cam/1").unwrap() else {
            panic!("wanted a stream");
        };
        for line in ["user ad@min, password s3/cret", "ad%40min:s3%2Fcret", "Basic YWRAbWluOnMzL2NyZXQ="] {
            let hidden = url.hide(line);
            assert!(!["s3", "min", "YWRA"].iter().any(|part| hidden.contains(part)), "{hidden}");
        }
    }
}
