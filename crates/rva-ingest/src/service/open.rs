//! Opening of log and tables, which waits for what is away.

use super::metrics::{BUS, CATALOG, Counted};
#[cfg(feature = "pulsar")]
use super::settings::PulsarBus;
use super::settings::{Bus, Settings};
use anyhow::Context;
use rva_bus::{BusError, BusErrorKind, EventSource, LogOptions, LogReader, settle};
use rva_lake::{Lake, LakeErrorKind};
use rva_service::{Health, StopFlag, Totals, stopped};
use rva_types::DoublingWait;
use std::time::{Duration, Instant};

/// The first wait before something is opened again; it doubles.
const AGAIN_MIN: Duration = Duration::from_millis(200);

/// The longest wait before something is opened again.
const AGAIN_MAX: Duration = Duration::from_secs(5);

/// The wait until that is said again, and the factor by which each further one is longer.
const REMINDER_MIN: Duration = Duration::from_secs(60);
const REMINDER_FACTOR: u32 = 8;

/// The ends and the onlookers of opening.
pub(super) struct Opening<'a> {
    /// The flag that ends the waiting.
    pub stop: &'a StopFlag,
    /// The health that hears what is waited for.
    pub health: &'a Health,
    /// The totals that count the attempts.
    pub totals: &'a Totals<Counted>,
    /// Set where things that are away are waited for; else they are errors.
    pub waits: bool,
}

impl Opening<'_> {
    /// Tries until it is open; `None` where it was stopped meanwhile.
    async fn until_open<T>(
        &self,
        part: &'static str,
        mut open: impl AsyncFnMut() -> anyhow::Result<T>,
    ) -> anyhow::Result<Option<T>> {
        let (mut said, mut wait, since) = (String::new(), DoublingWait::new(AGAIN_MIN, AGAIN_MAX), Instant::now());
        let mut reminder = REMINDER_MIN;
        loop {
            let opened = tokio::select! {
                opened = open() => opened,
                () = stopped(self.stop) => return Ok(None),
            };
            let error = match opened {
                Ok(opened) => {
                    if !said.is_empty() {
                        tracing::info!(part, "is there now");
                    }
                    self.health.ready(part);
                    return Ok(Some(opened));
                }
                Err(error) if self.waits && may_come(&error) => format!("{error:#}"),
                Err(error) => return Err(error),
            };
            self.health.not_ready(part, error.clone());
            *self.totals.latest().open_retries.entry(part).or_default() += 1;
            if error != said {
                tracing::warn!(part, %error, "waiting for it");
                said = error;
            } else if since.elapsed() >= reminder {
                let lasts_s = since.elapsed().as_secs();
                tracing::warn!(
                    part,
                    lasts_s,
                    error = %said,
                    "still waiting: start it, or correct its address; this goes on by itself then"
                );
                reminder *= REMINDER_FACTOR;
            }
            tokio::select! {
                () = tokio::time::sleep(wait.take()) => {}
                () = stopped(self.stop) => return Ok(None),
            }
        }
    }

    /// Opens the source; `None` where it was stopped meanwhile.
    pub(super) async fn source(&self, bus: &Bus) -> anyhow::Result<Option<Box<dyn EventSource>>> {
        self.until_open(BUS, async || open_source(bus).await).await
    }

    /// Opens the tables, which are made where they are missing; `None` where it was stopped meanwhile.
    pub(super) async fn lake(&self, settings: &Settings) -> anyhow::Result<Option<Lake>> {
        self.until_open(CATALOG, async || settings.tables.open().await.context("open the tables")).await
    }

    /// Makes everything that a bus needs to be used; `None` where it was stopped meanwhile.
    pub(super) async fn set_up(&self, bus: &Bus) -> anyhow::Result<Option<()>> {
        self.until_open(BUS, async || match bus {
            // Its writer makes it.
            Bus::Log(_) => Ok(()),
            #[cfg(feature = "pulsar")]
            Bus::Pulsar(pulsar) => {
                let PulsarBus { connection, setup, .. } = &**pulsar;
                let id = rva_bus::pulsar::set_up_topic(connection, setup).await;
                let id = id.with_context(|| format!("set up {} at {}", setup.topic, connection.service_url))?;
                tracing::info!(topic = %setup.topic, %id, "the topic is set up");
                Ok(())
            }
        })
        .await
    }
}

async fn open_source(bus: &Bus) -> anyhow::Result<Box<dyn EventSource>> {
    match bus {
        Bus::Log(folder) => {
            let log = LogReader::open(folder).context("open the log")?;
            // Nothing is written, so that how it would be doesn't matter.
            settle(folder.clone(), LogOptions::default()).await.context("open the log")?;
            Ok(Box::new(log))
        }
        #[cfg(feature = "pulsar")]
        Bus::Pulsar(pulsar) => {
            let PulsarBus { connection, source, .. } = &**pulsar;
            let opened = rva_bus::pulsar::PulsarSource::connect(connection, source.clone()).await;
            let opened = opened.with_context(|| format!("open {} at {}", source.topic, connection.service_url))?;
            Ok(Box::new(opened))
        }
    }
}

/// Returns whether an error may go away by itself.
fn may_come(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let bus = cause.downcast_ref::<BusError>().map(BusError::kind);
        let lake = cause.downcast_ref::<rva_lake::LakeError>().map(rva_lake::LakeError::kind);
        matches!(bus, Some(BusErrorKind::Transient | BusErrorKind::Conflict))
            || matches!(lake, Some(LakeErrorKind::Transient))
    })
}
