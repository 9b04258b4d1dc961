//! The trace of a frame: what each stage did with it, until its record is in the sink.

use rva_bus::OutgoingMessage;
use rva_service::{TraceSpan, Traces};
use rva_types::{PropertyName, SourceIdentity};
use rva_vision::TrackedFrame;
use std::time::{Instant, SystemTime};

/// The wall clock at a moment, as a frame's own two clocks say it.
fn wall(frame: &TrackedFrame, at: Instant) -> SystemTime {
    let earlier = frame.decoded.checked_duration_since(at);
    let moment = match earlier {
        Some(earlier) => frame.decoded_at.checked_sub(earlier),
        None => frame.decoded_at.checked_add(at - frame.decoded),
    };
    moment.unwrap_or(frame.decoded_at)
}

/// Begins the trace of a frame whose stages are done; `None` unless it is chosen.
pub(crate) fn begin(traces: &Traces, frame: &TrackedFrame, identity: &SourceIdentity, run: &str) -> Option<TraceSpan> {
    let first = frame.marks.worked().map(|(_, began, _)| began).next().unwrap_or(frame.decoded);
    let mut trace = traces.begin("frame", wall(frame, first))?;
    trace.set("rva.store_id", identity.store_id.to_string());
    trace.set("rva.camera_id", identity.camera_id.to_string());
    trace.set("rva.run", run.to_owned());
    trace.set("rva.frame_index", i64::try_from(frame.index).unwrap_or(i64::MAX));
    for (stage, began, took) in frame.marks.worked() {
        trace.part(stage.name(), wall(frame, began), wall(frame, began + took));
    }
    Some(trace)
}

/// Names the trace in the message, so that others go on with it.
pub(crate) fn name(trace: &TraceSpan, message: &mut OutgoingMessage) {
    message.properties.insert(PropertyName::TRACEPARENT.to_owned(), trace.traceparent());
}

/// Ends a trace whose record the sink took, or refused for good. It waited there since `since`.
pub(crate) fn end(mut trace: TraceSpan, since: SystemTime, is_accepted: bool) {
    let now = SystemTime::now();
    trace.part("send", since, now);
    trace.set("rva.accepted", is_accepted);
    trace.end(now);
}

#[cfg(test)]
mod tests {
    use super::*;
    use rva_types::{ImageSize, MediaTime};
    use rva_vision::{Image, StageMarks};
    use std::{sync::Arc, time::Duration};

    #[test]
    fn moments_before_and_after_decoding_have_their_place_on_the_wall_clock() {
        let (decoded, decoded_at) = (Instant::now() + Duration::from_secs(100), SystemTime::UNIX_EPOCH);
        let size = ImageSize { width: 2, height: 2 };
        let image = Arc::new(Image::from_bgr(size, vec![0; 12]).expect("a picture"));
        let decoded_at = decoded_at + Duration::from_secs(1_000);
        let frame = TrackedFrame {
            index: 1,
            media_time: MediaTime::from_micros(0),
            decoded_at,
            decoded,
            marks: StageMarks::default(),
            image,
            size,
            detections: Vec::new(),
        };
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        assert_eq!(wall(&frame, decoded - Duration::from_secs(2)), at(998));
        assert_eq!(wall(&frame, decoded + Duration::from_secs(3)), at(1_003));
    }
}
