//! Video files, read by FFmpeg's own libraries ([`Reader`]).

use super::{
    capture::because,
    container::Head,
    io_failed,
    noise::Ear,
    orientation::Orientation,
    picture::Converter,
    reader::{DataEnd, Decoded, Reader},
    timeline::{AHEAD, Timeline},
};
use crate::{
    Frame, FrameSource, HwAcceleration, OpenOptions, SourceCounts, SourceDescription, VisionError, VisionErrorKind,
};
use rva_types::{ImageSize, MediaTime};
use std::{collections::VecDeque, sync::Arc};

/// The frame rate above which one is none but a time base that FFmpeg couldn't do better than.
const FPS_MAX: f64 = 1000.0;
/// The words of demuxers for a file that ends too early.
const CUT_OFF: [&str; 4] = ["partial file", "prematurely", "truncated", "moov atom not found"];

/// A picture that waits for its turn.
struct Waiting {
    decoded: Decoded,
    turn: Orientation,
    size: ImageSize,
}

/// A file that is open.
pub(super) struct FileSource {
    reader: Reader,
    ear: Arc<Ear>,
    head: Head,
    description: SourceDescription,
    announced_secs: Option<f64>,
    timeline: Timeline,
    converter: Converter,
    waiting: VecDeque<Waiting>,
    /// The number of frames of this run.
    index: u64,
    total: u64,
    /// The number of pictures that couldn't be converted.
    unconverted: u64,
    /// The counts of the runs before this one.
    counted: SourceCounts,
    complaint: Option<String>,
    is_cut_off: bool,
    has_warned: bool,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// The next picture has another size: the pictures from there on are another run.
    Changed,
    Ended,
}

impl FileSource {
    /// Opens a file and decodes its first picture.
    pub(super) fn open(path: &str, options: &OpenOptions) -> Result<Self, VisionError> {
        let head = Head::read(path).map_err(|error| io_failed(path, error))?;
        let absolute = std::path::absolute(path).map_err(|error| io_failed(path, error))?;
        let absolute = absolute.to_string_lossy().into_owned();
        let (ear, hw) = (Ear::new(), options.hw_acceleration);
        let (reader, lines) = ear.listen_to_opening(|| Reader::open(&absolute, options.pixels_max, hw));
        let reader = match reader {
            Ok(reader) => reader,
            Err(error) => return Err(not_a_video(path, &head, error, &lines)),
        };
        let has_hardware = reader.has_hardware();
        if hw != HwAcceleration::None && !has_hardware {
            tracing::warn!(source = path, wanted = %hw, "found no such hardware decoder; the processor decodes");
        }
        let (fps, frame_count, announced_secs) = reader.announced(head.container() == Some("MP4"));
        let fps = fps.filter(|fps| *fps <= FPS_MAX);
        let mut source = Self {
            reader,
            ear,
            head,
            description: SourceDescription {
                uri: path.to_owned(),
                size: ImageSize { width: 1, height: 1 },
                fps,
                frame_count,
                is_live: false,
                is_part: false,
                hw_acceleration: if has_hardware { hw } else { HwAcceleration::None },
            },
            announced_secs,
            timeline: Timeline::new(fps),
            converter: Converter::default(),
            waiting: VecDeque::new(),
            index: 0,
            total: 0,
            unconverted: 0,
            counted: SourceCounts::default(),
            complaint: lines.first().cloned(),
            is_cut_off: lines.iter().any(|line| is_cut_off(line)),
            has_warned: false,
            state: State::Open,
        };
        source.fill(1);
        let Some(first) = source.waiting.front() else { return Err(source.has_no_frames(options.pixels_max)) };
        source.description.size = first.size;
        Ok(source)
    }

    fn has_no_frames(&self, pixels_max: u64) -> VisionError {
        let uri = &self.description.uri;
        let complaint: Vec<String> = self.complaint.iter().cloned().collect();
        if complaint.iter().any(|line| line.contains("Picture size")) {
            return too_large(uri, pixels_max, &complaint);
        }
        let announced = self.description.frame_count.map(|count| format!(" of {count} announced")).unwrap_or_default();
        VisionError::new(
            VisionErrorKind::Empty,
            format!("{uri}: found a video with 0 frames{announced}{}, wanted at least 1", because(&complaint)),
        )
    }

    /// Decodes until so many pictures wait, or the data are over.
    fn fill(&mut self, wanted: usize) {
        while self.waiting.len() < wanted {
            let (decoded, lines) = self.ear.listen(|| self.reader.next());
            self.is_cut_off |= lines.iter().any(|line| is_cut_off(line));
            if let Some(line) = lines.into_iter().next() {
                self.complaint.get_or_insert(line);
            }
            let Some(decoded) = decoded else { return };
            let turn = self.reader.orientation(&decoded.frame);
            let size = turn.size(ImageSize { width: decoded.frame.width(), height: decoded.frame.height() });
            self.waiting.push_back(Waiting { decoded, turn, size });
        }
    }

    /// Returns the next picture and its place in time; `None` at the end.
    fn advance(&mut self) -> Result<Option<(Waiting, MediaTime)>, VisionError> {
        if self.state != State::Open {
            return Ok(None);
        }
        self.fill(2);
        let reported = |waiting: &Waiting| waiting.decoded.reported;
        let (own, next) = (self.waiting.front().and_then(reported), self.waiting.get(1).and_then(reported));
        if self.waiting.len() == 2 && self.timeline.is_odd(own, next) {
            self.fill(1 + AHEAD);
        }
        let Some(front) = self.waiting.front() else { return self.end().map(|()| None) };
        if front.size != self.description.size {
            let text = |size: ImageSize| format!("{}x{}", size.width, size.height);
            let (now, before) = (text(front.size), text(self.description.size));
            self.state = State::Changed;
            return Err(VisionError::new(
                VisionErrorKind::SourceChanged,
                format!(
                    "{}: found pictures of {now} after {} frames, wanted {before} as before: what follows is another run",
                    self.description.uri, self.index
                ),
            ));
        }
        let ahead: Vec<Option<i64>> = self.waiting.iter().skip(1).map(reported).collect();
        let Some(front) = self.waiting.pop_front() else { return Ok(None) };
        let media_time = self.timeline.place(own, &ahead);
        self.index += 1;
        self.total += 1;
        if self.timeline.replaced() > 0 && !std::mem::replace(&mut self.has_warned, true) {
            tracing::warn!(
                source = %self.description.uri,
                frame = self.index,
                "found a time that can't be right; it is replaced by the usual step, as are others that are counted"
            );
        }
        Ok(Some((front, media_time)))
    }

    /// Returns the end of the last frame that was given or skipped.
    pub(super) fn ends_at(&self) -> MediaTime {
        self.timeline.end()
    }

    /// Returns whether fewer frames came than were announced.
    fn lacks_frames(&self) -> bool {
        self.description.frame_count.is_some_and(|count| self.total < count)
    }

    /// Judges whether this end is the right one.
    fn end(&mut self) -> Result<(), VisionError> {
        self.state = State::Ended;
        let (uri, found) = (&self.description.uri, self.total);
        let complaints = self.counts().decode_errors;
        if complaints > 0 {
            tracing::warn!(source = %uri, complaints, frames = found, "found damaged data until the end");
        }
        let replaced = self.timeline.replaced();
        if replaced > 0 {
            tracing::warn!(source = %uri, replaced, frames = found, "found times that couldn't be right, and replaced them");
        }
        let why = match self.reader.end() {
            Some(DataEnd::Failed(error)) => Some(error.to_string()),
            Some(DataEnd::InPacket) => Some("it ends within a picture".to_owned()),
            _ if self.is_cut_off => Some("its container says so".to_owned()),
            // It has no times of its own: each picture that is lost moves all behind it.
            _ if self.head.container() == Some("AVI") && complaints > 0 && self.lacks_frames() => {
                Some("pictures of an AVI are lost, and the times behind them are too early".to_owned())
            }
            _ => self.head.cut_off(uri),
        };
        let Some(why) = why else { return Ok(()) };
        let wanted = match (self.description.frame_count, self.announced_secs) {
            (Some(count), Some(secs)) => format!("{count} frames and {secs:.2} s as announced"),
            _ => "a whole file".to_owned(),
        };
        let reasons: Vec<String> = std::iter::once(why).chain(self.complaint.clone()).collect();
        Err(VisionError::new(
            VisionErrorKind::Incomplete,
            format!(
                "{uri}: found {found} frames up to {:.2} s, wanted {wanted}: the video breaks off{}",
                self.timeline.last_secs(),
                because(&reasons)
            ),
        ))
    }
}

impl FrameSource for FileSource {
    fn description(&self) -> &SourceDescription {
        &self.description
    }

    fn counts(&self) -> SourceCounts {
        SourceCounts {
            decode_errors: self.ear.errors() + self.unconverted - self.counted.decode_errors,
            times_replaced: self.timeline.replaced() - self.counted.times_replaced,
        }
    }

    fn next_frame(&mut self) -> Result<Option<Frame>, VisionError> {
        loop {
            let Some((waiting, media_time)) = self.advance()? else { return Ok(None) };
            match self.converter.convert(&waiting.decoded.frame, waiting.turn) {
                Ok(image) => return Ok(Some(Frame { index: self.index, media_time, image: Arc::new(image) })),
                // It keeps its place in time and its index.
                Err(error) if self.unconverted == 0 => {
                    tracing::warn!(source = %self.description.uri, frame = self.index, %error, "leave a picture out");
                    self.unconverted += 1;
                }
                Err(_) => self.unconverted += 1,
            }
        }
    }

    fn skip_frame(&mut self) -> Result<bool, VisionError> {
        Ok(self.advance()?.is_some())
    }

    fn begin_next_run(&mut self) -> bool {
        let Some(front) = self.waiting.front().filter(|_| self.state == State::Changed) else { return false };
        let size = front.size;
        let (before, now) = (self.counted, self.counts());
        self.counted = SourceCounts {
            decode_errors: before.decode_errors + now.decode_errors,
            times_replaced: before.times_replaced + now.times_replaced,
        };
        (self.description.size, self.index, self.state) = (size, 0, State::Open);
        true
    }
}

/// Returns whether a line of FFmpeg says that a file ends too early.
pub(super) fn is_cut_off(line: &str) -> bool {
    CUT_OFF.iter().any(|words| line.contains(words))
}

fn too_large(path: &str, pixels_max: u64, lines: &[String]) -> VisionError {
    VisionError::new(
        VisionErrorKind::Unreadable,
        format!(
            "{path}: found pictures that are too large{}, wanted at most {pixels_max} pixels (capture.pixels_max)",
            because(lines)
        ),
    )
}

fn not_a_video(path: &str, head: &Head, error: ffmpeg_next::Error, lines: &[String]) -> VisionError {
    let found = head.describe();
    if error == ffmpeg_next::Error::StreamNotFound && head.container().is_some() {
        return VisionError::new(
            VisionErrorKind::Empty,
            format!("{path}: found {found} with no video frames, wanted at least 1"),
        );
    }
    VisionError::new(
        VisionErrorKind::Unreadable,
        format!(
            "{path}: found {found}{}, wanted a whole video file (MP4, AVI, MKV, MOV, …), an image, or a folder of either",
            because(lines)
        ),
    )
}
