//! A limit on warnings and errors that repeat themselves, with the number of those left out.
//!
//! Whatever tries again says its error again, and a fault that takes a second to try fills a disk in a week. The same
//! line is shown [`SAME_MAX`] times a minute, all lines of a place in the program [`PLACE_MAX`] times; how many more
//! there were is said once the minute is over and anything is logged at all. Lines for whoever looks for a fault (info
//! and below) are not limited.

use std::{
    collections::HashMap,
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};
use tracing::{
    Event, Level, Metadata, Subscriber,
    callsite::Identifier,
    field::{Field, Visit},
};
use tracing_subscriber::layer::{Context, Filter};

/// The time over which lines are counted.
const WINDOW: Duration = Duration::from_secs(60);

/// The times that one line is shown in a window.
const SAME_MAX: u64 = 10;

/// The lines of one place that are shown in a window: a thousand cameras that are dark at once are told each.
const PLACE_MAX: u64 = 2_000;

/// The lines that are told apart in a window.
const LINES_MAX: usize = 10_000;

/// A filter that leaves out lines beyond the limit.
#[derive(Debug, Default)]
pub(crate) struct Repeats {
    counted: Mutex<Counted>,
}

#[derive(Debug, Default)]
struct Counted {
    since: Option<Instant>,
    /// How often each line came, by a digest of its place and fields.
    lines: HashMap<u64, u64>,
    places: HashMap<Identifier, Place>,
}

#[derive(Debug)]
struct Place {
    target: &'static str,
    line: u32,
    shown: u64,
    left_out: u64,
}

impl Repeats {
    /// Counts a line at a moment. Returns whether it is shown, and what was left out in a window that is over.
    fn count(&self, metadata: &'static Metadata<'static>, digest: u64, now: Instant) -> (bool, Vec<Place>) {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        let mut over = Vec::new();
        if counted.since.is_none_or(|since| now.saturating_duration_since(since) >= WINDOW) {
            over.extend(std::mem::take(&mut *counted).places.into_values().filter(|place| place.left_out > 0));
            counted.since = Some(now);
        }
        let is_full = counted.lines.len() >= LINES_MAX;
        let same = match counted.lines.get_mut(&digest) {
            Some(same) => {
                *same += 1;
                *same
            }
            None if is_full => 1,
            None => *counted.lines.entry(digest).or_insert(1),
        };
        let new = Place { target: metadata.target(), line: metadata.line().unwrap_or_default(), shown: 0, left_out: 0 };
        let place = counted.places.entry(metadata.callsite()).or_insert(new);
        let is_shown = same <= SAME_MAX && place.shown < PLACE_MAX;
        *if is_shown { &mut place.shown } else { &mut place.left_out } += 1;
        (is_shown, over)
    }
}

impl<S: Subscriber> Filter<S> for Repeats {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        let metadata = event.metadata();
        if *metadata.level() > Level::WARN || metadata.target() == module_path!() {
            return true;
        }
        let (is_shown, over) = self.count(metadata, digest(event), Instant::now());
        for Place { target, line, left_out, .. } in over {
            tracing::warn!(left_out, place = %format_args!("{target}:{line}"), "lines that repeated themselves were left out");
        }
        is_shown
    }
}

/// Returns a digest of a line: its place and what its fields say.
fn digest(event: &Event<'_>) -> u64 {
    struct Digest(DefaultHasher);
    impl Visit for Digest {
        fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
            field.index().hash(&mut self.0);
            let _ = fmt::write(&mut Written(&mut self.0), format_args!("{value:?}"));
        }
    }
    struct Written<'a>(&'a mut DefaultHasher);
    impl fmt::Write for Written<'_> {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0.write(text.as_bytes());
            Ok(())
        }
    }
    let mut digest = Digest(DefaultHasher::new());
    event.metadata().callsite().hash(&mut digest.0);
    event.record(&mut digest);
    digest.0.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{io, sync::Arc};
    use tracing_subscriber::{Layer, fmt::MakeWriter, layer::SubscriberExt};

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Lines {
        type Writer = Self;

        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }

    impl Lines {
        fn of(&self, text: &str) -> usize {
            String::from_utf8(self.0.lock().unwrap().clone())
                .unwrap()
                .lines()
                .filter(|line| line.contains(text))
                .count()
        }
    }

    fn logging(lines: &Lines, work: impl FnOnce()) {
        let layer = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(lines.clone());
        let subscriber = tracing_subscriber::registry().with(layer.with_filter(Repeats::default()));
        tracing::subscriber::with_default(subscriber, work);
    }

    #[test]
    fn a_line_that_repeats_itself_is_left_out_and_others_of_its_place_are_not() {
        let lines = Lines::default();
        logging(&lines, || {
            for camera in 0..200 {
                for _ in 0..15 {
                    tracing::warn!(camera, "dark");
                    tracing::info!(camera, "still dark");
                }
            }
        });
        assert_eq!(lines.of("WARN"), 200 * SAME_MAX as usize);
        assert_eq!(lines.of("INFO"), 3_000, "what isn't a warning is not limited");
        assert_eq!(lines.of("camera=199"), 15 + SAME_MAX as usize);
    }

    #[test]
    fn a_place_whose_lines_all_differ_is_bounded_too() {
        let lines = Lines::default();
        logging(&lines, || (0..PLACE_MAX * 2).for_each(|number| tracing::error!(number, "wrong")));
        assert_eq!(lines.of("wrong"), PLACE_MAX as usize);
    }

    #[test]
    fn how_many_were_left_out_is_said_once_the_minute_is_over() {
        struct Counting;
        impl<S: Subscriber> Filter<S> for Counting {
            fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
                true
            }

            fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
                let (repeats, start) = (Repeats::default(), Instant::now());
                let count = |at| repeats.count(event.metadata(), digest(event), at);
                let shown = (0..SAME_MAX + 5).filter(|_| count(start).0).count();
                assert_eq!(shown, SAME_MAX as usize);
                let (is_shown, over) = count(start + WINDOW);
                assert!(is_shown, "a new minute");
                assert_eq!(over.iter().map(|place| place.left_out).collect::<Vec<_>>(), [5]);
                assert!(over[0].target.ends_with("repeats::tests") && over[0].line > 0, "{over:?}");
                assert!(count(start + WINDOW * 2).1.is_empty(), "nothing was left out in that one");
                true
            }
        }
        let layer = tracing_subscriber::fmt::layer().with_writer(io::sink).with_filter(Counting);
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::with_default(subscriber, || tracing::warn!("away"));
    }
}
