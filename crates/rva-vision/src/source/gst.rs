//! GStreamer pipelines as sources: `gst:rtspsrc location=rtsp://… ! … ! appsink`.

use super::{StreamUrl, probe, spec::hide};
use crate::{VisionError, VisionErrorKind, opencv_description};
use rva_types::{pipeline_properties, shown_source};
use std::{fmt, time::Duration};

/// A pipeline that may hold credentials. It has no `Display`; its `Debug` shows what [`GstPipeline::shown`] does.
#[derive(Clone, PartialEq, Eq)]
pub struct GstPipeline {
    secret: String,
    shown: String,
}

impl GstPipeline {
    /// Reads `gst:…`, or a text with ` ! ` in it, as OpenCV's users write it.
    pub(super) fn parse(text: &str) -> Result<Self, VisionError> {
        let secret = text.strip_prefix("gst:").unwrap_or(text).trim().to_owned();
        let shown = shown_source(&format!("gst:{secret}"));
        let last = secret.rsplit('!').next().unwrap_or_default().trim();
        if last.split_whitespace().next().is_none_or(|element| element != "appsink") {
            return Err(VisionError::new(
                VisionErrorKind::Config,
                format!(
                    "{shown}: found a GStreamer pipeline without an appsink at its end, wanted … ! videoconvert ! appsink"
                ),
            ));
        }
        Ok(Self { secret, shown })
    }

    /// Returns the pipeline as it may be shown, as [`rva_types::shown_source`] decides it.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// Returns the pipeline for GStreamer and nothing else.
    pub(super) fn secret(&self) -> &str {
        &self.secret
    }

    /// Says what is wrong with it before OpenCV does, which can't say why.
    ///
    /// # Errors
    /// Returns [`VisionErrorKind::Config`] for an OpenCV without GStreamer, an element that isn't installed, or a
    /// property that isn't one; and the trouble of the stream that it names.
    pub(super) fn check(&self, timeout: Duration) -> Result<(), VisionError> {
        let wrong = |text: String| Err(VisionError::new(VisionErrorKind::Config, format!("{}: {text}", self.shown)));
        if !opencv_description().has_gstreamer {
            return wrong("found an OpenCV that was built without GStreamer, wanted one with it".to_owned());
        }
        if let Some(found) = library::complaint(&self.secret) {
            let found = self.hide(&found);
            return wrong(format!(
                "found that GStreamer can't build it ({found}), wanted a pipeline of elements that are installed \
                 (gstreamer1.0-plugins-base, -good, -bad, -libav)"
            ));
        }
        match self.stream() {
            // What is odd there GStreamer judges.
            Some(url) => probe::probe(&url, timeout).map(drop),
            None => Ok(()),
        }
    }

    /// Returns a line of a library about it, fit for showing.
    pub(super) fn hide(&self, line: &str) -> String {
        hide(&format!("gst:{}", self.secret), line)
    }

    /// Returns the RTSP or HTTP stream that it reads, with the credentials beside it.
    pub(super) fn stream(&self) -> Option<StreamUrl> {
        let properties = pipeline_properties(&self.secret);
        let value = |name: &str| properties.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str());
        let url = StreamUrl::parse(value("location").or_else(|| value("uri"))?).ok()?;
        match (value("user-id"), value("user-pw")) {
            (None, None) => Some(url),
            (user, password) => Some(url.with_credentials(user.unwrap_or_default(), password.unwrap_or_default())),
        }
    }
}

impl fmt::Debug for GstPipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GstPipeline({})", self.shown)
    }
}

/// Asks GStreamer's own parser, loaded when it is needed: OpenCV brings GStreamer with it, and no headers of it are needed.
#[allow(unsafe_code, reason = "functions of a C library, found at run time")]
mod library {
    use std::{
        ffi::{CStr, CString, c_char, c_int, c_uint, c_void},
        ptr::null_mut,
    };

    /// The layout of GLib's `GError`.
    #[repr(C)]
    struct Error {
        domain: c_uint,
        code: c_int,
        message: *mut c_char,
    }

    type InitCheck = unsafe extern "C" fn(*mut c_int, *mut c_void, *mut *mut Error) -> c_int;
    type ParseLaunch = unsafe extern "C" fn(*const c_char, *mut *mut Error) -> *mut c_void;
    type Release = unsafe extern "C" fn(*mut c_void);

    /// The name by which OpenCV asks for GStreamer.
    const LIBRARY: &CStr = c"libgstreamer-1.0.so.0";

    /// Returns GStreamer's complaint about a pipeline; `None` where it can be built, and where GStreamer isn't found.
    pub(super) fn complaint(pipeline: &str) -> Option<String> {
        let text = CString::new(pipeline).ok()?;
        // SAFETY: the name is a C string. It stays loaded: OpenCV needs it next.
        let library = unsafe { libc::dlopen(LIBRARY.as_ptr(), libc::RTLD_NOW) };
        if library.is_null() {
            return None;
        }
        let find = |name: &CStr| {
            // SAFETY: the name is a C string, and the handle is that of a library that stays loaded.
            let address = unsafe { libc::dlsym(library, name.as_ptr()) };
            (!address.is_null()).then_some(address)
        };
        let (init, parse) = (find(c"gst_init_check")?, find(c"gst_parse_launch")?);
        let (unref, free) = (find(c"gst_object_unref")?, find(c"g_error_free")?);
        let mut error: *mut Error = null_mut();
        // SAFETY: the addresses are those of the functions of these names, whose signatures have been these since
        // GStreamer 1.0. gst_init_check takes null for arguments; it may be called often and by any thread. What
        // gst_parse_launch gives is owned: the element is unreferenced once, the error is freed once after its text,
        // which GLib ends with a zero, was copied.
        unsafe {
            std::mem::transmute::<*mut c_void, InitCheck>(init)(null_mut(), null_mut(), null_mut());
            let element = std::mem::transmute::<*mut c_void, ParseLaunch>(parse)(text.as_ptr(), &mut error);
            if !element.is_null() {
                std::mem::transmute::<*mut c_void, Release>(unref)(element);
            }
            if error.is_null() {
                return None;
            }
            let message = CStr::from_ptr((*error).message).to_string_lossy().into_owned();
            std::mem::transmute::<*mut c_void, Release>(free)(error.cast());
            Some(message)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SourceSpec;

    #[test]
    fn credentials_of_pipelines_are_never_shown() {
        let text = "rtspsrc location=rtsp://admin:s3cret@cam:554/1 user-id=admin user-pw=s3cret latency=0 ! decodebin ! appsink";
        let spec = SourceSpec::parse(text).unwrap();
        let wanted = "gst:rtspsrc location=rtsp://cam:554/1 user-id=*** user-pw=*** latency=0 ! decodebin ! appsink";
        assert_eq!(spec.to_string(), wanted);
        assert!(!format!("{spec:?}").contains("s3cret"));
        let SourceSpec::Pipeline(pipeline) = spec else { panic!("wanted a pipeline") };
        assert_eq!(pipeline.stream().unwrap().credentials(), Some(("admin".into(), "s3cret".into())));
        assert_eq!(SourceSpec::parse(&format!("gst:{text}")).unwrap(), SourceSpec::Pipeline(pipeline));
        let text =
            "souphttpsrc location = \"http://cam/a b\" user-id='ad min' user-pw=\"s3 \\\"cret\" ! decodebin ! appsink";
        let SourceSpec::Pipeline(pipeline) = SourceSpec::parse(text).unwrap() else { panic!("wanted a pipeline") };
        assert_eq!(pipeline.stream().unwrap().credentials(), Some(("ad min".into(), "s3 \"cret".into())));
        let line = pipeline.hide("could not set property \"user-pw\" to \"s3 \"cret\" (Basic YWQgbWluOnMzICJjcmV0)");
        assert!(!line.contains("s3") && !line.contains("cret"), "{line}");
    }

    #[test]
    fn a_pipeline_without_its_end_is_refused() {
        for text in ["gst:videotestsrc", "videotestsrc ! fakesink", "gst:", "a ! b.mp4"] {
            let error = SourceSpec::parse(text).unwrap_err();
            assert_eq!(error.kind(), VisionErrorKind::Config, "{text}");
            assert!(error.to_string().contains("appsink"), "{error}");
        }
    }
}
