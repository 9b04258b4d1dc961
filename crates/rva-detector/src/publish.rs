//! Publishing from the embedded log to Pulsar, beside the cameras. Needs the cargo feature `pulsar`.

use async_recursion::async_recursion as boxed;
use rva_bus::{
    BusError, BusErrorKind,
    pulsar::{Forwarder, ForwarderCounters, ForwarderOptions, PulsarConnection},
};
use rva_service::{Metric, StopFlag, Totals, stopped};
use std::time::Duration;
use tokio::{sync::watch, task::JoinHandle};

/// The time that a stop waits for the broker. The log keeps what it didn't take, and the next start sends it.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

const METRICS: &[Metric<ForwarderCounters>] = &[
    Metric::counter("rva_detector_forwarded", "Records that the broker acknowledged", |counters| counters.forwarded),
    Metric::counter("rva_detector_refused", "Records that the broker refused for good", |counters| counters.refused),
    Metric::counter("rva_detector_forward_waits", "Attempts that failed while the broker was away", |counters| {
        counters.waits
    }),
];

/// A forwarder that runs: cameras write to the log, which is its spool.
pub struct Publishing {
    task: JoinHandle<Result<ForwarderCounters, BusError>>,
    is_draining: watch::Sender<bool>,
    trouble: watch::Receiver<Option<String>>,
    totals: Totals<ForwarderCounters>,
}

impl Publishing {
    /// Starts to forward. A broker that is away is waited for, while the spool takes the records.
    ///
    /// # Errors
    /// Returns those that no waiting cures: a wrong token, certificate or address, a topic that wasn't set up, another
    /// schema, damage in the spool.
    #[boxed]
    pub async fn start(connection: PulsarConnection, options: ForwarderOptions) -> Result<Self, BusError> {
        let trouble = watch::Sender::new(None);
        let first = match Forwarder::open(&connection, options.clone()).await {
            Ok(forwarder) => Some(forwarder),
            Err(error) if error.kind() == BusErrorKind::Transient => {
                tracing::warn!(%error, "records go to the spool until the broker is there");
                trouble.send_replace(Some(error.to_string()));
                None
            }
            Err(error) => return Err(error),
        };
        let (is_draining, draining) = watch::channel(false);
        let told = trouble.subscribe();
        let totals = Totals::of(METRICS);
        let counted = totals.clone();
        let task = tokio::spawn(async move {
            let ended = forward(connection, options, first, draining, &trouble, &counted).await;
            if let Err(error) = &ended {
                tracing::error!(%error, "records stay in the spool");
                trouble.send_replace(Some(error.to_string()));
            }
            ended
        });
        Ok(Self { task, is_draining, trouble: told, totals })
    }

    /// Returns what keeps the records from the broker; `None` while nothing does.
    pub fn trouble(&self) -> Option<String> {
        self.trouble.borrow().clone()
    }

    /// Returns its counts, to show at `/metrics`.
    pub fn totals(&self) -> Totals<ForwarderCounters> {
        self.totals.clone()
    }

    /// Waits until the broker has everything that is in the spool; when a stop is asked for, only a while.
    ///
    /// # Errors
    /// Returns the error that ended the forwarder; the spool keeps the rest.
    #[boxed]
    pub async fn finish(mut self, stop: &StopFlag) -> anyhow::Result<()> {
        self.is_draining.send_replace(true);
        tracing::info!("the run is in the spool; the broker gets the rest of it");
        let given_up = async {
            stopped(stop).await;
            tokio::time::sleep(STOP_PATIENCE).await;
        };
        tokio::select! {
            ended = &mut self.task => {
                let ForwarderCounters { forwarded, refused, waits } = ended??;
                tracing::info!(forwarded, refused, waits, "the broker has everything that is in the spool");
            }
            () = given_up => {
                self.task.abort();
                tracing::warn!("found the broker not taking records within {STOP_PATIENCE:?}: the spool keeps them for the next start");
            }
        }
        Ok(())
    }
}

async fn forward(
    connection: PulsarConnection,
    options: ForwarderOptions,
    mut forwarder: Option<Forwarder>,
    draining: watch::Receiver<bool>,
    trouble: &watch::Sender<Option<String>>,
    counted: &Totals<ForwarderCounters>,
) -> Result<ForwarderCounters, BusError> {
    if let Some(open) = &mut forwarder {
        open.tell(trouble.clone());
    }
    loop {
        // Read before the spool: what came before it was set is forwarded.
        let is_draining = *draining.borrow();
        let Some(open) = &mut forwarder else {
            match Forwarder::open(&connection, options.clone()).await {
                Ok(mut open) => {
                    open.tell(trouble.clone());
                    trouble.send_replace(None);
                    forwarder = Some(open);
                }
                Err(error) if error.kind() == BusErrorKind::Transient => {
                    trouble.send_replace(Some(error.to_string()));
                    tokio::time::sleep(options.wait).await;
                }
                Err(error) => return Err(error),
            }
            continue;
        };
        let forwarded = open.forward_some().await?;
        *counted.latest() = open.counters();
        if forwarded == 0 && is_draining {
            return Ok(open.counters());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rva_service::wrong_names;

    #[test]
    fn every_metric_has_our_prefix_and_is_in_the_documents() {
        let document = include_str!("../../../docs/cameras.md");
        assert_eq!(wrong_names(METRICS, "rva_detector_", document), Vec::<String>::new());
    }
}
