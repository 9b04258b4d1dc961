//! Pulsar: a sink, a source, and the set-up of their topic. Needs the cargo feature `pulsar`.

mod admin;
mod entry;
mod errors;
mod forward;
mod hole;
mod lanes;
mod partition;
mod permits;
mod sink;
mod source;
mod topic;
mod wire;

pub use admin::{TopicSetup, set_up_topic};
#[doc(hidden)]
pub use entry::{Outcome, unpack_entries};
pub use forward::{Forwarder, ForwarderCounters, ForwarderOptions};
pub use lanes::PulsarSinkCounters;
pub use sink::{PulsarSink, PulsarSinkOptions, RecordCompression};
pub use source::{PulsarSource, PulsarSourceOptions};
pub use topic::TopicName;

use crate::BusError;
use ::pulsar::{Authentication, ConnectionRetryOptions, OperationRetryOptions, Pulsar, TokioExecutor};
use std::{fmt, path::PathBuf, time::Duration};

type Client = Pulsar<TokioExecutor>;

/// The addresses of the broker, and the credentials of the asker.
#[derive(Clone)]
pub struct PulsarConnection {
    /// The broker's address: `pulsar://host:6650`, or `pulsar+ssl://host:6651` for TLS.
    pub service_url: String,
    /// The admin interface's address: `http://host:8080`, or `https://…` for TLS.
    pub admin_url: String,
    /// A token (JWT), sent to both; never shown.
    pub token: Option<String>,
    /// A file of certificates (PEM) to trust beside the well-known ones.
    pub ca_file: Option<PathBuf>,
    /// The time that one request may take. Default 15 s.
    pub request_timeout: Duration,
}

impl PulsarConnection {
    /// Makes a connection without authentication.
    pub fn new(service_url: impl Into<String>, admin_url: impl Into<String>) -> Self {
        Self {
            service_url: service_url.into(),
            admin_url: admin_url.into(),
            token: None,
            ca_file: None,
            request_timeout: Duration::from_secs(15),
        }
    }

    /// Connects to the broker.
    ///
    /// # Errors
    /// Returns `Permanent` for a wrong address, token or certificate, `Transient` where nobody answers.
    async fn connect(&self) -> Result<Client, BusError> {
        let mut builder = Pulsar::builder(&self.service_url, TokioExecutor)
            .with_connection_retry_options(ConnectionRetryOptions {
                min_backoff: Duration::from_millis(100),
                max_backoff: Duration::from_secs(1),
                // Who calls decides how often an outage is asked about; the client only bridges a hiccup.
                max_retries: 3,
                connection_timeout: Duration::from_secs(5),
                keep_alive: Duration::from_secs(15),
                ..ConnectionRetryOptions::default()
            })
            .with_operation_retry_options(OperationRetryOptions {
                operation_timeout: self.request_timeout,
                retry_delay: Duration::from_secs(1),
                max_retries: None,
            });
        if let Some(token) = &self.token {
            builder = builder.with_auth(Authentication { name: "token".into(), data: token.clone().into_bytes() });
        }
        if let Some(path) = &self.ca_file {
            builder = builder.with_certificate_chain_file(path).map_err(|error| errors::of_file(path, &error))?;
        }
        match builder.build().await {
            Ok(client) => Ok(client),
            Err(error) => Err(match admin::certificate_problem(self).await {
                Some(text) => errors::of_certificate(&self.service_url, &text),
                None => errors::of_pulsar(&format!("connect to {}", self.service_url), error),
            }),
        }
    }
}

/// Writes everything but the token.
impl fmt::Debug for PulsarConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PulsarConnection")
            .field("service_url", &self.service_url)
            .field("admin_url", &self.admin_url)
            .field("token", &self.token.as_ref().map(|_| "***"))
            .field("ca_file", &self.ca_file)
            .finish_non_exhaustive()
    }
}
