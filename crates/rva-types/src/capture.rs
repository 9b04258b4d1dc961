//! The capture times that a record may have.
//!
//! Every engine makes a column of them, and one text that is no time breaks a query over all rows. So a record's
//! `capture_ts` is checked where the record enters; one that has none is left to the reader of the table.

use crate::{
    Rejection, RejectionReason, Timestamp,
    fields::{Field, Start, short},
};
use serde_json::Value;

/// The first time that is taken: a camera that says less has a clock that was never set.
const FIRST: Timestamp = Timestamp::from_micros(946_684_800_000_000);

/// The time that a camera's clock may be ahead of ours: a day.
const AHEAD_MAX_MICROS: i64 = 24 * 60 * 60 * 1_000_000;

/// Checks a record's `capture_ts`, if it has one: an RFC 3339 time, not before the year 2000 and at most a day after
/// the message was received.
///
/// # Errors
/// Returns a rejection that names what was found.
pub(crate) fn check_capture_ts(found: &Option<Field<'_>>, received: Timestamp) -> Result<(), Rejection> {
    let refuse = |detail: String| Err(Rejection::new(RejectionReason::InvalidCaptureTs, detail));
    let text = match found {
        None | Some(Field::Other(Value::Null)) => return Ok(()),
        Some(Field::Text(text)) => text,
        Some(other) => {
            return refuse(format!("found capture_ts {}, wanted a string that is an RFC 3339 time", short(other)));
        }
    };
    let Ok(time) = Timestamp::parse(text) else {
        let found = Start(text, 64);
        return refuse(format!(
            "found capture_ts {found}, wanted an RFC 3339 time like 2026-01-31T08:00:00.000000+00:00"
        ));
    };
    if time < FIRST {
        return refuse(format!("found capture_ts {text:?}, wanted a time from the year 2000 on"));
    }
    if time.as_micros() > received.as_micros().saturating_add(AHEAD_MAX_MICROS) {
        return refuse(format!(
            "found capture_ts {text:?}, wanted at most a day after {received}, when the message was received"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::{MessageDecoder, RejectionReason, Timestamp};
    use std::collections::BTreeMap;

    const RECEIVED: &str = "2026-02-01T12:00:00.000000+00:00";

    fn detail_of(capture_ts: &str) -> Option<String> {
        let body = format!(
            r#"{{"schema_version":"1.0","pipeline_run_id":"r","frame_index":1,"source":{{"store_id":"s","camera_id":"c"}},"capture_ts":{capture_ts}}}"#
        );
        let received = Timestamp::parse(RECEIVED).unwrap();
        match MessageDecoder::default().decode(body.as_bytes(), &BTreeMap::new(), received) {
            Ok(event) => {
                assert_eq!(event.payload, body, "the payload is kept byte for byte");
                None
            }
            Err(rejection) => {
                assert_eq!(rejection.reason, RejectionReason::InvalidCaptureTs, "{capture_ts}");
                Some(rejection.detail)
            }
        }
    }

    #[test]
    fn times_of_rfc_3339_are_accepted_however_they_are_written() {
        for text in [
            "2026-01-31T08:00:00.000000+00:00",
            "2026-01-31T08:00:00Z",
            "2026-01-31t08:00:00z",
            "2026-01-31 08:00:00Z",
            "2026-01-31T08:00:00.123456789Z",
            "2026-01-31T08:00:00.1+05:30",
            "2026-01-31T08:00:00-00:00",
            "2016-12-31T23:59:60Z",
            "2024-02-29T00:00:00Z",
            "2000-01-01T00:00:00Z",
            "1999-12-31T23:00:00-01:00",
            "2026-02-02T12:00:00+00:00",
        ] {
            assert_eq!(detail_of(&format!("{text:?}")), None, "{text}");
        }
    }

    #[test]
    fn a_record_without_a_capture_time_is_left_to_who_reads_the_table() {
        assert_eq!(detail_of("null"), None);
    }

    #[test]
    fn what_is_no_time_is_named() {
        for found in [
            r#""""#,
            "1769846400",
            "1769846400.5",
            r#""1769846400""#,
            r#""2026-01-31T08:00Z""#,
            r#""2026-01-31T08:00:00""#,
            r#""2026-01-31""#,
            r#""2026-02-30T08:00:00Z""#,
            r#""2026-01-31T24:00:00Z""#,
            r#""2026-01-31T08:00:00+0000""#,
            r#""2026-01-31T08:00:00Z ""#,
            r#"" 2026-01-31T08:00:00Z""#,
            r#""2026-1-31T8:00:00Z""#,
            r#""+10000-01-01T00:00:00Z""#,
            r#""yesterday""#,
            r#""NaT""#,
            "true",
            "[1]",
            "{}",
        ] {
            let detail = detail_of(found).unwrap_or_else(|| panic!("{found} was accepted"));
            assert!(detail.contains(found) && detail.contains("RFC 3339"), "{detail}");
        }
    }

    #[test]
    fn absurd_times_are_named_with_what_they_were_compared_with() {
        for found in ["0000-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "1999-12-31T23:59:59.999999Z"] {
            let detail = detail_of(&format!("{found:?}")).unwrap();
            assert!(detail.contains(found) && detail.contains("the year 2000"), "{detail}");
        }
        for found in ["2026-02-02T12:00:00.000001Z", "9999-12-31T23:59:59Z", "2026-02-02T11:30:00-01:00"] {
            let detail = detail_of(&format!("{found:?}")).unwrap();
            assert!(detail.contains(found) && detail.contains(RECEIVED), "{detail}");
        }
    }
}
