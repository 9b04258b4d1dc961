//! The way from the log into memory, and everything that a log can do wrong (I8).

use super::{Failure, Ingest, LOG, Step, Then, of_log};
use crate::{Gap, Halt, IngestEnd, IngestError, IngestEvent, Offer, Phase};
use rva_bus::{BusError, Message};
use rva_types::{PartitionName, Position};
use std::time::Duration;

/// The time that a log is given for what its ranges promise before they are asked for again.
const PROMISE_PATIENCE: Duration = Duration::from_secs(2);

impl Ingest<'_> {
    pub(super) async fn read(&mut self) -> Result<Step, IngestError> {
        let options = self.options;
        let now = self.clock.elapsed();
        if self.phase() == Phase::Stop {
            return Ok(self.cut(Then::Read).unwrap_or(Step::End(IngestEnd::Stopped)));
        }
        let is_full = self.batcher.bytes() >= options.buffered_bytes_max;
        let is_wide = self.batcher.places() >= options.places_max;
        if is_full || is_wide || self.batcher.is_due(now, options.commit_interval, options.commit_bytes) {
            if let Some(step) = self.cut(Then::Read) {
                return Ok(step);
            }
            if let Some((partition, bytes)) = self.batcher.open_entry().filter(|_| is_full) {
                let (partition, bytes_max) = (partition.to_owned(), options.buffered_bytes_max);
                return Err(IngestError::EntryTooLarge { partition, bytes, bytes_max });
            }
        }
        let wait = match self.phase() {
            // What the ranges promise is on its way: a broker needs a moment for it.
            Phase::Drain if !self.progress.is_stalled() && self.unread().is_none() => Duration::ZERO,
            _ => self
                .batcher
                .due_in(now, options.commit_interval)
                .map_or(options.poll_wait, |due| due.max(Duration::from_millis(1)).min(options.poll_wait)),
        };
        let bytes_max = options.commit_bytes.min(options.buffered_bytes_max);
        let room = options.poll_bytes_max.min(bytes_max.saturating_sub(self.batcher.bytes())).max(1);
        match self.source.poll(room, wait).await {
            Err(error) => self.on_stream_error(error).await,
            Ok(messages) if messages.is_empty() => self.on_silence().await,
            Ok(messages) => self.take(messages).await,
        }
    }

    /// Rebuilds from the stored offsets after a stream error (I8). Messages that were read before it are a whole
    /// stretch, and are kept. It does so after a permanent error too: records that retention dropped are one to the
    /// stream, and a decision to the start.
    async fn on_stream_error(&mut self, error: BusError) -> Result<Step, IngestError> {
        match of_log(error) {
            Failure::Fatal(error) => {
                if self.progress.is_stalled() || self.progress.stall().is_err() {
                    return self.cut_or_fail(error);
                }
            }
            Failure::Retry { place, text, way_out } => self.wait_out(place, text, way_out).await?,
        }
        Ok(self.cut(Then::Rebuild).unwrap_or_else(|| self.start_over()))
    }

    /// Decides on silence: either there is nothing, or the log is silent about what its ranges promise.
    async fn on_silence(&mut self) -> Result<Step, IngestError> {
        let draining = self.phase() == Phase::Drain;
        let lasts = self.progress.silent_for(self.clock.elapsed());
        let was_promised = self.unread().is_some();
        let patience = match (was_promised, draining) {
            (true, _) => self.options.silence_max.min(PROMISE_PATIENCE),
            (false, true) => Duration::ZERO,
            (false, false) => self.options.silence_max,
        };
        if !was_promised {
            self.cured(LOG);
            self.tell(IngestEvent::CaughtUp);
        }
        if lasts < patience {
            return Ok(Step::Read);
        }
        let ranges = match self.source.partitions().await {
            Ok(ranges) => ranges,
            Err(error) => return self.on_stream_error(error).await,
        };
        self.learn(&ranges);
        let options = self.options;
        self.promises.note(&ranges, |partition| options.owns(partition));
        match self.unread() {
            Some((partition, promised)) if was_promised => {
                let found = self.batcher.read().get(&partition).map_or("nothing".into(), |read| read.to_string());
                let text = format!("partition {partition}: found {found} and silence, wanted records up to {promised}");
                return self.on_contradiction(text).await;
            }
            Some(_) => {
                self.progress.hear(self.clock.elapsed());
                return Ok(Step::Read);
            }
            None if !draining => {
                self.progress.hear(self.clock.elapsed());
                return Ok(Step::Read);
            }
            None => {}
        }
        if let Some((partition, bytes)) = self.batcher.open_entry() {
            let text =
                format!("partition {partition}: found {bytes} bytes of an entry and the log's end, wanted its end");
            return self.on_contradiction(text).await;
        }
        Ok(self.cut(Then::Read).unwrap_or(Step::End(IngestEnd::Drained)))
    }

    /// Returns a partition of ours that is not read up to where its range said, and that position.
    fn unread(&self) -> Option<(PartitionName, Position)> {
        self.promises.unread(self.batcher.read())
    }

    /// Rebuilds since the log contradicts itself, but not for ever.
    async fn on_contradiction(&mut self, text: String) -> Result<Step, IngestError> {
        if let Err(attempts) = self.progress.stall() {
            return self.cut_or_fail(IngestError::Contradiction { attempts, text });
        }
        self.wait_out(LOG, text, None).await?;
        Ok(self.cut(Then::Rebuild).unwrap_or_else(|| self.start_over()))
    }

    async fn take(&mut self, messages: Vec<Message>) -> Result<Step, IngestError> {
        let heard = self.clock.elapsed();
        self.progress.hear(heard);
        let ingest_ts = self.clock.wall();
        self.counters.messages_read += messages.len() as u64;
        for message in &messages {
            if !self.options.owns(&message.partition) {
                self.counters.messages_foreign += 1;
                continue;
            }
            let mut offer = self.batcher.offer(message, ingest_ts, heard);
            if offer == Offer::UnknownPartition {
                match self.source.partitions().await {
                    Ok(ranges) => self.learn(&ranges),
                    Err(error) => return self.on_stream_error(error).await,
                }
                offer = self.batcher.offer(message, ingest_ts, heard);
            }
            if let Offer::Gap(gap) = &offer
                && self.options.accept_gap
                && self.progress.knows(gap)
            {
                self.note_lost(gap);
                self.batcher.accept_gap(gap);
                offer = self.batcher.offer(message, ingest_ts, heard);
            }
            match offer {
                Offer::Taken => self.note_progress(message),
                Offer::Skipped => self.counters.messages_skipped += 1,
                Offer::Gap(gap) => return self.on_gap(gap).await,
                Offer::UnknownPartition => {
                    let text = format!("found a message of partition {}, wanted a listed one", message.partition);
                    return self.on_contradiction(text).await;
                }
            }
        }
        let published = messages.iter().map(|message| message.publish_ts);
        if let (Some(oldest), Some(newest)) = (published.clone().min(), published.max()) {
            self.tell(IngestEvent::Read { messages: messages.len(), published: (oldest, newest) });
        }
        Ok(Step::Read)
    }

    fn note_progress(&mut self, message: &Message) {
        if self.progress.take(&message.partition, message.position) {
            // Only now: a log that gives the same messages before each of its errors isn't cured by them.
            self.cured(LOG);
        }
    }

    /// Rebuilds since a message does not follow what was read. A stream may have dropped some, so it is read once more;
    /// a hole that is still there is in the log itself.
    async fn on_gap(&mut self, gap: Gap) -> Result<Step, IngestError> {
        if self.progress.knows(&gap) {
            return self.cut_or_fail(Halt::RecordsLost(gap).into());
        }
        let text = gap.to_string();
        self.progress.meet(gap);
        self.on_contradiction(text).await
    }
}
