//! The connection of FFmpeg to a stream: with a deadline for each call, and requests to the server of its URL alone.

use super::{
    origin::Origin,
    reader::{Reader, looked_at},
};
use crate::{HwAcceleration, RtspTransport};
use ffmpeg_next::{self as ffmpeg, ffi};
use std::{
    ffi::{CStr, CString, c_char, c_int, c_void},
    path::Path,
    ptr,
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// The function by which FFmpeg opens what a playlist names.
type IoOpen = unsafe extern "C" fn(
    *mut ffi::AVFormatContext,
    *mut *mut ffi::AVIOContext,
    *const c_char,
    c_int,
    *mut *mut ffi::AVDictionary,
) -> c_int;

/// The stream that is to be opened.
pub(super) struct Wanted<'a> {
    /// The URL with its credentials.
    pub(super) url: &'a str,
    /// The scheme in lower case.
    pub(super) scheme: &'a str,
    pub(super) transport: RtspTransport,
    pub(super) pixels_max: u64,
    pub(super) hw_acceleration: HwAcceleration,
    pub(super) timeout: Duration,
    /// A file of who may sign certificates.
    pub(super) signers: Option<&'a Path>,
}

/// A stream that is open. The reader is closed before its guard goes.
pub(super) struct Link {
    pub(super) reader: Reader,
    guard: Box<Guard>,
}

/// The guard that FFmpeg asks while it works, from whichever thread.
struct Guard {
    origin: Option<Origin>,
    usual: OnceLock<IoOpen>,
    began: Instant,
    /// The deadline, in microseconds from `began` on.
    deadline: AtomicU64,
    is_late: AtomicBool,
    refused: Mutex<Option<String>>,
    /// A file of who may sign certificates.
    signers: Option<CString>,
}

/// The reason why a stream isn't open.
pub(super) struct NotOpened {
    /// FFmpeg's error.
    pub(super) error: ffmpeg::Error,
    /// Set where the deadline was over.
    pub(super) is_late: bool,
    /// The URL of another server that it wanted to ask.
    pub(super) refused: Option<String>,
}

impl Link {
    /// Opens a stream and finds its pictures.
    ///
    /// # Errors
    /// Returns FFmpeg's error; `StreamNotFound` where it has no pictures.
    pub(super) fn open(wanted: &Wanted<'_>) -> Result<Self, NotOpened> {
        let guard = Box::new(Guard::new(wanted));
        let reader =
            open_input(wanted, &guard).and_then(|input| Reader::of(input, wanted.pixels_max, wanted.hw_acceleration));
        match reader {
            Ok(reader) => Ok(Self { reader, guard }),
            Err(error) => Err(NotOpened { error, is_late: guard.is_late(), refused: guard.refused() }),
        }
    }

    /// Allows a call so long from now on.
    pub(super) fn allow(&self, time: Duration) {
        self.guard.allow(time);
    }

    /// Returns whether a call took longer than was allowed.
    pub(super) fn is_late(&self) -> bool {
        self.guard.is_late()
    }

    /// Returns the first URL of another server that FFmpeg was told to ask, and didn't.
    pub(super) fn refused(&self) -> Option<String> {
        self.guard.refused()
    }
}

impl Guard {
    fn new(wanted: &Wanted<'_>) -> Self {
        let guard = Self {
            origin: Origin::of(wanted.url),
            usual: OnceLock::new(),
            began: Instant::now(),
            deadline: AtomicU64::new(0),
            is_late: AtomicBool::new(false),
            refused: Mutex::default(),
            signers: wanted.signers.and_then(|path| CString::new(path.as_os_str().as_encoded_bytes()).ok()),
        };
        guard.allow(wanted.timeout);
        guard
    }

    fn allow(&self, time: Duration) {
        let deadline = (self.began.elapsed() + time).as_micros();
        self.deadline.store(u64::try_from(deadline).unwrap_or(u64::MAX), Ordering::Release);
    }

    fn is_late(&self) -> bool {
        self.is_late.load(Ordering::Acquire)
    }

    fn refused(&self) -> Option<String> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The formats that may be read over HTTP: films, pictures, and HLS with those that its segments are made of. DASH
/// isn't among them, whose reader opens what a manifest names past every guard, nor are descriptions and lists that
/// name other servers (SDP, concat, …).
const FORMATS: &CStr = c"hls,mpegts,mpegtsraw,mpeg,mpegvideo,m4v,mp4,matroska,webm,flv,live_flv,avi,asf,asf_o,ogg,nut,mxf,gxf,\
    ivf,obu,h264,hevc,av1,vc1,dv,gif,mpjpeg,mjpeg,jpeg_pipe,png_pipe,webp_pipe,bmp_pipe,image2pipe,aac,mp3,ac3,eac3,webvtt,rm,\
    yuv4mpegpipe";

/// Returns the protocols that a stream needs beneath its own. Those that aren't named FFmpeg chooses by the protocol.
fn protocols(scheme: &str) -> Option<&'static CStr> {
    match scheme {
        "http" | "https" => Some(c"http,https,httpproxy,tls,tcp,crypto,data"),
        "rtsp" | "rtsps" => Some(c"rtsp,rtsps,rtp,srtp,udp,tcp,tls"),
        _ => None,
    }
}

#[allow(unsafe_code, reason = "ffmpeg-next knows no io_open, and no interruption together with options")]
fn open_input(wanted: &Wanted<'_>, guard: &Guard) -> Result<ffmpeg::format::context::Input, ffmpeg::Error> {
    // It knows the texts of its errors from then on.
    ffmpeg::init()?;
    let url = CString::new(wanted.url).map_err(|_| ffmpeg::Error::InvalidData)?;
    // SAFETY: every pointer is null, of a C string that lives until the end, or given back by FFmpeg just before; a
    // failed avformat_open_input frees its context and nulls the pointer. The guard lies in a box that outlives the
    // context, and is only read through its address.
    unsafe {
        let mut context = ffi::avformat_alloc_context();
        if context.is_null() {
            return Err(ffmpeg::Error::Unknown);
        }
        let address = ptr::from_ref(guard).cast_mut().cast::<c_void>();
        (*context).interrupt_callback = ffi::AVIOInterruptCB { callback: Some(interrupt), opaque: address };
        (*context).opaque = address;
        if let Some(usual) = (*context).io_open.replace(open_within) {
            let _ = guard.usual.set(usual);
        }
        let mut options = ptr::null_mut();
        if let Some(protocols) = protocols(wanted.scheme) {
            ffi::av_dict_set(&mut options, c"protocol_whitelist".as_ptr(), protocols.as_ptr(), 0);
        }
        if wanted.scheme.starts_with("http") {
            ffi::av_dict_set(&mut options, c"format_whitelist".as_ptr(), FORMATS.as_ptr(), 0);
        }
        if wanted.scheme.starts_with("rtsp") {
            // The flags are an order, too: where datagrams fail it goes on with TCP.
            let transport = match wanted.transport {
                RtspTransport::Tcp => c"tcp",
                RtspTransport::Udp => c"udp+tcp",
            };
            ffi::av_dict_set(&mut options, c"rtsp_transport".as_ptr(), transport.as_ptr(), 0);
        }
        let opened = ffi::avformat_open_input(&mut context, url.as_ptr(), ptr::null_mut(), &mut options);
        ffi::av_dict_free(&mut options);
        if opened < 0 { Err(opened.into()) } else { looked_at(context, wanted.pixels_max) }
    }
}

/// Returns whether FFmpeg is to give up: 1 for yes.
#[allow(unsafe_code, reason = "called by FFmpeg")]
unsafe extern "C" fn interrupt(opaque: *mut c_void) -> c_int {
    // SAFETY: the address of a guard that outlives the context that calls.
    let guard = unsafe { &*opaque.cast::<Guard>() };
    let is_late = guard.began.elapsed().as_micros() > u128::from(guard.deadline.load(Ordering::Acquire));
    if is_late {
        guard.is_late.store(true, Ordering::Release);
    }
    c_int::from(is_late)
}

/// Opens what a playlist names, at the stream's own server.
#[allow(unsafe_code, reason = "called by FFmpeg")]
unsafe extern "C" fn open_within(
    context: *mut ffi::AVFormatContext,
    io: *mut *mut ffi::AVIOContext,
    url: *const c_char,
    flags: c_int,
    options: *mut *mut ffi::AVDictionary,
) -> c_int {
    // SAFETY: FFmpeg's context, whose opaque is the address of a guard that outlives it, and its C string.
    let (guard, text) = unsafe { (&*(*context).opaque.cast::<Guard>(), CStr::from_ptr(url)) };
    let is_allowed = match (&guard.origin, text.to_str()) {
        (Some(origin), Ok(text)) => origin.allows(text),
        _ => false,
    };
    if !is_allowed {
        let mut refused = guard.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.get_or_insert_with(|| text.to_string_lossy().into_owned());
        return ffi::AVERROR(ffi::EACCES);
    }
    let Some(usual) = guard.usual.get() else { return ffi::AVERROR(ffi::EINVAL) };
    let mut own = ptr::null_mut();
    // SAFETY: FFmpeg's own function, with what it gave; a dictionary of ours where it gave none, freed at the end.
    unsafe {
        let options = if options.is_null() { &raw mut own } else { options };
        if let Some(signers) = &guard.signers {
            ffi::av_dict_set(options, c"tls_verify".as_ptr(), c"1".as_ptr(), 0);
            ffi::av_dict_set(options, c"ca_file".as_ptr(), signers.as_ptr(), 0);
        }
        let opened = usual(context, io, url, flags, options);
        ffi::av_dict_free(&mut own);
        opened
    }
}
