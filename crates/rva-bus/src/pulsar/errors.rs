//! Kinds of Pulsar's errors: the one place that decides what a retry can cure.

use crate::{BusError, BusErrorKind};
use ::pulsar::{
    Error,
    error::{ConnectionError, ConsumerError, ProducerError, ServiceDiscoveryError},
    proto::ServerError,
};
use std::{io, path::Path};

const WANTED_CERTIFICATE: &str = ", wanted a certificate that ca_file or a well-known authority signed for this name";

/// The longest text of a broker's answer that is shown, in characters.
const ANSWER_MAX: usize = 300;

/// Turns an error of the client into one of the seam; `doing` is a bare verb phrase. A broker answers some refusals
/// with the trace of its own program: its first line is told, with the way out, and the rest at level debug.
pub(super) fn of_pulsar(doing: &str, error: Error) -> BusError {
    let (kind, wanted) = decide(&error);
    let text = error.to_string();
    let first = text.lines().next().unwrap_or_default();
    if first.len() == text.len() && text.chars().count() <= ANSWER_MAX {
        return BusError::new(kind, format!("{doing}: {error}{wanted}")).with_source(error);
    }
    tracing::debug!(doing, answer = text, "an answer is too long for an error");
    let first: String = first.chars().take(ANSWER_MAX).collect();
    BusError::new(kind, format!("{doing}: {first} …{wanted}"))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_out_of_a_refused_schema_stands_in_the_first_line() {
        let trace = "\tat org.apache.pulsar.broker.Something\n".repeat(140);
        let answer = format!("org.apache.pulsar.SchemaException: Incompatible schema {}\n{trace}", "x".repeat(400));
        let refused = ConnectionError::PulsarError(Some(ServerError::IncompatibleSchema), Some(answer));
        let error = of_pulsar("open the topic", Error::Connection(refused));
        assert_eq!(error.kind(), BusErrorKind::Permanent);
        let text = error.to_string();
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.contains("ALWAYS_COMPATIBLE") && text.len() < 800, "{text}");
        assert!(std::error::Error::source(&error).is_none(), "nothing else is printed behind it");
        let short = ConnectionError::PulsarError(Some(ServerError::TopicNotFound), Some("no such topic".into()));
        assert!(of_pulsar("open", Error::Connection(short)).to_string().contains("no such topic"));
    }
}
