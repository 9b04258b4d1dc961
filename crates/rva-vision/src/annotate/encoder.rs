//! Encoding of pictures to a video file, through FFmpeg's own libraries: H.264 that browsers play, and each picture at
//! its own time.

use ffmpeg_next::{
    self as ffmpeg, Dictionary, Packet, Rational, codec, color, encoder, ffi, format, format::Pixel, frame,
    software::scaling,
};
use opencv::{core::Mat, prelude::*};
use std::{fmt, path::Path};

/// The ticks a second of the times that are written: whole numbers for the usual rates, and few enough for MPEG-4 part
/// 2.
const TICKS: i32 = 60_000;
/// The places a picture of the grid that an AVI's pictures are put on, since it knows one rate only.
const AVI_PLACES: f64 = 4.0;
/// The rates that an AVI's grid is made of; others are time bases, not rates.
const AVI_FPS: std::ops::RangeInclusive<f64> = 5.0..=60.0;
/// The grid of an AVI whose rate isn't known, in places a second.
const AVI_PLACES_UNKNOWN: f64 = 100.0;
/// Threads that encode: a video is drawn beside a pipeline that needs the others.
const THREADS: usize = 2;
/// The encoders of H.264, best first. Those that need a device aren't asked: they may be there and not work.
const H264: [&str; 2] = ["libx264", "libopenh264"];
/// The encoder where there is none of them: every FFmpeg has it, and most players, but no browser.
const MPEG4: &str = "mpeg4";
/// The encoder that an AVI can be relied on to hold.
const MOTION_JPEG: &str = "mjpeg";

/// The kind of a file that is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Container {
    /// A container whose times are free: `mp4`, `mov`, `mkv`.
    Free,
    /// A container whose pictures lie on a grid: `avi`.
    Avi,
}

impl Container {
    /// Returns the names of encoders, best first.
    pub(super) fn encoders(self) -> Vec<&'static str> {
        match self {
            Self::Free => H264.into_iter().chain([MPEG4]).collect(),
            Self::Avi => vec![MOTION_JPEG],
        }
    }

    fn ticks(self, fps: f64) -> Rational {
        match self {
            Self::Free => Rational::new(1, TICKS),
            Self::Avi => {
                let places = if AVI_FPS.contains(&fps) { fps * AVI_PLACES } else { AVI_PLACES_UNKNOWN };
                Rational::new(1000, (places * 1e3).round() as i32)
            }
        }
    }
}

/// The reason why a video can't be written.
#[derive(Debug)]
pub(super) enum EncodeError {
    /// None of the encoders is in this FFmpeg.
    NoEncoder,
    /// FFmpeg failed.
    Failed(ffmpeg::Error),
}

impl From<ffmpeg::Error> for EncodeError {
    fn from(error: ffmpeg::Error) -> Self {
        Self::Failed(error)
    }
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoEncoder => f.write_str("its FFmpeg has no encoder for it"),
            Self::Failed(error) => write!(f, "{error}"),
        }
    }
}

/// A video file that grows.
pub(super) struct Encoder {
    output: format::context::Output,
    encoder: encoder::Video,
    scaler: scaling::Context,
    bgr: frame::Video,
    ticks: Rational,
    /// The time of the last picture, and how long the one before it was shown.
    last: Option<i64>,
    step: i64,
    name: &'static str,
    is_ended: bool,
}

// SAFETY: a scaler has no ties to a thread; it is used by whoever owns the encoder.
#[allow(unsafe_code, reason = "ffmpeg-next doesn't say so of its scaler")]
unsafe impl Send for Encoder {}

impl Encoder {
    /// Begins a file with the first of the encoders that is there. Odd sides grow by one pixel, since the colours of
    /// two lie together; `fps` is a hint.
    ///
    /// # Errors
    /// Returns an error where no encoder is there, or the file can't be made.
    pub(super) fn create(
        path: &Path,
        container: Container,
        encoders: &[&'static str],
        (width, height): (u32, u32),
        fps: f64,
    ) -> Result<Self, EncodeError> {
        let (width, height) = (width.next_multiple_of(2), height.next_multiple_of(2));
        // With the protocol in front no name is taken for another one's.
        let mut output = format::output(&format!("file:{}", path.to_string_lossy()))?;
        let ticks = container.ticks(fps);
        let has_global_header = output.format().flags().contains(format::Flags::GLOBAL_HEADER);
        let (name, encoder) = encoders
            .iter()
            .find_map(|name| Some((*name, codec::encoder::find_by_name(name)?)))
            .map(|(name, found)| {
                let setting = Setting { name, size: (width, height), fps, ticks, has_global_header };
                setting.open(found).map(|encoder| (name, encoder))
            })
            .ok_or(EncodeError::NoEncoder)??;
        let mut stream = output.add_stream(encoder.codec())?;
        stream.set_time_base(ticks);
        stream.set_parameters(&*encoder);
        let mut options = Dictionary::new();
        // The index goes to the front when the file is ended, so that a player needs no more than the beginning.
        options.set("movflags", "+faststart");
        output.write_header_with(options)?;
        // Full range is in the pixel format itself where an encoder wants it.
        let flags = scaling::Flags::BICUBIC;
        let scaler = scaling::Context::get(Pixel::BGR24, width, height, encoder.format(), width, height, flags)?;
        let step = ((1.0 / (fps * f64::from(ticks))).round() as i64).max(1);
        let bgr = frame::Video::new(Pixel::BGR24, width, height);
        Ok(Self { output, encoder, scaler, bgr, ticks, last: None, step, name, is_ended: false })
    }

    /// Returns the name of the encoder that is used.
    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    /// Returns whether a browser plays what it writes.
    pub(super) fn is_h264(&self) -> bool {
        H264.contains(&self.name)
    }

    /// Appends a picture of three bytes a pixel. Times are those of the video, in microseconds, and have to increase.
    ///
    /// # Errors
    /// Returns FFmpeg's error.
    pub(super) fn write(&mut self, picture: &Mat, micros: i64) -> Result<(), EncodeError> {
        self.copy(picture);
        let mut frame = frame::Video::empty();
        self.scaler.run(&self.bgr, &mut frame)?;
        let ticks = (micros as f64 / 1e6 / f64::from(self.ticks)).round() as i64;
        let ticks = self.last.map_or(ticks, |last| ticks.max(last + 1));
        if let Some(last) = self.last.replace(ticks) {
            self.step = ticks - last;
        }
        frame.set_pts(Some(ticks));
        self.encoder.send_frame(&frame)?;
        self.drain()
    }

    /// Copies row by row, the last row and column twice where a side is odd.
    fn copy(&mut self, picture: &Mat) {
        let (rows, columns) = (picture.rows().max(1) as usize, picture.cols().max(1) as usize);
        let (stride, height, width) = (self.bgr.stride(0), self.bgr.height() as usize, self.bgr.width() as usize);
        let bytes = self.bgr.data_mut(0);
        for row in 0..height {
            let Ok(from) = picture.ptr(row.min(rows - 1) as i32) else { continue };
            let to = &mut bytes[row * stride..row * stride + width * 3];
            let len = columns.min(width) * 3;
            // SAFETY: a row of a picture of three bytes a pixel holds that many bytes for each of its columns.
            #[allow(unsafe_code, reason = "OpenCV gives rows as bare pointers")]
            let from = unsafe { std::slice::from_raw_parts(from, len) };
            to[..len].copy_from_slice(from);
            for at in columns..width {
                to.copy_within((columns - 1) * 3..columns * 3, at * 3);
            }
        }
    }

    /// Writes the packets that the encoder has ready.
    fn drain(&mut self) -> Result<(), EncodeError> {
        let mut packet = Packet::empty();
        while self.encoder.receive_packet(&mut packet).is_ok() {
            packet.set_stream(0);
            // How long a picture is shown follows from the next one; for the last one it is said here.
            packet.set_duration(self.step);
            let base = self.output.stream(0).map_or(self.ticks, |stream| stream.time_base());
            packet.rescale_ts(self.ticks, base);
            packet.write_interleaved(&mut self.output)?;
        }
        Ok(())
    }

    /// Ends the file.
    ///
    /// # Errors
    /// Returns FFmpeg's error: no space, for instance.
    pub(super) fn end(&mut self) -> Result<(), EncodeError> {
        if std::mem::replace(&mut self.is_ended, true) {
            return Ok(());
        }
        if self.last.is_some() {
            self.encoder.send_eof()?;
            self.drain()?;
        }
        Ok(self.output.write_trailer()?)
    }
}

/// The settings that an encoder is opened with.
struct Setting {
    name: &'static str,
    size: (u32, u32),
    fps: f64,
    ticks: Rational,
    has_global_header: bool,
}

impl Setting {
    fn open(&self, codec: ffmpeg::Codec) -> Result<encoder::Video, ffmpeg::Error> {
        let mut context = codec::Context::new_with_codec(codec);
        context.set_threading(codec::threading::Config { count: THREADS, ..Default::default() });
        let quality = self.quality();
        let mut flags = codec::Flags::empty();
        flags.set(codec::Flags::GLOBAL_HEADER, self.has_global_header);
        flags.set(codec::Flags::QSCALE, quality.is_some());
        context.set_flags(flags);
        let mut video = context.encoder().video()?;
        video.set_width(self.size.0);
        video.set_height(self.size.1);
        video.set_time_base(self.ticks);
        video.set_frame_rate(Some(Rational::new((self.fps * 1e3).round().max(1.0) as i32, 1000)));
        let is_motion_jpeg = self.name == MOTION_JPEG;
        video.set_format(if is_motion_jpeg { Pixel::YUVJ420P } else { Pixel::YUV420P });
        video.set_colorspace(color::Space::SMPTE170M);
        video.set_color_range(if is_motion_jpeg { color::Range::JPEG } else { color::Range::MPEG });
        let mut options = Dictionary::new();
        if let Some(quality) = quality {
            video.set_global_quality(quality * ffi::FF_QP2LAMBDA);
        } else if self.name == "libx264" {
            // About the quality of the source, at an eighth of the work of the default.
            options.set("preset", "veryfast");
            options.set("crf", "24");
        } else {
            // No constant quality: a tenth of a bit a pixel.
            let pixels = f64::from(self.size.0) * f64::from(self.size.1);
            video.set_bit_rate((pixels * self.fps.min(60.0) * 0.1) as usize);
        }
        video.open_with(options)
    }

    /// Returns the loss of each picture, 1 to 31, where an encoder takes that.
    fn quality(&self) -> Option<i32> {
        match self.name {
            MOTION_JPEG => Some(5),
            MPEG4 => Some(6),
            _ => None,
        }
    }
}

/// Returns the number of pictures of a file, by reading all of it; `None` where it can't be read to its end.
pub(super) fn count_pictures(path: &Path) -> Option<u64> {
    let mut input = format::input(&format!("file:{}", path.to_string_lossy())).ok()?;
    let (mut packet, mut count) = (Packet::empty(), 0);
    loop {
        match packet.read(&mut input) {
            Ok(()) if packet.is_corrupt() => return None,
            // An AVI fills its grid with empty ones.
            Ok(()) => count += u64::from(packet.size() > 0),
            Err(ffmpeg::Error::Eof) => return Some(count),
            Err(_) => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use opencv::core::{CV_8UC3, Scalar};

    #[test]
    fn without_an_encoder_of_h264_the_next_one_is_taken_and_without_any_it_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.mp4");
        let create = |encoders: &[&'static str]| Encoder::create(&path, Container::Free, encoders, (64, 48), 10.0);
        let mut encoder = create(&["no such encoder", MPEG4]).unwrap();
        assert_eq!((encoder.name(), encoder.is_h264()), (MPEG4, false));
        let picture = Mat::new_rows_cols_with_default(48, 64, CV_8UC3, Scalar::all(60.0)).unwrap();
        (0..7).for_each(|at| encoder.write(&picture, at * 100_000).unwrap());
        encoder.end().unwrap();
        assert_eq!(count_pictures(&path), Some(7));
        assert!(matches!(create(&["no such encoder"]), Err(EncodeError::NoEncoder)));
    }
}
