//! The broker's own protocol, as far as reading needs it.
//!
//! The client crate unpacks entries before anybody can look at them, and asks for messages by number into queues
//! without a bound: one bad entry ends its stream, and 500 messages of 5 MiB are 2.5 GiB. So reading speaks the
//! protocol itself: an entry comes as the bytes that are stored, and [`Budget`] bounds the bytes of all partitions
//! together. Sending, and the types of the protocol, are the crate's.

mod connection;
pub(super) mod consumer;
mod frames;
mod transport;

pub(super) use consumer::{Consumer, Delivery, Subscribe};
pub(super) use frames::Budget;

use super::{
    PulsarConnection,
    errors::{of_server, permanent},
};
use crate::{BusError, BusErrorKind};
use connection::Connection;
use pulsar::proto::{BaseCommand, CommandLookupTopic, base_command::Type, command_lookup_topic_response::LookupType};
use std::{sync::Arc, time::Duration};
use transport::{Address, Transport};

/// The most answers of one lookup: redirects, and news that a broker isn't ready.
const LOOKUPS_MAX: usize = 20;

/// The time for which a broker that isn't ready is left alone.
const LOOKUP_WAIT: Duration = Duration::from_millis(300);

/// Opens connections to the brokers of a cluster.
#[derive(Clone)]
pub(super) struct Wire {
    transport: Arc<Transport>,
    budget: Budget,
}

impl Wire {
    /// Reads what connections need: addresses, certificates.
    pub(crate) fn new(connection: &PulsarConnection, budget: Budget) -> Result<Self, BusError> {
        Ok(Self { transport: Arc::new(Transport::new(connection)?), budget })
    }

    /// Returns the bytes of entries that all partitions together may have on their way.
    pub(crate) fn budget_bytes(&self) -> usize {
        self.budget.bytes_max()
    }

    /// Connects to the address that is configured, to see whether that works.
    pub(crate) async fn check(&self) -> Result<(), BusError> {
        self.connect(&Address::configured()).await.map(drop)
    }

    async fn connect(&self, address: &Address) -> Result<Connection, BusError> {
        Connection::open(&self.transport, address, self.budget.clone()).await
    }

    /// Returns a connection to the broker that has the topic.
    async fn connect_for(&self, topic: &str) -> Result<Connection, BusError> {
        let mut address = Address::configured();
        let mut connection = self.connect(&address).await?;
        let mut authoritative = false;
        for _ in 0..LOOKUPS_MAX {
            let doing = format!("look up {topic} at {}", self.transport.name(&address));
            let answer = ask(&connection, topic, authoritative, &doing).await?;
            let Some(answer) = answer else {
                tokio::time::sleep(LOOKUP_WAIT).await;
                continue;
            };
            authoritative = answer.authoritative.unwrap_or(false);
            let url = match self.transport.is_tls() {
                true => answer.broker_service_url_tls,
                false => answer.broker_service_url,
            };
            let url = url.filter(|url| !url.is_empty());
            let url = url.ok_or_else(|| permanent(format!("{doing}: found no address of a broker")))?;
            let next = self.transport.address(&url, answer.proxy_through_service_url.unwrap_or(false))?;
            if next != address {
                connection = self.connect(&next).await?;
                address = next;
            }
            if answer.response != Some(LookupType::Redirect as i32) {
                return Ok(connection);
            }
        }
        let text = format!("look up {topic}: found no broker after {LOOKUPS_MAX} answers, wanted one");
        Err(BusError::new(BusErrorKind::Transient, text))
    }
}

/// Asks for the broker of a topic; `None` where the broker isn't ready yet.
async fn ask(
    connection: &Connection,
    topic: &str,
    authoritative: bool,
    doing: &str,
) -> Result<Option<pulsar::proto::CommandLookupTopicResponse>, BusError> {
    let request_id = connection.request_id();
    let lookup = CommandLookupTopic {
        topic: topic.to_owned(),
        request_id,
        authoritative: Some(authoritative),
        ..CommandLookupTopic::default()
    };
    let mut command = BaseCommand { lookup_topic: Some(lookup), ..BaseCommand::default() };
    command.set_type(Type::Lookup);
    let answer = connection.request(request_id, command, doing).await?.lookup_topic_response;
    let answer = answer.ok_or_else(|| permanent(format!("{doing}: found an answer to something else")))?;
    if answer.response.is_some() && answer.response != Some(LookupType::Failed as i32) {
        return Ok(Some(answer));
    }
    use pulsar::proto::ServerError::{MetadataError, ServiceNotReady};
    match answer.error.and_then(|error| error.try_into().ok()) {
        Some(ServiceNotReady | MetadataError) => Ok(None),
        _ => Err(of_server(doing, answer.error, answer.message.as_deref())),
    }
}
