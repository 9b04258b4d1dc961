//! Reading of pictures with FFmpeg's own libraries, which tell each picture's own time, size and orientation.
//!
//! OpenCV's reader can't say: it stamps a picture with the packet that went in last, gives up after 512 packets of
//! sound, drops pictures when a decoder begins anew, and knows no mirrored display matrix.

use super::orientation::Orientation;
use crate::HwAcceleration;
use ffmpeg_next::{
    self as ffmpeg, Rational,
    codec::{self, decoder, packet},
    ffi, format, frame,
};
use std::{ffi::CString, ptr};

/// The number of errors of the demuxer in a row that are passed over: it goes on behind damaged data.
const READ_ERRORS_MAX: u32 = 100;

/// A picture as the decoder gave it.
pub(super) struct Decoded {
    pub(super) frame: frame::Video,
    /// The time on the container's line, in microseconds.
    pub(super) reported: Option<i64>,
}

/// The end of the data of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DataEnd {
    /// The data ended as they should.
    Whole,
    /// The data ended in the middle of a packet.
    InPacket,
    /// The data ended by an error of FFmpeg.
    Failed(ffmpeg::Error),
}

/// An open file, its first good video stream and the decoder of it.
pub(super) struct Reader {
    input: format::context::Input,
    decoder: decoder::Video,
    stream: usize,
    time_base: Rational,
    orientation: Orientation,
    end: Option<DataEnd>,
    is_last_packet_cut: bool,
    read_errors: u32,
}

impl Reader {
    /// Opens a file of this machine.
    ///
    /// # Errors
    /// Returns FFmpeg's error; `StreamNotFound` where nothing in it is a video.
    pub(super) fn open(path: &str, pixels_max: u64, hw: HwAcceleration) -> Result<Self, ffmpeg::Error> {
        Self::of(open_input(path, pixels_max)?, pixels_max, hw)
    }

    /// Finds the pictures of what is open, and their decoder.
    ///
    /// # Errors
    /// Fails as [`Reader::open`] does.
    pub(super) fn of(
        input: format::context::Input,
        pixels_max: u64,
        hw: HwAcceleration,
    ) -> Result<Self, ffmpeg::Error> {
        let stream = input.streams().best(ffmpeg::media::Type::Video).ok_or(ffmpeg::Error::StreamNotFound)?;
        if stream.disposition().contains(format::stream::Disposition::ATTACHED_PIC) {
            return Err(ffmpeg::Error::StreamNotFound);
        }
        let (index, time_base) = (stream.index(), stream.time_base());
        let matrix = stream.side_data().find(|data| data.kind() == packet::side_data::Type::DisplayMatrix);
        let orientation = matrix.and_then(|matrix| orientation(matrix.data())).unwrap_or_default();
        let mut context = codec::Context::from_parameters(stream.parameters())?;
        context.set_threading(codec::threading::Config { count: 0, ..Default::default() });
        let decoder = open_decoder(context, time_base, pixels_max, hw)?;
        let mut reader = Self {
            input,
            decoder,
            stream: index,
            time_base,
            orientation,
            end: None,
            is_last_packet_cut: false,
            read_errors: 0,
        };
        reader.leave_out_other_streams();
        Ok(reader)
    }

    /// Returns frames a second, frames and seconds as announced; `has_edit_lists` is set where the container may have
    /// such.
    pub(super) fn announced(&self, has_edit_lists: bool) -> (Option<f64>, Option<u64>, Option<f64>) {
        let Some(stream) = self.input.stream(self.stream) else { return (None, None, None) };
        let fps = Some(frame_rate(&self.input, &stream)).filter(|fps| fps.is_finite() && *fps > 0.0);
        let of_stream = Some(stream.duration()).filter(|ticks| *ticks > 0);
        let of_file = Some(self.input.duration()).filter(|micros| *micros > 0);
        let secs = of_stream
            .map(|ticks| ticks as f64 * f64::from(self.time_base))
            .or(of_file.map(|micros| micros as f64 / 1e6));
        let average = Some(f64::from(stream.avg_frame_rate())).filter(|fps| fps.is_finite() && *fps > 0.0).or(fps);
        let by_length = secs.zip(average).map(|(secs, fps)| (secs * fps).round() as u64).filter(|count| *count > 0);
        let counted = u64::try_from(stream.frames()).ok().filter(|count| *count > 0);
        match (counted, by_length) {
            // An edit list may leave out what is there.
            (Some(counted), Some(by_length)) if has_edit_lists => (fps, Some(counted.min(by_length)), secs),
            // A length may be a guess from the size of a file that is cut off, a count isn't.
            (Some(counted), _) => (fps, Some(counted), average.map(|fps| counted as f64 / fps).or(secs)),
            (None, by_length) => (fps, by_length, secs),
        }
    }

    /// Returns the next picture; `None` when the data are over.
    pub(super) fn next(&mut self) -> Option<Decoded> {
        loop {
            let mut frame = frame::Video::empty();
            match self.decoder.receive_frame(&mut frame) {
                Ok(()) => {
                    let reported = frame.pts().or_else(|| frame.timestamp());
                    let reported = reported.map(|ticks| in_micros(ticks, self.time_base));
                    return Some(Decoded { frame: on_processor(frame)?, reported });
                }
                Err(ffmpeg::Error::Other { errno }) if errno == ffmpeg::error::EAGAIN => self.feed(),
                Err(ffmpeg::Error::Eof) => return None,
                // What can't be decoded was said on FFmpeg's log; the next packets go on.
                Err(_) if self.end.is_none() => self.feed(),
                Err(_) => return None,
            }
        }
    }

    /// Gives the decoder its next packet, or the end.
    fn feed(&mut self) {
        while self.end.is_none() {
            let mut packet = ffmpeg::Packet::empty();
            match packet.read(&mut self.input) {
                Ok(()) => {
                    self.read_errors = 0;
                    if packet.stream() != self.stream {
                        continue;
                    }
                    self.is_last_packet_cut = packet.is_corrupt();
                    // A packet that is refused is damaged, and said on FFmpeg's log.
                    let _ = self.decoder.send_packet(&packet);
                    return;
                }
                Err(ffmpeg::Error::Eof) if self.is_last_packet_cut => self.end = Some(DataEnd::InPacket),
                Err(ffmpeg::Error::Eof) => self.end = Some(DataEnd::Whole),
                Err(error) => {
                    self.read_errors += 1;
                    if self.read_errors > READ_ERRORS_MAX {
                        self.end = Some(DataEnd::Failed(error));
                    }
                }
            }
        }
        let _ = self.decoder.send_eof();
    }

    /// Returns how the data ended, once they have.
    pub(super) fn end(&self) -> Option<DataEnd> {
        self.end
    }

    /// Returns how a picture is to be turned: by its own word, or the container's.
    pub(super) fn orientation(&self, frame: &frame::Video) -> Orientation {
        let own = frame.side_data(frame::side_data::Type::DisplayMatrix);
        own.and_then(|matrix| orientation(matrix.data())).unwrap_or(self.orientation)
    }

    /// Leaves out other streams: sound and the like are not even read.
    #[allow(unsafe_code, reason = "ffmpeg-next can't set what is left out")]
    fn leave_out_other_streams(&mut self) {
        let count = self.input.nb_streams() as usize;
        for index in (0..count).filter(|index| *index != self.stream) {
            // SAFETY: the context is open, and `index` is below its number of streams.
            unsafe { (**(*self.input.as_mut_ptr()).streams.add(index)).discard = ffi::AVDiscard::AVDISCARD_ALL };
        }
    }
}

fn in_micros(ticks: i64, base: Rational) -> i64 {
    let (numerator, denominator) = (i128::from(base.numerator()), i128::from(base.denominator()).max(1));
    let micros = i128::from(ticks) * numerator * 1_000_000;
    let half = if micros < 0 { -denominator / 2 } else { denominator / 2 };
    ((micros + half) / denominator).clamp(i64::MIN.into(), i64::MAX.into()) as i64
}

/// Reads a display matrix of nine native 32-bit numbers.
fn orientation(bytes: &[u8]) -> Option<Orientation> {
    let mut matrix = [0; 9];
    for (number, bytes) in matrix.iter_mut().zip(bytes.get(..36)?.chunks_exact(4)) {
        *number = i32::from_ne_bytes(bytes.try_into().ok()?);
    }
    Some(Orientation::of_matrix(matrix))
}

#[allow(unsafe_code, reason = "ffmpeg-next can't confine a playlist of a file")]
fn open_input(path: &str, pixels_max: u64) -> Result<format::context::Input, ffmpeg::Error> {
    // It knows the texts of its errors from then on.
    ffmpeg::init()?;
    let invalid = |_| ffmpeg::Error::InvalidData;
    let url = CString::new(format!("file:{path}")).map_err(invalid)?;
    // SAFETY: every pointer is null, of a CString that lives until the end, or given back by FFmpeg just before; a
    // failed avformat_open_input frees its context and nulls the pointer. A playlist of this machine may name files of
    // this machine alone.
    unsafe {
        let mut options = ptr::null_mut();
        ffi::av_dict_set(&mut options, c"protocol_whitelist".as_ptr(), c"file,crypto,data".as_ptr(), 0);
        let mut context = ptr::null_mut();
        let opened = ffi::avformat_open_input(&mut context, url.as_ptr(), ptr::null_mut(), &mut options);
        ffi::av_dict_free(&mut options);
        if opened < 0 { Err(opened.into()) } else { looked_at(context, pixels_max) }
    }
}

/// Looks at the streams of what is open, with a bound on the pixels of their pictures.
///
/// # Safety
/// The caller's `context` is open and nobody else's; it is closed with the input, or here.
#[allow(unsafe_code, reason = "ffmpeg-next has no bound on pixels while the streams are looked at")]
pub(super) unsafe fn looked_at(
    context: *mut ffi::AVFormatContext,
    pixels_max: u64,
) -> Result<format::context::Input, ffmpeg::Error> {
    let bound = CString::new(pixels_max.to_string()).unwrap_or_default();
    // SAFETY: the context is open; the dictionaries are as many as its streams and freed at the end.
    unsafe {
        let mut bounds: Vec<*mut ffi::AVDictionary> = vec![ptr::null_mut(); (*context).nb_streams as usize];
        for options in &mut bounds {
            ffi::av_dict_set(options, c"max_pixels".as_ptr(), bound.as_ptr(), 0);
        }
        let looked_at = ffi::avformat_find_stream_info(
            context,
            if bounds.is_empty() { ptr::null_mut() } else { bounds.as_mut_ptr() },
        );
        for options in &mut bounds {
            ffi::av_dict_free(options);
        }
        // From here on it is closed with its owner.
        let input = format::context::Input::wrap(context);
        if looked_at < 0 { Err(looked_at.into()) } else { Ok(input) }
    }
}

#[allow(unsafe_code, reason = "ffmpeg-next can't bound pixels, nor choose hardware")]
fn open_decoder(
    mut context: codec::Context,
    time_base: Rational,
    pixels_max: u64,
    hw: HwAcceleration,
) -> Result<decoder::Video, ffmpeg::Error> {
    // SAFETY: the context was allocated and isn't open yet.
    unsafe {
        let context = context.as_mut_ptr();
        (*context).max_pixels = i64::try_from(pixels_max).unwrap_or(i64::MAX);
        (*context).pkt_timebase = time_base.into();
        if hw != HwAcceleration::None {
            (*context).hw_device_ctx = hardware(hw);
        }
    }
    context.decoder().video()
}

/// Returns a hardware device, or null where there is none of that kind.
#[allow(unsafe_code, reason = "ffmpeg-next knows no hardware")]
fn hardware(hw: HwAcceleration) -> *mut ffi::AVBufferRef {
    use ffi::AVHWDeviceType as Type;
    let kinds: &[Type] = match hw {
        HwAcceleration::None => &[],
        HwAcceleration::Any => &[Type::AV_HWDEVICE_TYPE_VAAPI, Type::AV_HWDEVICE_TYPE_QSV],
        HwAcceleration::Vaapi => &[Type::AV_HWDEVICE_TYPE_VAAPI],
        HwAcceleration::Mfx => &[Type::AV_HWDEVICE_TYPE_QSV],
        HwAcceleration::D3d11 => &[Type::AV_HWDEVICE_TYPE_D3D11VA],
    };
    for kind in kinds {
        let mut device = ptr::null_mut();
        // SAFETY: the device's place is ours, the other pointers may be null; on success we own the reference.
        if unsafe { ffi::av_hwdevice_ctx_create(&mut device, *kind, ptr::null(), ptr::null_mut(), 0) } >= 0 {
            return device;
        }
    }
    ptr::null_mut()
}

impl Reader {
    /// Returns whether the pictures' times are their own: the formats of bare pictures know none, and FFmpeg counts.
    #[allow(unsafe_code, reason = "ffmpeg-next doesn't show a format's flags")]
    pub(super) fn has_own_times(&self) -> bool {
        // SAFETY: the input is open, and its format is a constant of FFmpeg's.
        let flags = unsafe { (*(*self.input.as_ptr()).iformat).flags };
        flags & ffi::AVFMT_NOTIMESTAMPS == 0 && !self.input.format().name().contains("jpeg")
    }

    /// Returns whether it is a playlist of segments.
    pub(super) fn is_playlist(&self) -> bool {
        self.input.format().name() == "hls"
    }

    /// Returns whether a device decodes.
    #[allow(unsafe_code, reason = "ffmpeg-next knows no hardware")]
    pub(super) fn has_hardware(&self) -> bool {
        // SAFETY: the decoder is open.
        unsafe { !(*self.decoder.as_ptr()).hw_device_ctx.is_null() }
    }
}

/// Returns a picture in the processor's memory.
#[allow(unsafe_code, reason = "ffmpeg-next knows no hardware")]
fn on_processor(frame: frame::Video) -> Option<frame::Video> {
    // SAFETY: both frames are allocated; the first holds a picture.
    unsafe {
        if (*frame.as_ptr()).hw_frames_ctx.is_null() {
            return Some(frame);
        }
        let mut copy = frame::Video::empty();
        let copied = ffi::av_hwframe_transfer_data(copy.as_mut_ptr(), frame.as_ptr(), 0) >= 0
            && ffi::av_frame_copy_props(copy.as_mut_ptr(), frame.as_ptr()) >= 0;
        copied.then_some(copy)
    }
}

#[allow(unsafe_code, reason = "ffmpeg-next has no av_guess_frame_rate")]
fn frame_rate(input: &format::context::Input, stream: &format::stream::Stream<'_>) -> f64 {
    // SAFETY: both are open; FFmpeg reads them only, though its signature isn't const.
    let rate =
        unsafe { ffi::av_guess_frame_rate(input.as_ptr().cast_mut(), stream.as_ptr().cast_mut(), ptr::null_mut()) };
    f64::from(rate.num) / f64::from(rate.den)
}
