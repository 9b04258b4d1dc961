//! Videos as one source: those of a folder, or those that match a pattern, in natural order, each a run of its own.
//!
//! A camera's recorder cuts its day into such files. So media time goes on from one to the next, by the usual step of
//! the one that ended: two of them never claim the same time. A video that can't be read, or breaks off, doesn't end
//! the others: it is told and counted, and the source ends as incomplete when all others are through.

use super::file::FileSource;
use crate::{Frame, FrameSource, OpenOptions, SourceCounts, SourceDescription, VisionError, VisionErrorKind};
use rva_types::MediaTime;
use std::{collections::VecDeque, path::PathBuf};

/// Videos in order, each opened when the one before it has ended.
pub(super) struct VideosSource {
    uri: String,
    options: OpenOptions,
    /// The number of all videos.
    count: usize,
    /// The videos that weren't opened yet.
    waiting: VecDeque<PathBuf>,
    current: FileSource,
    description: SourceDescription,
    /// The place of the current video's beginning in time.
    begins_at: MediaTime,
    /// The next video, open, once the current one has ended.
    next: Option<(FileSource, SourceDescription)>,
    troubles: Troubles,
    is_over: bool,
}

/// The videos that can't be read or break off.
#[derive(Default)]
struct Troubles {
    count: u64,
    /// The number of those of this run that couldn't be opened.
    unopened: u64,
    first: Option<VisionError>,
}

impl Troubles {
    fn take(&mut self, uri: &str, error: VisionError) {
        self.count += 1;
        tracing::warn!(source = %uri, "{error}: the other videos go on");
        self.first.get_or_insert(error);
    }
}

impl VideosSource {
    /// Opens the first video that can be read; there is at least one path.
    pub(super) fn open(uri: &str, paths: Vec<PathBuf>, options: &OpenOptions) -> Result<Self, VisionError> {
        let (count, mut waiting, mut troubles) = (paths.len(), VecDeque::from(paths), Troubles::default());
        let Some((current, description)) = next_of(&mut waiting, uri, options, &mut troubles) else {
            return Err(none_readable(uri, count, troubles));
        };
        tracing::info!(source = %uri, videos = count, "each video is a run of its own, one after the other");
        Ok(Self {
            uri: uri.to_owned(),
            options: options.clone(),
            count,
            waiting,
            current,
            description,
            begins_at: MediaTime::from_micros(0),
            next: None,
            troubles,
            is_over: false,
        })
    }

    /// Goes on after the end of the current video: with the next one, as another run, or to the end of all.
    fn ended(&mut self) -> Result<(), VisionError> {
        if self.is_over || self.next.is_some() {
            return Ok(());
        }
        self.next = next_of(&mut self.waiting, &self.uri, &self.options, &mut self.troubles);
        if let Some((_, next)) = &self.next {
            let before = &self.description.uri;
            return Err(VisionError::new(
                VisionErrorKind::SourceChanged,
                format!("{before}: found its end, {} follows as another run", next.uri),
            ));
        }
        self.is_over = true;
        let Some(error) = self.troubles.first.take() else { return Ok(()) };
        Err(VisionError::new(
            VisionErrorKind::Incomplete,
            format!(
                "{}: found {} of {} videos that can't be read or break off, wanted all whole: the others are done \
                 (the first: {error})",
                self.uri, self.troubles.count, self.count
            ),
        )
        .with_source(error))
    }

    /// Takes an error of the current video: a change within it is another run of it, else it is over.
    fn failed(&mut self, error: VisionError) -> Result<(), VisionError> {
        if error.kind() == VisionErrorKind::SourceChanged {
            return Err(error);
        }
        self.troubles.take(&self.uri, error);
        self.ended()
    }
}

/// Opens the next video that can be read, with its description; `None` where none is left.
fn next_of(
    waiting: &mut VecDeque<PathBuf>,
    uri: &str,
    options: &OpenOptions,
    troubles: &mut Troubles,
) -> Option<(FileSource, SourceDescription)> {
    while let Some(path) = waiting.pop_front() {
        match FileSource::open(&path.to_string_lossy(), options) {
            Ok(source) => {
                let description = described(&source);
                return Some((source, description));
            }
            Err(error) => {
                troubles.unopened += 1;
                troubles.take(uri, error);
            }
        }
    }
    None
}

fn described(source: &FileSource) -> SourceDescription {
    SourceDescription { is_part: true, ..source.description().clone() }
}

fn none_readable(uri: &str, count: usize, troubles: Troubles) -> VisionError {
    match troubles.first {
        Some(error) if count > 1 => VisionError::new(
            error.kind(),
            format!(
                "{uri}: found {count} videos that can't be read, wanted at least one that can (the first: {error})"
            ),
        )
        .with_source(error),
        Some(error) => error,
        None => VisionError::new(VisionErrorKind::Empty, format!("{uri}: found no videos, wanted at least one")),
    }
}

impl FrameSource for VideosSource {
    fn description(&self) -> &SourceDescription {
        &self.description
    }

    fn counts(&self) -> SourceCounts {
        let counts = self.current.counts();
        SourceCounts { decode_errors: counts.decode_errors + self.troubles.unopened, ..counts }
    }

    fn next_frame(&mut self) -> Result<Option<Frame>, VisionError> {
        let begins_at = self.begins_at.as_micros();
        match self.current.next_frame() {
            Ok(Some(frame)) => {
                let media_time = MediaTime::from_micros(begins_at.saturating_add(frame.media_time.as_micros()));
                Ok(Some(Frame { media_time, ..frame }))
            }
            Ok(None) => self.ended().map(|()| None),
            Err(error) => self.failed(error).map(|()| None),
        }
    }

    fn skip_frame(&mut self) -> Result<bool, VisionError> {
        match self.current.skip_frame() {
            Ok(true) => Ok(true),
            Ok(false) => self.ended().map(|()| false),
            Err(error) => self.failed(error).map(|()| false),
        }
    }

    fn begin_next_run(&mut self) -> bool {
        if let Some((next, description)) = self.next.take() {
            let lasted = self.current.ends_at().as_micros();
            self.begins_at = MediaTime::from_micros(self.begins_at.as_micros().saturating_add(lasted));
            (self.current, self.description, self.troubles.unopened) = (next, description, 0);
            return true;
        }
        let goes_on = self.current.begin_next_run();
        if goes_on {
            (self.description, self.troubles.unopened) = (described(&self.current), 0);
        }
        goes_on
    }
}
