//! The build of OpenCV, for `rva doctor`.

/// The OpenCV that this program runs with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenCvDescription {
    /// The version: `4.6.0`.
    pub version: String,
    /// The version of the libavcodec of its FFmpeg; `None` where it was built without, so that it opens no video.
    pub avcodec: Option<String>,
    /// Set where it was built with GStreamer.
    pub has_gstreamer: bool,
}

/// Asks OpenCV for its version and back ends.
pub fn opencv_description() -> OpenCvDescription {
    let text = opencv::core::get_build_information().unwrap_or_default();
    let version = opencv::core::get_version_string().unwrap_or_default();
    OpenCvDescription { version, avcodec: avcodec(&text), has_gstreamer: yes(&text, "GStreamer:").is_some() }
}

/// Returns the text that follows `NAME   YES` in the build information.
fn yes<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.trim().strip_prefix(name)?.trim().strip_prefix("YES").map(str::trim))
}

fn avcodec(text: &str) -> Option<String> {
    yes(text, "FFMPEG:")?;
    Some(yes(text, "avcodec:").unwrap_or_default().trim_matches(['(', ')']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_video_back_ends_are_read_from_the_build_information() {
        let text = "  Video I/O:\n    FFMPEG:                      YES\n      avcodec:                   YES (59.37.100)\n    GStreamer:                   NO\n";
        assert_eq!(avcodec(text).as_deref(), Some("59.37.100"));
        assert_eq!(yes(text, "GStreamer:"), None);
        assert_eq!(avcodec("    FFMPEG:                      NO\n"), None);
    }

    #[test]
    fn the_opencv_of_this_machine_has_a_version_and_reads_video() {
        let found = opencv_description();
        assert!(found.version.starts_with(|c: char| c.is_ascii_digit()), "{found:?}");
        assert!(found.avcodec.is_some_and(|version| version.contains('.')));
    }
}
