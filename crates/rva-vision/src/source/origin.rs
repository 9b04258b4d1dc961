//! The server that requests of a stream may go to: that of its URL.
//!
//! A server's answer (a playlist, a redirection, a description) names URLs, and FFmpeg asks for each of them: a hostile
//! one could make this machine ask any other in its network.

/// A server: the scheme, the host in lower case, and the port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Origin {
    scheme: String,
    host: String,
    port: Option<u32>,
}

impl Origin {
    /// Returns the origin of an absolute URL, taken apart as FFmpeg does (`av_url_split`); `None` where FFmpeg and
    /// others could read another host in it.
    pub(super) fn of(url: &str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
        let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
        let is_plain = |c: char| c.is_ascii_graphic() && c != '\\';
        if !is_scheme || !authority.chars().all(is_plain) {
            return None;
        }
        let server = authority.rsplit('@').next().unwrap_or_default();
        let (host, port) = match server.strip_prefix('[') {
            Some(inner) => {
                let (host, rest) = inner.split_once(']')?;
                (host, rest.strip_prefix(':').or_else(|| rest.is_empty().then_some(""))?)
            }
            None => server.split_once(':').unwrap_or((server, "")),
        };
        let scheme = scheme.to_ascii_lowercase();
        let port = if port.is_empty() { usual_port(&scheme) } else { Some(port.parse().ok()?) };
        Some(Self { host: host.to_ascii_lowercase(), port, scheme })
    }

    /// Returns whether an answer of this server may make FFmpeg ask for `url`, which may be relative to a URL of the
    /// server.
    pub(super) fn allows(&self, url: &str) -> bool {
        if url.starts_with("//") || url.starts_with(['\\', ' ', '\t']) {
            return false;
        }
        // What has no scheme is relative; a colon behind a slash is part of a path.
        let is_relative = url.split(['/', '?', '#']).next().is_none_or(|first| !first.contains(':'));
        // Data within the URL, and decryption, which asks through here again.
        let inner = ["crypto+", "crypto:"].iter().find_map(|wrapper| url.strip_prefix(wrapper)).unwrap_or(url);
        is_relative || url.starts_with("data:") || Self::of(inner).is_some_and(|other| self.is(&other))
    }

    /// Returns whether another is the same server, or the same host by its encrypted protocol's usual port instead of
    /// the plain one's.
    fn is(&self, other: &Self) -> bool {
        let is_upgrade = other.scheme == format!("{}s", self.scheme)
            && self.port == usual_port(&self.scheme)
            && other.port == usual_port(&other.scheme);
        self == other || self.host == other.host && is_upgrade
    }
}

fn usual_port(scheme: &str) -> Option<u32> {
    Some(match scheme {
        "http" => 80,
        "https" => 443,
        "rtsp" => 554,
        "rtsps" => 322,
        "rtmp" => 1935,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_go_to_the_same_server_alone() {
        let origin = Origin::of("http://user:p@ss@Cam.example:8080/live/a.m3u8?x=1").unwrap();
        for url in [
            "b.ts",
            "/b.ts",
            "?x=http://other/",
            "sub/c:d.ts",
            "http://cam.example:8080/b.ts",
            "HTTP://user:p@ss@cam.example:8080",
            "crypto+http://cam.example:8080/key.ts",
            "data:text/plain;base64,AA==",
        ] {
            assert!(origin.allows(url), "{url}");
        }
        for url in [
            "http://other.example:8080/b.ts",
            "http://cam.example/b.ts",
            "http://cam.example:8081/b.ts",
            "https://cam.example:8080/b.ts",
            "//other.example/b.ts",
            "http://cam.example:8080@other.example/",
            "http://other.example\\@cam.example:8080/",
            "http://cam.example:8080\\@other.example/",
            "file:///etc/passwd",
            "file:/etc/passwd",
            "tcp://cam.example:8080",
            "rtp://cam.example:8080/",
            "crypto+http://other.example:8080/key.ts",
            "concat:http://cam.example:8080/a|http://other/",
            "subfile,,start,0,end,9,,:http://other/",
            "async:http://other/",
            "http:other.example/",
            "\thttp://other/",
            "http://[::1]:8080/",
        ] {
            assert!(!origin.allows(url), "{url}");
        }
        let plain = Origin::of("http://cam/1").unwrap();
        assert!(plain.allows("https://cam/1") && plain.allows("http://cam:80/2"));
        assert!(!plain.allows("https://cam:8443/1") && !plain.allows("https://other/1"));
        let six = Origin::of("rtsp://[::1]:8554/1").unwrap();
        assert!(
            six.allows("rtsp://[::1]:8554/2") && !six.allows("rtsp://[::2]:8554/2") && !six.allows("rtsp://[::1]x/")
        );
    }
}
