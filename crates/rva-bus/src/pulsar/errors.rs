//! What a retry can cure: the one place that decides it for Pulsar.

use crate::{BusError, BusErrorKind};
use ::pulsar::{
    Error,
    error::{ConnectionError, ConsumerError, ProducerError, ServiceDiscoveryError},
    proto::ServerError,
};
use std::{io, path::Path};

const WANTED_CERTIFICATE: &str = ", wanted a certificate that ca_file or a well-known authority signed for this name";

/// Turns an error of the client into one of the seam; `doing` is a bare verb phrase.
pub(super) fn of_pulsar(doing: &str, error: Error) -> BusError {
    let (kind, wanted) = decide(&error);
    BusError::new(kind, format!("{doing}: {error}{wanted}")).with_source(error)
}

pub(super) fn of_file(path: &Path, error: &io::Error) -> BusError {
    BusError::new(BusErrorKind::Permanent, format!("read the certificates of {}: {error}", path.display()))
}

pub(super) fn of_certificate(url: &str, text: &str) -> BusError {
    permanent(format!("connect to {url}: {text}{WANTED_CERTIFICATE}"))
}

pub(super) fn permanent(text: impl Into<String>) -> BusError {
    BusError::new(BusErrorKind::Permanent, text)
}

/// Turns the broker's refusal into an error of the seam.
pub(super) fn of_server(doing: &str, error: Option<i32>, message: Option<&str>) -> BusError {
    let error = error.and_then(|error| ServerError::try_from(error).ok());
    let (kind, wanted) = decide_of_server(error);
    let name = error.map_or_else(|| "an unknown error".to_owned(), |error| format!("{error:?}"));
    let said: String = message.unwrap_or_default().chars().take(200).collect();
    BusError::new(kind, format!("{doing}: found {name} ({said}){wanted}"))
}

fn decide(error: &Error) -> (BusErrorKind, &'static str) {
    use BusErrorKind::*;
    match error {
        Error::Connection(error)
        | Error::Consumer(ConsumerError::Connection(error))
        | Error::Producer(ProducerError::Connection(error))
        | Error::ServiceDiscovery(ServiceDiscoveryError::Connection(error)) => of_connection(error),
        Error::Producer(ProducerError::Batch(error)) => decide(error),
        Error::ServiceDiscovery(ServiceDiscoveryError::Query(kind, _)) => decide_of_server(*kind),
        Error::Authentication(_) => (Permanent, ", wanted a token that the broker accepts"),
        _ => (Transient, ""),
    }
}

fn of_connection(error: &ConnectionError) -> (BusErrorKind, &'static str) {
    use BusErrorKind::*;
    match error {
        ConnectionError::PulsarError(kind, _) => decide_of_server(*kind),
        ConnectionError::Authentication(_) => (Permanent, ", wanted a token that the broker accepts"),
        ConnectionError::Tls(_) | ConnectionError::DnsName(_) => (Permanent, WANTED_CERTIFICATE),
        // A handshake that fails arrives as this kind.
        ConnectionError::Io(error) if error.kind() == io::ErrorKind::InvalidData => (Permanent, WANTED_CERTIFICATE),
        ConnectionError::SocketAddr(_) | ConnectionError::NotFound => {
            (Permanent, ", wanted pulsar://HOST:PORT of a broker, or pulsar+ssl:// for TLS")
        }
        _ => (Transient, ""),
    }
}

fn decide_of_server(kind: Option<ServerError>) -> (BusErrorKind, &'static str) {
    use BusErrorKind::*;
    match kind {
        Some(ServerError::AuthenticationError) => (Permanent, ", wanted a token that the broker accepts"),
        Some(ServerError::AuthorizationError) => {
            (Permanent, ", wanted a token whose role may produce and consume there")
        }
        Some(ServerError::IncompatibleSchema) => (
            Permanent,
            ", wanted a topic with the schema RetailDetection: use another topic, or let both schemas live on this one \
             with pulsar-admin namespaces set-schema-compatibility-strategy --compatibility ALWAYS_COMPATIBLE TENANT/NAMESPACE",
        ),
        Some(ServerError::TopicNotFound | ServerError::SubscriptionNotFound) => {
            (Permanent, ", wanted a topic that was set up")
        }
        Some(ServerError::TopicTerminatedError | ServerError::InvalidTopicName | ServerError::NotAllowedError) => {
            (Permanent, "")
        }
        Some(ServerError::ConsumerBusy | ServerError::ProducerBusy | ServerError::ProducerFenced) => (Conflict, ""),
        _ => (Transient, ""),
    }
}
