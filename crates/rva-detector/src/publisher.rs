//! The publishing of a log to a broker, as configured.

use rva_service::{BusKind, Config, Health, StopFlag};
#[cfg(not(feature = "pulsar"))]
use rva_vision::{VisionError, VisionErrorKind};

#[cfg(feature = "pulsar")]
use crate::Publishing;

/// Names the broker as a part of the service's health.
#[cfg(feature = "pulsar")]
const BROKER: &str = "broker";

/// The task that sends the log to a broker, where the configuration wants that.
#[derive(Default)]
pub struct Publisher {
    #[cfg(feature = "pulsar")]
    publishing: Option<Publishing>,
}

#[cfg(feature = "pulsar")]
impl Publisher {
    /// Starts to send the log of the data folder to the topic, where `detector.publish` says so, and shows the counts.
    ///
    /// # Errors
    /// Returns the trouble of the broker that no waiting cures.
    pub async fn start(config: &Config, health: &Health) -> anyhow::Result<Self> {
        use anyhow::Context;
        use rva_bus::pulsar::{ForwarderOptions, PulsarConnection};
        if config.detector.publish != BusKind::Pulsar {
            return Ok(Self::default());
        }
        let pulsar = &config.pulsar;
        let connection = PulsarConnection {
            token: pulsar.token.as_ref().map(|token| token.expose().to_owned()),
            ca_file: pulsar.ca_file.clone(),
            ..PulsarConnection::new(&pulsar.service_url, &pulsar.admin_url)
        };
        let options = ForwarderOptions::new(config.data_folder().log(), pulsar.topic.parse()?);
        let started = Publishing::start(connection, options).await;
        let started = started.with_context(|| format!("publish to {} at {}", pulsar.topic, pulsar.service_url))?;
        health.show(started.totals());
        Ok(Self { publishing: Some(started) })
    }

    /// Tells the health what keeps records from the broker, for which the spool stands in.
    pub fn tell(&self, health: &Health) {
        match self.publishing.as_ref().and_then(Publishing::trouble) {
            Some(text) => health.degraded(BROKER, text),
            None => health.ready(BROKER),
        }
    }

    /// Waits until the broker has everything that is in the log; when a stop is asked for, only a while.
    ///
    /// # Errors
    /// Returns the error that ended the sending; the log keeps the rest.
    pub async fn finish(self, stop: &StopFlag) -> anyhow::Result<()> {
        use anyhow::Context;
        match self.publishing {
            Some(publishing) => publishing.finish(stop).await.context("publish to Pulsar"),
            None => Ok(()),
        }
    }
}

#[cfg(not(feature = "pulsar"))]
impl Publisher {
    /// Starts nothing: this program was built without Pulsar.
    ///
    /// # Errors
    /// Returns an error where the configuration wants it.
    pub async fn start(config: &Config, _: &Health) -> anyhow::Result<Self> {
        if config.detector.publish == BusKind::Pulsar {
            let text =
                "found detector.publish pulsar, wanted a build with it: cargo build -p rva-detector --features pulsar";
            return Err(VisionError::new(VisionErrorKind::Config, text).into());
        }
        Ok(Self::default())
    }

    /// Has nothing to tell.
    pub fn tell(&self, _: &Health) {}

    /// Has nothing to wait for.
    ///
    /// # Errors
    /// Returns none.
    pub async fn finish(self, _: &StopFlag) -> anyhow::Result<()> {
        Ok(())
    }
}
