//! A stream or a remote file, read by FFmpeg's own libraries ([`Reader`](super::reader::Reader)): with the times that
//! the pictures have of themselves, played at their own speed ([`Pace`]), and from the server of its URL alone.

use super::{
    StreamUrl,
    capture::because,
    changes::RateWatch,
    complaints::Complaints,
    file::is_cut_off,
    link::{Link, NotOpened, Wanted},
    noise::Ear,
    origin::Origin,
    pace::Pace,
    picture::Converter,
    probe::{self, Doubt},
    reader::{DataEnd, Decoded},
    timeline::{AHEAD, Timeline},
};
use crate::{
    Certificates, Frame, FrameSource, HwAcceleration, OpenOptions, SourceCounts, SourceDescription, VisionError,
    VisionErrorKind,
};
use rva_types::{ImageSize, MediaTime};
use std::{
    collections::VecDeque,
    path::Path,
    sync::Arc,
    thread::sleep,
    time::{Duration, Instant},
};

/// The time that FFmpeg has at least for its own opening, also where the probe has used up the time.
const OPEN_TIME_MIN: Duration = Duration::from_secs(1);
/// The time after which a server is asked once more that serves few clients and refuses FFmpeg (503) while it is still
/// closing the probe's connection.
const PROBE_CLOSES: Duration = Duration::from_millis(500);
/// The frame rate above which one is none but a time base that FFmpeg couldn't do better than.
const FPS_MAX: f64 = 1000.0;
/// The number of pictures in a row that can't be converted and are passed over.
const UNCONVERTED_MAX: u32 = 100;
/// The lag from which on it is told.
const LAG_TOLD: Duration = Duration::from_secs(1);

/// The clock that frames get their media time from.
enum Clock {
    /// The container's own times, of a file.
    Container(Timeline),
    /// The wall, from the opening on, when a picture is due.
    Wall { opened: Instant, last_micros: i64, pace: Option<Pace> },
}

/// A stream that is open.
pub(super) struct StreamSource {
    link: Link,
    ear: Arc<Ear>,
    url: StreamUrl,
    description: SourceDescription,
    clock: Clock,
    converter: Converter,
    /// Pictures that wait for their turn: of a live stream the first, of a file those by which the times are judged.
    waiting: VecDeque<Decoded>,
    index: u64,
    /// The number of pictures that couldn't be converted.
    unconverted: u64,
    read_timeout: Duration,
    rate: RateWatch,
    reason: Vec<String>,
    complaints: Complaints,
    lag_told: Duration,
    /// The counts of the runs before this one.
    counted: SourceCounts,
    is_cut_off: bool,
    /// The data are over.
    is_over: bool,
    is_ended: bool,
    /// The next picture of a file has another size: what follows is another run.
    is_changed: bool,
}

impl StreamSource {
    /// Asks the server, opens the stream and decodes its first picture.
    pub(super) fn open(url: &StreamUrl, options: &OpenOptions) -> Result<Self, VisionError> {
        let started = Instant::now();
        let signers = check_certificates(url, &options.certificates)?;
        let doubt = match signers {
            // It would tell a login to whoever answers: FFmpeg looks at certificates first.
            Some(_) => probe::reach(url, options.open_timeout).map(|()| None)?,
            None => probe::probe(url, options.open_timeout)?,
        };
        let left = options.open_timeout.saturating_sub(started.elapsed()).max(OPEN_TIME_MIN);
        let secret = url.for_library();
        let ear = Ear::confined(Origin::of(&secret));
        let (asked, hw) = (Instant::now(), options.hw_acceleration);
        let open = |timeout| {
            let wanted = Wanted {
                url: &secret,
                scheme: url.scheme(),
                transport: options.transport,
                pixels_max: options.pixels_max,
                hw_acceleration: hw,
                timeout,
                signers,
            };
            ear.listen_to_opening(|| Link::open(&wanted))
        };
        let (mut link, mut lines) = open(left);
        if link.is_err() && ear.refused().is_none() && asked.elapsed() + PROBE_CLOSES < left {
            sleep(PROBE_CLOSES);
            (link, lines) = open(left.saturating_sub(asked.elapsed()).max(OPEN_TIME_MIN));
        }
        let link = match link {
            Ok(link) => link,
            Err(mut why) => {
                why.refused = why.refused.or(ear.refused());
                return Err(not_opened(url, doubt.as_ref(), &why, &lines, left));
            }
        };
        Self::of(link, ear, url.clone(), options)
    }

    fn of(link: Link, ear: Arc<Ear>, url: StreamUrl, options: &OpenOptions) -> Result<Self, VisionError> {
        let (hw, has_hardware) = (options.hw_acceleration, link.reader.has_hardware());
        if hw != HwAcceleration::None && !has_hardware {
            tracing::warn!(source = url.shown(), wanted = %hw, "found no such hardware decoder; the processor decodes");
        }
        let (fps, frame_count, secs) = link.reader.announced(false);
        let fps = fps.filter(|fps| *fps <= FPS_MAX);
        let is_file = url.may_be_file() && secs.is_some();
        let clock = if is_file {
            Clock::Container(Timeline::new(fps))
        } else {
            let now = Instant::now();
            let pace = link.reader.has_own_times().then(|| Pace::new(options.read_timeout, now));
            Clock::Wall { opened: now, last_micros: -1, pace }
        };
        let mut source = Self {
            link,
            ear,
            description: SourceDescription {
                uri: url.shown().to_owned(),
                size: ImageSize { width: 1, height: 1 },
                fps,
                frame_count: frame_count.filter(|_| is_file),
                is_live: !is_file,
                is_part: false,
                hw_acceleration: if has_hardware { hw } else { HwAcceleration::None },
            },
            url,
            clock,
            converter: Converter::default(),
            waiting: VecDeque::new(),
            index: 0,
            unconverted: 0,
            read_timeout: options.read_timeout,
            rate: RateWatch::default(),
            reason: Vec::new(),
            complaints: Complaints::default(),
            lag_told: Duration::ZERO,
            counted: SourceCounts::default(),
            is_cut_off: false,
            is_over: false,
            is_ended: false,
            is_changed: false,
        };
        if source.description.is_live && source.link.reader.is_playlist() {
            tracing::info!(
                source = source.url.shown(),
                "found a live playlist; it is played at its own speed from its third newest segment on, so much later"
            );
        }
        source.link.allow(source.read_timeout);
        source.fill(1);
        let Some(first) = source.waiting.front() else { return Err(source.has_no_frames()) };
        source.description.size = source.size_of(first);
        Ok(source)
    }

    fn has_no_frames(&self) -> VisionError {
        if let Some(error) = self.strayed() {
            return error;
        }
        let (uri, lines) = (&self.description.uri, self.hidden());
        if self.link.is_late() {
            return VisionError::new(
                VisionErrorKind::Stalled,
                format!(
                    "{uri}: found no picture within {:.1} s{}, wanted a stream that gives pictures",
                    self.read_timeout.as_secs_f64(),
                    because(&lines)
                ),
            );
        }
        VisionError::new(
            VisionErrorKind::Empty,
            format!("{uri}: found a video with 0 frames{}, wanted at least 1", because(&lines)),
        )
    }

    /// Decodes until so many pictures wait, or the data are over.
    fn fill(&mut self, wanted: usize) {
        while self.waiting.len() < wanted && !self.is_over {
            let (decoded, lines) = self.ear.listen(|| self.link.reader.next());
            self.is_cut_off |= lines.iter().any(|line| is_cut_off(line));
            let Some(decoded) = decoded else {
                (self.reason, self.is_over) = (lines, true);
                return;
            };
            self.waiting.push_back(decoded);
            self.complaints.say(&self.description.uri, self.ear.errors() + self.unconverted, self.index, || {
                lines.first().map(|line| self.url.hide(line)).unwrap_or_default()
            });
        }
    }

    fn size_of(&self, decoded: &Decoded) -> ImageSize {
        let size = ImageSize { width: decoded.frame.width(), height: decoded.frame.height() };
        self.link.reader.orientation(&decoded.frame).size(size)
    }

    /// Returns the next picture and its place in time; `None` at the end.
    fn advance(&mut self) -> Result<Option<(Decoded, MediaTime)>, VisionError> {
        if self.is_ended || self.is_changed {
            return Ok(None);
        }
        let asked = Instant::now();
        // For all that this call decodes: whoever waits for it knows no more.
        self.link.allow(self.read_timeout);
        self.fill(1);
        // Segments of another server would be missing in silence.
        if let Some(error) = self.strayed() {
            self.is_ended = true;
            return Err(error);
        }
        let Some(front) = self.waiting.front() else {
            self.is_ended = true;
            return self.end(asked.elapsed()).map(|()| None);
        };
        let size = self.size_of(front);
        if size != self.description.size {
            let text = |size: ImageSize| format!("{}x{}", size.width, size.height);
            self.is_changed = !self.description.is_live;
            return Err(self.changed(&format!("pictures of {}", text(size)), &text(self.description.size)));
        }
        if let (Clock::Wall { .. }, Some(reported)) = (&self.clock, front.reported)
            && let Some((before, now)) = self.rate.see(reported as f64 / 1e3)
        {
            return Err(self.changed(&format!("{now:.1} frames a second"), &format!("{before:.1}")));
        }
        self.look_ahead();
        let Some(front) = self.waiting.pop_front() else { return Ok(None) };
        let media_time = self.place(front.reported);
        self.index += 1;
        Ok(Some((front, media_time)))
    }

    /// Decodes the pictures of a file by which the time of the next one is judged.
    fn look_ahead(&mut self) {
        let reported = |at: usize, waiting: &VecDeque<Decoded>| waiting.get(at).and_then(|decoded| decoded.reported);
        if matches!(self.clock, Clock::Container(_)) {
            self.fill(2);
            let (own, next) = (reported(0, &self.waiting), reported(1, &self.waiting));
            if let Clock::Container(timeline) = &self.clock
                && timeline.is_odd(own, next)
            {
                self.fill(1 + AHEAD);
            }
        }
    }

    /// Returns the place of a picture in time; that of a live stream, once it has come.
    fn place(&mut self, reported: Option<i64>) -> MediaTime {
        let (opened, last_micros, pace) = match &mut self.clock {
            Clock::Container(timeline) => {
                let ahead: Vec<Option<i64>> = self.waiting.iter().map(|decoded| decoded.reported).collect();
                return timeline.place(reported, &ahead);
            }
            Clock::Wall { opened, last_micros, pace } => (opened, last_micros, pace),
        };
        let now = Instant::now();
        let due = pace.as_mut().map_or(now, |pace| pace.due(reported, now));
        sleep(due.saturating_duration_since(Instant::now()));
        *last_micros = (due.saturating_duration_since(*opened).as_micros() as i64).max(*last_micros + 1);
        let media_time = MediaTime::from_micros(*last_micros);
        if let Some(lag) = pace.as_ref().map(Pace::lag).filter(|lag| *lag >= self.lag_told + LAG_TOLD) {
            self.lag_told = lag;
            tracing::info!(
                source = %self.description.uri,
                lag_seconds = format!("{:.1}", lag.as_secs_f64()),
                "found pictures that came late; those that follow are played at their own speed, so much later"
            );
        }
        media_time
    }

    fn changed(&mut self, found: &str, wanted: &str) -> VisionError {
        self.is_ended = !self.is_changed;
        VisionError::new(
            VisionErrorKind::SourceChanged,
            format!(
                "{}: found {found} after {} frames, wanted {wanted} as at its opening: what follows is another run",
                self.description.uri, self.index
            ),
        )
    }

    /// Returns lines of FFmpeg about the last call without credentials.
    fn hidden(&self) -> Vec<String> {
        self.reason.iter().map(|line| self.url.hide(line)).collect()
    }

    /// Returns an error where the server wanted to send requests elsewhere.
    fn strayed(&self) -> Option<VisionError> {
        let refused = self.link.refused().or_else(|| self.ear.refused())?;
        Some(strays(&self.url, &refused))
    }

    /// Judges whether this end, which came after waiting a while for a picture, is the right one.
    fn end(&self, waited: Duration) -> Result<(), VisionError> {
        let (uri, lines, frames) = (&self.description.uri, self.hidden(), self.index);
        let errors = self.counts().decode_errors;
        if errors > 0 {
            tracing::warn!(source = %uri, complaints = errors, frames, "found damaged data until the end");
        }
        let why = match self.link.reader.end() {
            Some(DataEnd::Failed(error)) => Some(error.to_string()),
            Some(DataEnd::InPacket) => Some("it ends within a picture".to_owned()),
            _ if self.is_cut_off => Some("its container says so".to_owned()),
            _ => None,
        };
        let reasons = because(&why.clone().into_iter().chain(lines).collect::<Vec<_>>());
        let text = match &self.clock {
            _ if self.link.is_late() => {
                let found = format!("found no frame within {:.1} s", self.read_timeout.as_secs_f64());
                let text = format!("{uri}: {found} after {frames} frames{reasons}, wanted it to go on");
                return Err(VisionError::new(VisionErrorKind::Stalled, text));
            }
            Clock::Wall { last_micros, .. } => format!(
                "{uri}: found its end after {frames} frames in {:.2} s, the last {:.2} s without one{reasons}, wanted it to \
                 go on",
                (*last_micros).max(0) as f64 / 1e6,
                waited.as_secs_f64(),
            ),
            Clock::Container(_) if why.is_none() => return Ok(()),
            Clock::Container(timeline) => format!(
                "{uri}: found {frames} frames up to {:.2} s, wanted a whole file: the video breaks off{reasons}",
                timeline.last_secs(),
            ),
        };
        Err(VisionError::new(VisionErrorKind::Incomplete, text))
    }
}

impl FrameSource for StreamSource {
    fn description(&self) -> &SourceDescription {
        &self.description
    }

    fn counts(&self) -> SourceCounts {
        let replaced = match &self.clock {
            Clock::Container(timeline) => timeline.replaced(),
            Clock::Wall { .. } => 0,
        };
        SourceCounts {
            decode_errors: self.ear.errors() + self.unconverted - self.counted.decode_errors,
            times_replaced: replaced - self.counted.times_replaced,
        }
    }

    fn next_frame(&mut self) -> Result<Option<Frame>, VisionError> {
        for _ in 0..UNCONVERTED_MAX {
            let Some((decoded, media_time)) = self.advance()? else { return Ok(None) };
            let turn = self.link.reader.orientation(&decoded.frame);
            match self.converter.convert(&decoded.frame, turn) {
                Ok(image) => return Ok(Some(Frame { index: self.index, media_time, image: Arc::new(image) })),
                // It keeps its place in time and its index.
                Err(error) => {
                    if self.unconverted == 0 {
                        tracing::warn!(source = %self.description.uri, frame = self.index, %error, "leave a picture out");
                    }
                    self.unconverted += 1;
                }
            }
        }
        self.is_ended = true;
        let uri = &self.description.uri;
        let text = format!("{uri}: found {UNCONVERTED_MAX} frames in a row that can't be converted, wanted pictures");
        Err(VisionError::new(VisionErrorKind::Unreadable, text))
    }

    fn skip_frame(&mut self) -> Result<bool, VisionError> {
        Ok(self.advance()?.is_some())
    }

    fn begin_next_run(&mut self) -> bool {
        let Some(front) = self.waiting.front().filter(|_| self.is_changed) else { return false };
        let size = self.size_of(front);
        let (before, now) = (self.counted, self.counts());
        self.counted = SourceCounts {
            decode_errors: before.decode_errors + now.decode_errors,
            times_replaced: before.times_replaced + now.times_replaced,
        };
        (self.description.size, self.index, self.is_changed) = (size, 0, false);
        true
    }
}

/// Returns the file of those who may sign the certificate of a stream; says aloud where nobody looks at it.
fn check_certificates<'a>(url: &StreamUrl, certificates: &'a Certificates) -> Result<Option<&'a Path>, VisionError> {
    let source = url.shown();
    let refused = |text: String| Err(VisionError::new(VisionErrorKind::Config, format!("{source}: {text}")));
    match (certificates, url.scheme()) {
        (_, scheme) if !matches!(scheme, "https" | "rtsps" | "rtmps") => Ok(None),
        (Certificates::SignedBy(path), "https") => match std::fs::read(path) {
            Ok(text) if text.windows(10).any(|part| part == b"-----BEGIN") => Ok(Some(path)),
            Ok(_) => refused(format!("found no certificate in tls_ca {}, wanted a file of PEM", path.display())),
            Err(error) => refused(format!("can't read tls_ca {} ({error}), wanted a file of PEM", path.display())),
        },
        (Certificates::SignedBy(_), scheme) => refused(format!(
            "found tls_ca with {scheme}, whose certificates FFmpeg's libraries can't check: wanted https, a GStreamer pipeline \
             (rtspsrc tls-database=…), or tls_insecure: true"
        )),
        (Certificates::Insecure, _) => {
            tracing::info!(source, "leave the certificate of the stream unchecked, as tls_insecure says");
            Ok(None)
        }
        (Certificates::Unchecked, _) => {
            tracing::warn!(
                source,
                "found nothing to check the certificate of the stream by, so anybody on the way may be its server: \
                 wanted tls_ca with its signer, or tls_insecure: true"
            );
            Ok(None)
        }
    }
}

fn strays(url: &StreamUrl, refused: &str) -> VisionError {
    VisionError::new(
        VisionErrorKind::NotAStream,
        format!(
            "{}: found that it wants {} to be asked, wanted requests to its own host, port and scheme alone: if that is right, \
             name that URL as the source",
            url.shown(),
            rva_types::shown_source(refused),
        ),
    )
}

fn not_opened(
    url: &StreamUrl,
    doubt: Option<&Doubt>,
    why: &NotOpened,
    lines: &[String],
    left: Duration,
) -> VisionError {
    if let Some(refused) = &why.refused {
        return strays(url, refused);
    }
    let lines: Vec<String> =
        doubt.map(Doubt::to_string).into_iter().chain(lines.iter().map(|line| url.hide(line))).collect();
    let is_refused = |line: &String| line.contains("401 Unauthorized");
    let (kind, found) = if why.error == ffmpeg_next::Error::HttpUnauthorized || lines.iter().any(is_refused) {
        (VisionErrorKind::Unauthorized, "that FFmpeg's login is refused (401)".to_owned())
    } else if lines.iter().any(|line| line.contains("not on whitelist")) {
        let found = "a manifest or description that FFmpeg can't be kept from following elsewhere (DASH, SDP, …)";
        return VisionError::new(
            VisionErrorKind::NotAStream,
            format!("{}: found {found}, wanted HLS, motion JPEG or a film over HTTP", url.shown()),
        );
    } else if lines.iter().any(|line| line.contains("certificate")) {
        (VisionErrorKind::NotAStream, "a certificate that tls_ca doesn't vouch for".to_owned())
    } else if why.is_late {
        (VisionErrorKind::Stalled, format!("no pictures within {:.1} s", left.as_secs_f64()))
    } else if why.error == ffmpeg_next::Error::StreamNotFound && lines.is_empty() {
        (VisionErrorKind::NotAStream, "a stream without pictures".to_owned())
    } else {
        (VisionErrorKind::Unreadable, format!("that FFmpeg can't open it, {}", why.error))
    };
    VisionError::new(
        kind,
        format!("{}: found {found}{}, wanted a stream of video that FFmpeg can decode", url.shown(), because(&lines)),
    )
}
