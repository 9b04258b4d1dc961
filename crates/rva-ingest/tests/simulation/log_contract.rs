//! The log of the simulation keeps the contract of logs while no fault strikes: what it lets pass counts.

use crate::{
    faults::Faults,
    log::{CommittedMap, SimLog},
};
use futures::FutureExt;
use rva_bus::{BusError, BusErrorKind, EventSink, EventSource, OutgoingMessage};
use rva_testkit::bus::Log;
use std::{collections::BTreeMap, sync::Arc};

rva_testkit::log_contract!(over_the_log_of_the_simulation);

/// Appends what was sent when it is flushed: an entry for each partition, or one for each message.
struct SimSink {
    log: SimLog,
    batched: bool,
    pending: BTreeMap<String, Vec<OutgoingMessage>>,
}

#[async_trait::async_trait]
impl EventSink for SimSink {
    async fn send(&mut self, message: OutgoingMessage) -> Result<(), BusError> {
        if message.partition_key.is_empty() {
            return Err(BusError::new(BusErrorKind::Rejected, "found an empty partition key"));
        }
        self.pending.entry(message.partition_key.clone()).or_default().push(message);
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), BusError> {
        for (partition, messages) in std::mem::take(&mut self.pending) {
            let messages = messages.into_iter().map(|message| (message.properties, message.body)).collect();
            self.log.append_messages(&partition, self.batched, messages);
        }
        Ok(())
    }
}

/// Runs one clause with a message an entry, and with many.
async fn over_the_log_of_the_simulation(clause: impl AsyncFn(&mut Log<'_>)) {
    for batched in [false, true] {
        let log = SimLog::new(false);
        let whole = log.clone();
        // The table holds whatever is acknowledged.
        let committed: CommittedMap = Arc::new(move || std::future::ready(whole.end()).boxed());
        let sink = SimSink { log: log.clone(), batched, pending: BTreeMap::new() };
        let source = {
            let log = log.clone();
            move || {
                let source = log.source(Faults::default(), Arc::clone(&committed), usize::MAX);
                let source: Box<dyn EventSource> = Box::new(source);
                std::future::ready(source).boxed()
            }
        };
        // A poll gives a few of those that fit.
        clause(&mut Log { sink: Box::new(sink), source: Box::new(source), keys_are_partitions: false }).await;
        assert_eq!(log.violations(), []);
    }
}
