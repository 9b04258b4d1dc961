//! The traces of frames that a batch carries, and that of its commit.

use crate::{IngestCounters, IngestEvent, IngestObserver, TracedMessage};
use rva_service::{TRACE_LINKS_MAX, TraceSpan, Traces};
use std::time::SystemTime;

/// An observer that goes on with the traces of frames: each gets a span from the log's acceptance to the commit, which is
/// a trace of its own, since it has many frames, and linked both ways.
#[derive(Debug)]
pub(super) struct CommitTraces {
    traces: Traces,
    /// The commit that is on its way, and the frames in it.
    open: Option<(TraceSpan, Vec<TraceSpan>)>,
}

impl CommitTraces {
    pub(super) fn of(traces: Traces) -> Self {
        Self { traces, open: None }
    }

    fn end(&mut self, outcome: &'static str, rows: Option<u64>) {
        let Some((mut commit, frames)) = self.open.take() else { return };
        let now = SystemTime::now();
        commit.set("rva.outcome", outcome);
        if let Some(rows) = rows {
            commit.set("rva.rows", i64::try_from(rows).unwrap_or(i64::MAX));
        }
        commit.end(now);
        frames.into_iter().for_each(|frame| frame.end(now));
    }
}

impl IngestObserver for CommitTraces {
    fn on_event(&mut self, event: &IngestEvent, _: &IngestCounters) {
        match event {
            IngestEvent::Committed { rows, .. } => self.end("committed", Some(*rows)),
            // What was read is read again.
            IngestEvent::Started { .. } | IngestEvent::Fenced => self.end("dropped", None),
            _ => {}
        }
    }

    fn on_commit(&mut self, traced: &[TracedMessage<'_>]) -> Option<String> {
        // Another attempt is the same commit.
        if self.open.is_none() {
            let names = traced.iter().map(|message| message.traceparent);
            let commit = self.traces.gather("commit", SystemTime::now(), names)?;
            let follow = |message: &TracedMessage<'_>| {
                let mut frame = self.traces.follow(message.traceparent, "ingest", message.publish_ts.into())?;
                frame.link(&commit);
                Some(frame)
            };
            let frames = traced.iter().take(TRACE_LINKS_MAX).filter_map(follow).collect();
            self.open = Some((commit, frames));
        }
        self.open.as_ref().map(|(commit, _)| commit.traceparent())
    }
}
