//! Permits for the broker to send messages: it counts messages, and the bound is on bytes.

/// The most messages that may be on their way, however small they are.
const TARGET_MAX: i32 = 10_000;

/// The broker's count of permits, and the size of messages.
///
/// The size of an entry isn't known before it comes, so permits are few at first and follow what came: the largest of
/// late counts at once, smaller ones slowly. A wrong guess doesn't break the bound, which is held where bytes are read
/// from the socket; it only makes the broker wait there.
#[derive(Debug)]
pub(super) struct Permits {
    /// The count as the broker has it, in a number that wraps: an entry counts as the messages that its producer
    /// claims.
    outstanding: i32,
    bytes_per_message: f64,
    bytes_max: f64,
    /// Set where one entry may come at a time.
    is_careful: bool,
}

impl Permits {
    /// Makes the permits of a new consumer: messages count as large as they may be, until they are seen; so many bytes
    /// may be on their way.
    pub(crate) fn new(message_bytes_max: usize, bytes_max: usize) -> Self {
        Self {
            outstanding: 0,
            bytes_per_message: message_bytes_max.max(1) as f64,
            bytes_max: bytes_max as f64,
            is_careful: false,
        }
    }

    /// Hears of an entry that came.
    pub(crate) fn came(&mut self, claimed: i64, bytes: usize) {
        // The broker's own arithmetic.
        #[allow(clippy::cast_possible_truncation, reason = "the low 32 bits are meant")]
        let claimed_bits = claimed as i32;
        self.outstanding = self.outstanding.wrapping_sub(claimed_bits);
        let now = bytes as f64 / claimed.max(1) as f64;
        self.bytes_per_message = now.max((self.bytes_per_message + now) / 2.0).max(1.0);
    }

    /// Lets one entry come at a time, or as many as there is room for.
    pub(crate) fn be_careful(&mut self, is_careful: bool) {
        self.is_careful = is_careful;
    }

    fn target(&self) -> i32 {
        if self.is_careful {
            return 1;
        }
        // Saturates; a number that isn't one is 0.
        ((self.bytes_max / self.bytes_per_message) as i32).clamp(1, TARGET_MAX)
    }

    /// Returns the permits to give now, 0 for none. They count as given.
    pub(crate) fn give(&mut self) -> i64 {
        let target = self.target();
        if self.outstanding > target / 2 {
            return 0;
        }
        let permits = i64::from(target) - i64::from(self.outstanding);
        self.outstanding = target;
        permits
    }

    /// Returns whether the broker has permits that nobody gave: an entry claimed to have fewer messages than none.
    pub(crate) fn are_spoiled(&self) -> bool {
        self.outstanding > 2 * TARGET_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_are_given_at_first_and_more_when_messages_are_seen_to_be_small() {
        let mut permits = Permits::new(5 << 20, 8 << 20);
        assert_eq!((permits.give(), permits.give()), (1, 0));
        for _ in 0..40 {
            permits.came(1, 1000);
            permits.give();
        }
        let target = permits.target();
        assert!((7_000..9_000).contains(&target), "{target}");
        permits.came(1, 5 << 20);
        assert_eq!(permits.target(), 1, "a large one counts at once");
        assert_eq!(permits.give(), 0, "permits can't be taken back");
    }

    #[test]
    fn a_batch_counts_as_its_messages_also_below_nothing() {
        let mut permits = Permits::new(1 << 20, 1 << 20);
        assert_eq!(permits.give(), 1);
        permits.came(1000, 100_000);
        assert_eq!(permits.outstanding, -999);
        let given = permits.give();
        assert_eq!(given - 999, i64::from(permits.target()));
    }

    #[test]
    fn any_claim_is_counted_as_the_broker_does() {
        let mut permits = Permits::new(1, 1 << 20);
        permits.give();
        permits.came(i64::from(i32::MAX), 100);
        permits.came(i64::from(i32::MAX), 100);
        assert!(!permits.are_spoiled());
        assert!(permits.give() >= 0);
        permits.came(-1_000_000, 100);
        assert!(permits.are_spoiled());
        permits.came(i64::from(i32::MIN), 100);
        permits.give();
    }
}
