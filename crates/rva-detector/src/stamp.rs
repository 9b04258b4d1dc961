//! Capture times of frames.

use rva_types::{MediaTime, Timestamp};

/// A stamp that gives the frames of one run their capture times, strictly increasing.
#[derive(Debug, Clone)]
pub struct CaptureStamp {
    origin: Origin,
    last: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy)]
enum Origin {
    /// The start of a file, to which the frame's media time is added.
    Start(Timestamp),
    /// The wall clock at capture, for a live source.
    Clock,
}

impl CaptureStamp {
    /// Makes the stamp of a file whose first picture was taken at `start`.
    pub fn recorded(start: Timestamp) -> Self {
        Self { origin: Origin::Start(start), last: None }
    }

    /// Makes the stamp of a live source.
    pub fn live() -> Self {
        Self { origin: Origin::Clock, last: None }
    }

    /// Returns the capture time of the next frame, at least one microsecond after the one before: wall clocks step
    /// back.
    pub fn next(&mut self, media_time: MediaTime, decoded_at: Timestamp) -> Timestamp {
        let wanted = match self.origin {
            Origin::Start(start) => start.plus(media_time),
            Origin::Clock => decoded_at,
        };
        let earliest = self.last.map(|last| last.plus(MediaTime::from_micros(1)));
        let stamp = earliest.map_or(wanted, |earliest| wanted.max(earliest));
        self.last = Some(stamp);
        stamp
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: i64) -> Timestamp {
        Timestamp::from_micros(micros)
    }

    #[test]
    fn a_files_frames_are_stamped_by_start_and_media_time() {
        let mut stamp = CaptureStamp::recorded(at(1_000));
        let found: Vec<_> = [0, 40, 80].map(|t| stamp.next(MediaTime::from_micros(t), at(9_999_999))).into();
        assert_eq!(found, [at(1_000), at(1_040), at(1_080)]);
    }

    #[test]
    fn a_live_source_is_stamped_by_the_clock_and_never_goes_back() {
        let mut stamp = CaptureStamp::live();
        let found: Vec<_> = [500, 700, 600, 701, 900].map(|t| stamp.next(MediaTime::from_micros(0), at(t))).into();
        assert_eq!(found, [at(500), at(700), at(701), at(702), at(900)]);
    }

    #[test]
    fn a_clock_that_is_set_by_an_hour_either_way_gives_no_time_twice_and_is_followed_again() {
        const HOUR: i64 = 3_600_000_000;
        let (mut stamp, mut last) = (CaptureStamp::live(), at(i64::MIN));
        let back = (0..100).map(|n| 2 * HOUR + n * 40_000).chain((100..200).map(|n| HOUR + n * 40_000));
        let forward = (200..300).map(|n| 5 * HOUR + n * 40_000);
        for wall in back.chain(forward) {
            let next = stamp.next(MediaTime::from_micros(0), at(wall));
            assert!(next > last, "{next} after {last}");
            last = next;
        }
        assert_eq!(last, at(5 * HOUR + 299 * 40_000), "the present again");
    }
}
