//! Catches what FFmpeg and OpenCV would print on stderr, for two reasons: their lines may hold a URL with its password,
//! and they say why something can't be opened, where OpenCV only says that it can't.
//!
//! FFmpeg has one log callback for the process. OpenCV installs its own only if `OPENCV_FFMPEG_DEBUG` or
//! `OPENCV_FFMPEG_LOGLEVEL` is set: who sets them wants to see everything, and does.

use std::{
    cell::RefCell,
    ffi::{CStr, c_char, c_int, c_void},
    sync::{
        Once,
        atomic::{AtomicPtr, Ordering},
    },
};

/// Lines that one call may leave; the first ones name the cause, later ones are dropped.
const LINES_MAX: usize = 8;
/// Bytes of a line, with its end.
const LINE_BYTES_MAX: usize = 512;
/// FFmpeg's `AV_LOG_ERROR`: lines above are warnings and chatter.
const AV_LOG_ERROR: c_int = 16;
/// FFmpeg's `AV_LOG_WARNING`.
const AV_LOG_WARNING: c_int = 24;
/// How the one warning begins that is an answer: 401, 404, 503.
const HTTP_ANSWER: &str = "HTTP error";

thread_local! {
    /// Lines of the call that this thread is in; `None` outside of one, and in FFmpeg's own threads.
    static HEARD: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

/// Runs a call of the libraries and gives back what they complained about on this thread.
pub(crate) fn listen<T>(call: impl FnOnce() -> T) -> (T, Vec<String>) {
    quiet();
    HEARD.with(|heard| *heard.borrow_mut() = Some(Vec::new()));
    let answer = call();
    let lines = HEARD.with(|heard| heard.borrow_mut().take()).unwrap_or_default();
    (answer, lines)
}

/// Takes stderr from the libraries, once.
fn quiet() {
    static QUIET: Once = Once::new();
    QUIET.call_once(|| {
        if std::env::var_os("OPENCV_LOG_LEVEL").is_none()
            && let Err(error) = opencv::core::set_log_level(opencv::core::LogLevel::LOG_LEVEL_SILENT)
        {
            tracing::debug!(%error, "leave opencv's log level as it is");
        }
        ffmpeg::catch_log();
    });
}

fn hear(line: &str) {
    let line = line.trim();
    // A thread that is ending has no place for lines any more.
    let _ = HEARD.try_with(|heard| {
        if let Ok(mut heard) = heard.try_borrow_mut()
            && let Some(lines) = heard.as_mut()
            && lines.len() < LINES_MAX
            && !line.is_empty()
            && lines.last().is_none_or(|last| last != line)
        {
            lines.push(line.to_owned());
        }
    });
}

/// FFmpeg's log functions, found at run time: OpenCV brings FFmpeg with it, and no headers of it are needed.
#[allow(unsafe_code)]
mod ffmpeg {
    use super::*;

    /// A C `va_list` argument, passed on and never looked into. On every platform that OpenCV runs on it travels as
    /// one pointer-sized argument.
    type VaList = *mut c_void;
    type Callback = unsafe extern "C" fn(*mut c_void, c_int, *const c_char, VaList);
    type SetCallback = unsafe extern "C" fn(Callback);
    type FormatLine =
        unsafe extern "C" fn(*mut c_void, c_int, *const c_char, VaList, *mut c_char, c_int, *mut c_int) -> c_int;

    static FORMAT_LINE: AtomicPtr<c_void> = AtomicPtr::new(std::ptr::null_mut());

    pub(super) fn catch_log() {
        // SAFETY: both names are constant C strings, and RTLD_DEFAULT is a valid handle.
        let (set, format) = unsafe {
            (
                libc::dlsym(libc::RTLD_DEFAULT, c"av_log_set_callback".as_ptr()),
                libc::dlsym(libc::RTLD_DEFAULT, c"av_log_format_line2".as_ptr()),
            )
        };
        if set.is_null() || format.is_null() {
            tracing::debug!("leave ffmpeg's log as it is: found no av_log_set_callback in this process");
            return;
        }
        FORMAT_LINE.store(format, Ordering::Release);
        // SAFETY: `set` is the address of av_log_set_callback(void (*)(void*, int, const char*, va_list)), which has
        // had this signature since FFmpeg 0.6; `on_line` has it, is never unloaded, and may be called by any thread.
        unsafe { std::mem::transmute::<*mut c_void, SetCallback>(set)(on_line) };
    }

    unsafe extern "C" fn on_line(context: *mut c_void, level: c_int, format: *const c_char, arguments: VaList) {
        if level & 0xff > AV_LOG_WARNING {
            return;
        }
        let format_line = FORMAT_LINE.load(Ordering::Acquire);
        if format_line.is_null() {
            return;
        }
        let mut line = [0 as c_char; LINE_BYTES_MAX];
        let mut has_prefix: c_int = 0;
        // SAFETY: FORMAT_LINE holds the address of av_log_format_line2, whose signature is FormatLine. The first four
        // arguments are FFmpeg's own, valid for this call and used once; the buffer is as long as is said, and
        // FFmpeg ends it with a zero.
        let line = unsafe {
            std::mem::transmute::<*mut c_void, FormatLine>(format_line)(
                context,
                level,
                format,
                arguments,
                line.as_mut_ptr(),
                LINE_BYTES_MAX as c_int,
                &mut has_prefix,
            );
            CStr::from_ptr(line.as_ptr())
        };
        let line = line.to_string_lossy();
        if level & 0xff <= AV_LOG_ERROR || line.starts_with(HTTP_ANSWER) {
            hear(&line);
        }
    }
}
