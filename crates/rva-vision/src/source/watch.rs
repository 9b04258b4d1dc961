//! A source on a thread of its own, so that one that hangs inside a library can be given up.
//!
//! A call that hangs can't be ended from outside. The thread is left behind with all that it holds, and counted; when
//! the call comes back after all, the thread ends and is no longer counted.

use crate::{Frame, FrameSource, SourceCounts, SourceDescription, VisionError, VisionErrorKind};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

/// The number of threads that may hang at the same time in one process. Each holds a connection and a decoder.
const ABANDONED_MAX: usize = 16;
/// The time that a library may take beyond its own time-out.
const MARGIN: Duration = Duration::from_secs(2);
/// The time that the end of a source is waited for, so that a camera that serves one client can be opened again.
const CLOSE_TIME: Duration = Duration::from_secs(1);

static ABANDONED: Abandoned = Abandoned { now: AtomicUsize::new(0), total: AtomicU64::new(0) };

/// The captures that hang, or hung, inside a library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AbandonedCaptures {
    /// The number of threads that hang now.
    pub now: usize,
    /// The number of all that were ever given up.
    pub total: u64,
    /// The number from which on no stream is opened.
    pub max: usize,
}

/// Returns the number of captures of this process that were given up because they hung inside a library.
pub fn abandoned_captures() -> AbandonedCaptures {
    AbandonedCaptures {
        now: ABANDONED.now.load(Ordering::Acquire),
        total: ABANDONED.total.load(Ordering::Acquire),
        max: ABANDONED_MAX,
    }
}

#[derive(Debug, Default)]
struct Abandoned {
    now: AtomicUsize,
    total: AtomicU64,
}

const RUNNING: u8 = 0;
const GIVEN_UP: u8 = 1;
const ENDED: u8 = 2;

/// A thread, and whether somebody still waits for it.
struct Watched {
    state: AtomicU8,
    counts: &'static Abandoned,
}

impl Watched {
    fn give_up(&self) {
        if self.state.compare_exchange(RUNNING, GIVEN_UP, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            self.counts.now.fetch_add(1, Ordering::AcqRel);
            self.counts.total.fetch_add(1, Ordering::AcqRel);
        }
    }
}

/// A guard that says at the end of a thread that it has one.
struct EndGuard(Arc<Watched>);

impl Drop for EndGuard {
    fn drop(&mut self) {
        if self.0.state.swap(ENDED, Ordering::AcqRel) == GIVEN_UP {
            self.0.counts.now.fetch_sub(1, Ordering::AcqRel);
            tracing::info!("a capture that was given up has come back, and ended");
        }
    }
}

enum Request {
    Next,
    Skip,
    NextRun,
}

enum Answer {
    Frame(Result<Option<Frame>, VisionError>),
    Skipped(Result<bool, VisionError>),
    /// The description of the next run, where there is one.
    Begun(Option<SourceDescription>),
}

/// The time that the calls of a source may take at most.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// The time for opening, with the first frame.
    pub(super) open: Duration,
    /// The time for a frame.
    pub(super) read: Duration,
}

impl Limits {
    /// Returns limits with a margin beyond the source's own time-outs: `open_timeout` for the probe and as much for the
    /// library, then `read_timeout` for the first frame.
    pub(super) fn of(open_timeout: Duration, read_timeout: Duration) -> Self {
        Self { open: open_timeout * 2 + read_timeout + MARGIN, read: read_timeout + MARGIN }
    }
}

/// The near end of a source that runs on another thread.
pub(super) struct WatchedSource {
    description: SourceDescription,
    limits: Limits,
    requests: Option<Sender<Request>>,
    answers: Receiver<(Answer, SourceCounts)>,
    counts: SourceCounts,
    watched: Arc<Watched>,
    ended: Receiver<()>,
}

/// Opens a source on a thread of its own; `uri` is how errors call it.
///
/// # Errors
/// Returns those of `open`; [`VisionErrorKind::Stalled`] where it doesn't come back in time,
/// [`VisionErrorKind::Exhausted`] where too many others haven't.
pub(super) fn watched<S: FrameSource + 'static>(
    uri: &str,
    limits: Limits,
    open: impl FnOnce() -> Result<S, VisionError> + Send + 'static,
) -> Result<WatchedSource, VisionError> {
    watched_in(&ABANDONED, ABANDONED_MAX, uri, limits, open)
}

fn watched_in<S: FrameSource + 'static>(
    counts: &'static Abandoned,
    max: usize,
    uri: &str,
    limits: Limits,
    open: impl FnOnce() -> Result<S, VisionError> + Send + 'static,
) -> Result<WatchedSource, VisionError> {
    let now = counts.now.load(Ordering::Acquire);
    if now >= max {
        return Err(VisionError::new(
            VisionErrorKind::Exhausted,
            format!(
                "{uri}: found {now} captures that hang inside the video library, wanted fewer than {max}: restart this process"
            ),
        ));
    }
    let watched = Arc::new(Watched { state: AtomicU8::new(RUNNING), counts });
    let (opened, opening) = bounded(1);
    let (requests, requested) = bounded::<Request>(1);
    let (answer, answers) = bounded(1);
    let (ending, ended) = bounded(0);
    let guard = EndGuard(watched.clone());
    let span = tracing::Span::current();
    let work = move || {
        // The first declared goes last: the thread has ended only when the source is closed.
        let _ending: Sender<()> = ending;
        let _guard = guard;
        let _span = span.entered();
        let mut source = match open() {
            Ok(source) => source,
            Err(error) => return drop(opened.send(Err(error))),
        };
        if opened.send(Ok(source.description().clone())).is_err() {
            return;
        }
        for request in requested {
            let found = match request {
                Request::Next => Answer::Frame(source.next_frame()),
                Request::Skip => Answer::Skipped(source.skip_frame()),
                Request::NextRun => Answer::Begun(source.begin_next_run().then(|| source.description().clone())),
            };
            if answer.send((found, source.counts())).is_err() {
                return;
            }
        }
    };
    let thread = std::thread::Builder::new().name("rva-capture".into()).spawn(work);
    thread.map_err(|error| VisionError::new(VisionErrorKind::Fault, format!("{uri}: start a thread: {error}")))?;
    let description = match opening.recv_timeout(limits.open) {
        Ok(opened) => opened?,
        Err(error) => return Err(lost(&watched, uri, "its opening", limits.open, error)),
    };
    let requests = Some(requests);
    Ok(WatchedSource { description, limits, requests, answers, counts: SourceCounts::default(), watched, ended })
}

/// Judges a thread that didn't answer: it hangs and is given up, or it panicked.
fn lost(watched: &Watched, uri: &str, what: &str, limit: Duration, error: RecvTimeoutError) -> VisionError {
    match error {
        RecvTimeoutError::Timeout => {
            watched.give_up();
            VisionError::new(
                VisionErrorKind::Stalled,
                format!(
                    "{uri}: found no end of {what} within {:.1} s: it hangs inside the video library and is given up, \
                     wanted a stream that goes on",
                    limit.as_secs_f64()
                ),
            )
        }
        RecvTimeoutError::Disconnected => {
            VisionError::new(VisionErrorKind::Fault, format!("{uri}: the capture's thread panicked in {what}"))
        }
    }
}

impl WatchedSource {
    /// Has the thread do something; returns `None` once it was lost.
    fn ask(&mut self, request: Request) -> Option<Result<Answer, VisionError>> {
        let sent = self.requests.as_ref()?.send(request);
        let answer = match sent {
            Ok(()) => self.answers.recv_timeout(self.limits.read),
            Err(_) => Err(RecvTimeoutError::Disconnected),
        };
        Some(match answer {
            Ok((answer, counts)) => {
                self.counts = counts;
                Ok(answer)
            }
            Err(error) => {
                self.requests = None;
                Err(lost(&self.watched, &self.description.uri, "a frame", self.limits.read, error))
            }
        })
    }

    fn out_of_turn(&self) -> VisionError {
        VisionError::new(
            VisionErrorKind::Fault,
            format!("{}: the capture's thread lost its turn", self.description.uri),
        )
    }
}

impl FrameSource for WatchedSource {
    fn description(&self) -> &SourceDescription {
        &self.description
    }

    fn counts(&self) -> SourceCounts {
        self.counts
    }

    fn next_frame(&mut self) -> Result<Option<Frame>, VisionError> {
        match self.ask(Request::Next) {
            Some(Ok(Answer::Frame(frame))) => frame,
            Some(Err(error)) => Err(error),
            Some(Ok(_)) => Err(self.out_of_turn()),
            None => Ok(None),
        }
    }

    fn skip_frame(&mut self) -> Result<bool, VisionError> {
        match self.ask(Request::Skip) {
            Some(Ok(Answer::Skipped(is_there))) => is_there,
            Some(Err(error)) => Err(error),
            Some(Ok(_)) => Err(self.out_of_turn()),
            None => Ok(false),
        }
    }

    fn begin_next_run(&mut self) -> bool {
        let Some(Ok(Answer::Begun(Some(description)))) = self.ask(Request::NextRun) else { return false };
        self.description = description;
        true
    }
}

impl Drop for WatchedSource {
    fn drop(&mut self) {
        // After a loss nobody is waited for.
        if self.requests.take().is_some() && self.ended.recv_timeout(CLOSE_TIME) == Err(RecvTimeoutError::Timeout) {
            self.watched.give_up();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::{FakeSource, Fault};
    use std::{
        sync::mpsc,
        time::{Duration, Instant},
    };

    const SHORT: Limits = Limits { open: Duration::from_millis(100), read: Duration::from_millis(100) };
    const LONG: Limits = Limits { open: Duration::from_secs(60), read: Duration::from_secs(60) };

    fn counts() -> &'static Abandoned {
        Box::leak(Box::default())
    }

    fn now(counts: &Abandoned) -> (usize, u64) {
        (counts.now.load(Ordering::Acquire), counts.total.load(Ordering::Acquire))
    }

    fn wait_until(mut is_so: impl FnMut() -> bool) {
        let started = Instant::now();
        while !is_so() {
            assert!(started.elapsed() < Duration::from_secs(60), "waited in vain");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    #[test]
    fn a_watched_source_gives_what_the_source_gives() {
        let counts = counts();
        let mut source = watched_in(counts, 1, "fake", LONG, || Ok(FakeSource::new(3))).unwrap();
        assert_eq!(source.description().uri, "fake.avi");
        assert_eq!(source.next_frame().unwrap().unwrap().index, 1);
        assert!(source.skip_frame().unwrap());
        assert_eq!(source.next_frame().unwrap().unwrap().index, 3);
        assert!(source.next_frame().unwrap().is_none());
        drop(source);
        assert_eq!(now(counts), (0, 0));
    }

    #[test]
    fn a_change_of_a_watched_source_begins_its_next_run() {
        let mut source = watched_in(counts(), 1, "cam", LONG, || Ok(FakeSource::new(5).changing_at(4))).unwrap();
        assert!(!source.begin_next_run(), "nothing has changed yet");
        (0..3).for_each(|_| assert!(source.next_frame().unwrap().is_some()));
        assert_eq!(source.next_frame().unwrap_err().kind(), VisionErrorKind::SourceChanged);
        assert!(source.begin_next_run());
        assert_eq!(source.description().size.width, 16);
        let rest: Vec<u64> = std::iter::from_fn(|| source.next_frame().unwrap()).map(|frame| frame.index).collect();
        assert_eq!(rest, [1, 2]);
    }

    #[test]
    fn errors_and_panics_come_through() {
        let counts = counts();
        let mut broken =
            watched_in(counts, 1, "fake", LONG, || Ok(FakeSource::new(3).failing_at(1, Fault::Error))).unwrap();
        assert_eq!(broken.next_frame().unwrap_err().kind(), VisionErrorKind::Incomplete);
        let mut panicking =
            watched_in(counts, 1, "fake", LONG, || Ok(FakeSource::new(3).failing_at(1, Fault::Panic))).unwrap();
        assert_eq!(panicking.next_frame().unwrap_err().kind(), VisionErrorKind::Fault);
        assert!(panicking.next_frame().unwrap().is_none(), "an error is said once, then it is over");
        let refused =
            |kind| watched_in::<FakeSource>(counts, 1, "fake", LONG, move || Err(VisionError::new(kind, "no")));
        assert_eq!(refused(VisionErrorKind::Refused).err().unwrap().kind(), VisionErrorKind::Refused);
        drop((broken, panicking));
        assert_eq!(now(counts), (0, 0));
    }

    #[test]
    fn a_source_that_blocks_is_given_up_counted_and_forgotten_when_it_comes_back() {
        let counts = counts();
        let (release, released) = mpsc::channel::<()>();
        let blocking = FakeSource::new(9).on_frame(move |index| {
            if index == 2 {
                let _ = released.recv();
            }
        });
        let mut source = watched_in(counts, 1, "rtsp://cam/1", SHORT, || Ok(blocking)).unwrap();
        assert!(source.next_frame().unwrap().is_some());
        let error = source.next_frame().unwrap_err();
        assert_eq!(error.kind(), VisionErrorKind::Stalled);
        assert!(error.to_string().contains("fake.avi: found no end of a frame within 0.1 s"), "{error}");
        assert!(source.next_frame().unwrap().is_none() && !source.skip_frame().unwrap(), "it is over");
        drop(source);
        assert_eq!(now(counts), (1, 1));
        let refused = watched_in(counts, 1, "rtsp://cam/2", LONG, || Ok(FakeSource::new(1))).err().unwrap();
        assert_eq!(refused.kind(), VisionErrorKind::Exhausted);
        assert!(refused.to_string().contains("found 1 captures that hang"), "{refused}");
        drop(release);
        wait_until(|| now(counts) == (0, 1));
        assert!(
            watched_in(counts, 1, "rtsp://cam/1", LONG, || Ok(FakeSource::new(1))).is_ok(),
            "it can be opened again"
        );
    }

    #[test]
    fn an_opening_that_blocks_for_ever_is_given_up() {
        let counts = counts();
        for abandoned in 1..=2 {
            let open = || -> Result<FakeSource, VisionError> {
                loop {
                    std::thread::park();
                }
            };
            let error = watched_in(counts, 2, "rtsp://cam/1", SHORT, open).err().unwrap();
            assert_eq!(error.kind(), VisionErrorKind::Stalled);
            assert_eq!(now(counts), (abandoned, abandoned as u64));
        }
        let error = watched_in(counts, 2, "rtsp://cam/1", SHORT, || Ok(FakeSource::new(1))).err().unwrap();
        assert_eq!(error.kind(), VisionErrorKind::Exhausted);
    }
}
