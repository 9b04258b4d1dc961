//! The lines that FFmpeg and OpenCV would print on stderr, caught for two reasons: they may hold a URL with its
//! password, and they say why something can't be opened, where OpenCV only says that it can't.
//!
//! FFmpeg has one log callback for the process, and each line is called out on the thread that it is about: so many
//! cameras listen at once, and nobody's stderr is touched. Lines of FFmpeg's decoding threads find their camera by the
//! name of the thread (FFmpeg 6 and later names its threads itself: then they are lost).

use super::origin::Origin;
use std::{
    cell::RefCell,
    collections::HashMap,
    ffi::{CStr, c_char, c_int, c_void},
    sync::{
        Arc, LazyLock, Mutex, MutexGuard, Once, PoisonError, Weak,
        atomic::{AtomicPtr, AtomicU32, Ordering},
    },
};

/// The number of lines that one call may leave; the first ones name the cause, later ones are dropped.
const LINES_MAX: usize = 8;
/// The bytes of a line, with its end.
const LINE_BYTES_MAX: usize = 512;
/// The number of FFmpeg's `AV_LOG_ERROR`: lines above are warnings and chatter.
const AV_LOG_ERROR: c_int = 16;
/// The number of FFmpeg's `AV_LOG_WARNING`.
const AV_LOG_WARNING: c_int = 24;
/// The beginning of the one warning that is an answer: 401, 404, 503.
const HTTP_ANSWER: &str = "HTTP error";
/// The formats in which FFmpeg says where it is going to send a request: what a playlist names, and a redirection of
/// HTTP or RTSP.
const REQUESTS: [&CStr; 3] = [c"Opening '%s' for ", c"header='%s'", c"Status %d: Redirecting to "];
/// The bytes of such a line: FFmpeg's URLs have 4096.
const REQUEST_BYTES_MAX: usize = 8192;
/// The name of threads while FFmpeg starts its own, which inherit it.
const THREAD_NAME: &str = "rva-cap-";
/// The number of ids in such a name: Linux gives one 15 bytes.
const IDS: u32 = 10_000_000;

thread_local! {
    /// The ear whose call this thread is in; `None` outside of one, and in FFmpeg's own threads.
    static LISTENING: RefCell<Option<Arc<Ear>>> = const { RefCell::new(None) };
}

/// The ears by the number in the name of their threads.
static EARS: LazyLock<Mutex<HashMap<u32, Weak<Ear>>>> = LazyLock::new(Mutex::default);

/// An ear that hears the libraries for one capture: on the thread that calls them, and on those that FFmpeg starts for
/// it.
#[derive(Debug)]
pub(crate) struct Ear {
    id: u32,
    heard: Mutex<Heard>,
    /// The only server that may be asked, where that is confined.
    origin: Option<Origin>,
}

#[derive(Debug, Default)]
struct Heard {
    lines: Vec<String>,
    errors: u64,
    refused: Option<String>,
}

impl Ear {
    /// Makes an ear that is known by the name of the threads that are started in [`Ear::listen_to_opening`].
    pub(crate) fn new() -> Arc<Self> {
        Self::confined(None)
    }

    /// Makes an ear that forbids requests of FFmpeg to other servers than that one while it listens.
    pub(super) fn confined(origin: Option<Origin>) -> Arc<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let ear = Arc::new(Self { id: NEXT.fetch_add(1, Ordering::Relaxed) % IDS, heard: Mutex::default(), origin });
        let mut ears = EARS.lock().unwrap_or_else(PoisonError::into_inner);
        ears.retain(|_, ear| ear.strong_count() > 0);
        ears.insert(ear.id, Arc::downgrade(&ear));
        ear
    }

    /// Runs a call of the libraries and returns what they complained about.
    pub(crate) fn listen<T>(self: &Arc<Self>, call: impl FnOnce() -> T) -> (T, Vec<String>) {
        quiet();
        self.heard().lines.clear();
        let before = LISTENING.with(|listening| listening.replace(Some(self.clone())));
        let answer = call();
        LISTENING.with(|listening| listening.replace(before));
        (answer, std::mem::take(&mut self.heard().lines))
    }

    /// Runs the call in which FFmpeg starts its threads, and returns what it complained about.
    pub(crate) fn listen_to_opening<T>(self: &Arc<Self>, call: impl FnOnce() -> T) -> (T, Vec<String>) {
        self.listen(|| thread_name::during(&format!("{THREAD_NAME}{}", self.id), call))
    }

    /// Returns the number of complaints until now.
    pub(crate) fn errors(&self) -> u64 {
        self.heard().errors
    }

    /// Returns the first URL of another server that FFmpeg was told to ask.
    pub(crate) fn refused(&self) -> Option<String> {
        self.heard().refused.clone()
    }

    /// Returns whether a line says that another server is going to be asked.
    fn is_forbidden(&self, line: &str) -> bool {
        let Some((origin, url)) = self.origin.as_ref().zip(requested(line)) else { return false };
        // Longer than a line, its end wasn't seen.
        let is_cut = line.len() + 1 >= REQUEST_BYTES_MAX;
        if !is_cut && origin.allows(url) {
            return false;
        }
        self.heard().refused.get_or_insert_with(|| url.to_owned());
        true
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hear(&self, line: &str) {
        let mut heard = self.heard();
        heard.errors += 1;
        let lines = &mut heard.lines;
        if lines.len() < LINES_MAX && lines.last().is_none_or(|last| last != line) {
            lines.push(line.to_owned());
        }
    }
}

/// Returns the URL that a line of [`REQUESTS`] is about.
fn requested(line: &str) -> Option<&str> {
    if let Some((_, header)) = line.split_once("header='") {
        let (name, value) = header.split_once(':')?;
        let is_location = name.trim().eq_ignore_ascii_case("location");
        return is_location.then(|| value.trim().strip_suffix('\'').unwrap_or(value).trim());
    }
    if let Some((_, url)) = line.split_once("Redirecting to ") {
        return Some(url.trim());
    }
    let (_, opening) = line.split_once("Opening '")?;
    opening.rsplit_once("' for ").map(|(url, _)| url)
}

/// Runs a call of the libraries and returns what they complained about on this thread.
pub(crate) fn listen<T>(call: impl FnOnce() -> T) -> (T, Vec<String>) {
    Ear::new().listen(call)
}

/// Returns the ear that a line on this thread is for.
fn ear() -> Option<Arc<Ear>> {
    // A thread that is ending has no place for lines any more.
    let listening = LISTENING.try_with(|listening| listening.try_borrow().ok()?.clone()).ok().flatten();
    listening.or_else(|| {
        let id = thread_name::get()?.strip_prefix(THREAD_NAME)?.parse().ok()?;
        EARS.lock().unwrap_or_else(PoisonError::into_inner).get(&id)?.upgrade()
    })
}

/// Takes stderr from the libraries, once. OpenCV's own log is silent whatever `OPENCV_LOG_LEVEL` says: it prints URLs.
fn quiet() {
    static QUIET: Once = Once::new();
    QUIET.call_once(|| {
        if let Err(error) = opencv::core::set_log_level(opencv::core::LogLevel::LOG_LEVEL_SILENT) {
            tracing::debug!(%error, "leave opencv's log level as it is");
        }
        // OpenCV would take FFmpeg's log back with each opening, and print URLs with their passwords.
        for name in ["OPENCV_FFMPEG_DEBUG", "OPENCV_FFMPEG_LOGLEVEL"] {
            if std::env::var_os(name).is_some() {
                forget_variable(name);
                tracing::warn!(variable = name, "a variable has no effect: ffmpeg would print credentials");
            }
        }
        ffmpeg::catch_log();
    });
}

#[allow(unsafe_code, reason = "the standard library leaves it to the caller that nobody reads it meanwhile")]
fn forget_variable(name: &str) {
    // SAFETY: taking a variable away moves pointers within the environment and frees nothing on the C libraries of the
    // systems that this runs on, so one that reads it at the same time finds its variable or doesn't; it happens once,
    // before the first video is opened.
    unsafe { std::env::remove_var(name) };
}

/// Sets the system's name of this thread, which threads that it starts inherit: FFmpeg before version 6 gives its own
/// none.
#[cfg(target_os = "linux")]
#[allow(unsafe_code, reason = "prctl has no safe wrapper that takes a name as it is")]
mod thread_name {
    use std::ffi::{CStr, CString, c_char};

    /// The bytes that Linux takes, with the zero at the end.
    const BYTES: usize = 16;

    pub(super) fn get() -> Option<String> {
        let mut name = [0 as c_char; BYTES];
        // SAFETY: PR_GET_NAME writes at most 16 bytes with a zero at the end.
        let answer = unsafe { libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr()) };
        // SAFETY: as above; it was all zeros before.
        (answer == 0).then(|| unsafe { CStr::from_ptr(name.as_ptr()) }.to_string_lossy().into_owned())
    }

    fn set(name: &str) {
        if let Ok(name) = CString::new(name) {
            // SAFETY: PR_SET_NAME reads a C string and cuts it at 15 bytes.
            unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
        }
    }

    pub(super) fn during<T>(name: &str, call: impl FnOnce() -> T) -> T {
        let before = get();
        set(name);
        let answer = call();
        if let Some(before) = before {
            set(&before);
        }
        answer
    }
}

#[cfg(not(target_os = "linux"))]
mod thread_name {
    pub(super) fn get() -> Option<String> {
        None
    }

    pub(super) fn during<T>(_name: &str, call: impl FnOnce() -> T) -> T {
        call()
    }
}

/// Calls FFmpeg's log functions, found at run time: OpenCV brings FFmpeg with it, and no headers of it are needed.
#[allow(unsafe_code, reason = "functions of a C library, found at run time")]
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
        let Some(meaning) = Meaning::of(level & 0xff, format) else { return };
        let Some(ear) = ear() else { return };
        if meaning == Meaning::Request && ear.origin.is_none() {
            return;
        }
        let format_line = FORMAT_LINE.load(Ordering::Acquire);
        if format_line.is_null() {
            return;
        }
        let mut line = [0 as c_char; REQUEST_BYTES_MAX];
        let length = if meaning == Meaning::Request { REQUEST_BYTES_MAX } else { LINE_BYTES_MAX };
        let mut has_prefix: c_int = 0;
        // SAFETY: FORMAT_LINE holds the address of av_log_format_line2, whose signature is FormatLine. The first four
        // arguments are FFmpeg's own, valid for this call and used once; the buffer is at least as long as is said, and
        // FFmpeg ends it with a zero.
        let line = unsafe {
            std::mem::transmute::<*mut c_void, FormatLine>(format_line)(
                context,
                level,
                format,
                arguments,
                line.as_mut_ptr(),
                length as c_int,
                &mut has_prefix,
            );
            CStr::from_ptr(line.as_ptr())
        };
        let whole = line.to_string_lossy();
        let line = whole.trim();
        match meaning {
            Meaning::Request if ear.is_forbidden(&whole) => forbid(context),
            Meaning::Request => {}
            Meaning::Warning if !line.starts_with(HTTP_ANSWER) => {}
            _ if line.is_empty() => {}
            _ => ear.hear(line),
        }
    }

    /// Leaves the context that speaks no protocol, so that the request which it announces fails before it is sent.
    fn forbid(context: *mut c_void) {
        // SAFETY: a context that logs begins with its class, by which its options are found; the strings are constant.
        unsafe { ffmpeg_next::ffi::av_opt_set(context, c"protocol_whitelist".as_ptr(), c"none".as_ptr(), 0) };
    }

    /// The kind of a line.
    #[derive(Clone, Copy, PartialEq, Eq)]
    enum Meaning {
        Error,
        Warning,
        Request,
    }

    impl Meaning {
        /// Tells a line's kind by its level and the text that it is made from, without making it: there are thousands a
        /// second.
        fn of(level: c_int, format: *const c_char) -> Option<Self> {
            let starts = |text: &CStr| {
                let bytes = text.to_bytes();
                // SAFETY: FFmpeg's formats are C strings; strncmp reads no further than the zero of the shorter one.
                !format.is_null() && unsafe { libc::strncmp(format, text.as_ptr(), bytes.len()) == 0 }
            };
            match () {
                _ if level <= AV_LOG_ERROR => Some(Self::Error),
                _ if level <= AV_LOG_WARNING => Some(Self::Warning),
                _ if REQUESTS.iter().any(|request| starts(request)) => Some(Self::Request),
                _ => None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_on_threads_that_an_opening_started_belong_to_it() {
        let (one, other) = (Ear::new(), Ear::new());
        let (worker, _) = one.listen_to_opening(|| std::thread::spawn(|| ear().map(|ear| ear.id)));
        let (elsewhere, _) = other.listen(|| std::thread::spawn(|| ear().map(|ear| ear.id)));
        let wanted = cfg!(target_os = "linux").then_some(one.id);
        assert_eq!((worker.join().unwrap(), elsewhere.join().unwrap()), (wanted, None));
    }

    #[test]
    fn requests_to_another_server_are_told_by_what_ffmpeg_says_before_it_sends_them() {
        let ear = Ear::confined(Origin::of("http://cam:8080/live.m3u8"));
        for line in [
            "[hls @ 0x1] Opening 'http://cam:8080/a.ts' for reading",
            "[http @ 0x1] header='Location: /b.ts'",
            "[http @ 0x1] header='Content-Location: http://other/'",
            "[http @ 0x1] header='HTTP/1.1 200 OK'",
        ] {
            assert!(!ear.is_forbidden(line), "{line}");
        }
        assert_eq!(ear.refused(), None);
        let padded = format!("[http @ 0x1] header='Location: {}http://other/'", " ".repeat(REQUEST_BYTES_MAX));
        for line in [
            "[hls @ 0x1] Opening 'http://other/a' for b.ts' for reading",
            "[http @ 0x1] header='location:   http://other/'",
            "[rtsp @ 0x1] Status 302: Redirecting to rtsp://other/",
            &padded[..REQUEST_BYTES_MAX - 1],
        ] {
            assert!(ear.is_forbidden(line), "{line}");
            assert!(!Ear::new().is_forbidden(line), "one that isn't confined");
        }
        assert_eq!(ear.refused().as_deref(), Some("http://other/a' for b.ts"));
    }
}
