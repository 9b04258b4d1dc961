//! A consumer of one partition, which is subscribed, given permits, and closed.

use super::{
    Wire,
    connection::{Connection, Event},
    frames::Counted,
};
use crate::{BusError, BusErrorKind, pulsar::errors::of_server};
use bytes::Bytes;
use pulsar::proto::{
    BaseCommand, CommandAck, CommandCloseConsumer, CommandFlow, CommandGetLastMessageId, CommandSubscribe,
    MessageIdData, base_command::Type, command_ack::AckType, command_subscribe::SubType,
};
use tokio::sync::mpsc;

/// The id of the only consumer of its connection.
const CONSUMER_ID: u64 = 1;

/// The most permits that are given at once: the broker counts them in a signed number.
const PERMITS_MAX: i64 = 1 << 30;

/// The topic and subscription of a consumer.
#[derive(Clone, Copy)]
pub(in super::super) struct Subscribe<'a> {
    /// The name of a partition.
    pub(crate) topic: &'a str,
    pub(crate) subscription: &'a str,
}

/// An entry as the broker has it.
#[derive(Debug)]
pub(in super::super) struct Delivery {
    pub(crate) ledger: u64,
    pub(crate) entry: u64,
    pub(crate) bytes: Bytes,
    /// Its place in the budget.
    pub(crate) counted: Counted,
}

/// Makes the broker forget how far it was with a subscription, by a consumer of another kind that comes and goes.
///
/// For all consumers of one kind the broker keeps one reader of its store. Where a read of that failed in a way it
/// didn't expect (somebody asked for an entry at the same moment that can't be unpacked), it waits for the read's end
/// for ever, and each consumer of that kind with it. What can't be done here is seen by the next consumer.
pub(in super::super) async fn renew(wire: &Wire, to: Subscribe<'_>) {
    match Consumer::open_as(wire, to, SubType::Failover).await {
        Ok(consumer) => consumer.close().await,
        Err(error) => tracing::debug!(topic = to.topic, %error, "a subscription was not renewed"),
    }
}

/// An exclusive consumer.
pub(in super::super) struct Consumer {
    connection: Connection,
    events: mpsc::UnboundedReceiver<Event>,
    topic: String,
}

impl Consumer {
    /// Subscribes, exclusively, to a subscription that is there.
    pub(crate) async fn open(wire: &Wire, to: Subscribe<'_>) -> Result<Self, BusError> {
        Self::open_as(wire, to, SubType::Exclusive).await
    }

    async fn open_as(wire: &Wire, to: Subscribe<'_>, kind: SubType) -> Result<Self, BusError> {
        let mut connection = wire.connect_for(to.topic).await?;
        let request_id = connection.request_id();
        let subscribe = CommandSubscribe {
            topic: to.topic.to_owned(),
            subscription: to.subscription.to_owned(),
            sub_type: kind as i32,
            consumer_id: CONSUMER_ID,
            request_id,
            durable: Some(true),
            // Both are there since the set-up. Made anew they would hide that something was deleted.
            force_topic_creation: Some(false),
            initial_position: Some(pulsar::proto::command_subscribe::InitialPosition::Earliest as i32),
            ..CommandSubscribe::default()
        };
        let mut command = BaseCommand { subscribe: Some(subscribe), ..BaseCommand::default() };
        command.set_type(Type::Subscribe);
        connection.request(request_id, command, &format!("consume {}", to.topic)).await?;
        let events = connection.events.take().unwrap_or_else(|| mpsc::unbounded_channel().1);
        Ok(Self { connection, events, topic: to.topic.to_owned() })
    }

    /// Returns the bytes of the broker's largest message.
    pub(crate) fn message_bytes_max(&self) -> usize {
        self.connection.broker.message_bytes_max
    }

    /// Lets so many more messages come.
    pub(crate) async fn permit(&self, mut permits: i64) -> Result<(), BusError> {
        while permits > 0 {
            let now = permits.min(PERMITS_MAX);
            permits -= now;
            let flow = CommandFlow { consumer_id: CONSUMER_ID, message_permits: u32::try_from(now).unwrap_or(1) };
            let mut command = BaseCommand { flow: Some(flow), ..BaseCommand::default() };
            command.set_type(Type::Flow);
            self.connection.send(&command, &format!("consume {}", self.topic)).await?;
        }
        Ok(())
    }

    /// Returns the next entry; an error where there will be none.
    pub(crate) async fn next(&mut self) -> Result<Delivery, BusError> {
        let event = self.events.recv().await;
        self.take(event)
    }

    /// Returns the next entry if it is there.
    pub(crate) fn next_ready(&mut self) -> Result<Option<Delivery>, BusError> {
        match self.events.try_recv() {
            Ok(event) => self.take(Some(event)).map(Some),
            Err(mpsc::error::TryRecvError::Empty) => Ok(None),
            Err(mpsc::error::TryRecvError::Disconnected) => self.take(None).map(Some),
        }
    }

    fn take(&self, event: Option<Event>) -> Result<Delivery, BusError> {
        let ended = |text: &str| {
            BusError::new(BusErrorKind::Transient, format!("read {}: found {text}, wanted entries", self.topic))
        };
        match event {
            Some(Event::Entry { message, bytes, counted }) => {
                let id = message.message_id;
                Ok(Delivery { ledger: id.ledger_id, entry: id.entry_id, bytes, counted })
            }
            Some(Event::Closed) => Err(ended("that the broker closed the consumer")),
            Some(Event::Failed(error)) => Err(error),
            None => Err(ended("no connection")),
        }
    }

    /// Acknowledges everything up to an entry, and waits for the answer where the broker gives one.
    pub(crate) async fn acknowledge(&self, ledger_id: u64, entry_id: u64) -> Result<(), BusError> {
        let request_id = self.connection.request_id();
        let ack = CommandAck {
            consumer_id: CONSUMER_ID,
            ack_type: AckType::Cumulative as i32,
            message_id: vec![MessageIdData { ledger_id, entry_id, ..MessageIdData::default() }],
            request_id: self.connection.broker.answers_acks.then_some(request_id),
            ..CommandAck::default()
        };
        let mut command = BaseCommand { ack: Some(ack), ..BaseCommand::default() };
        command.set_type(Type::Ack);
        let doing = format!("acknowledge {ledger_id}:{entry_id} of {}", self.topic);
        if !self.connection.broker.answers_acks {
            return self.connection.send(&command, &doing).await;
        }
        let answer = self.connection.request(request_id, command, &doing).await?;
        match answer.ack_response.and_then(|answer| Some((answer.error?, answer.message))) {
            Some((error, text)) => Err(of_server(&doing, Some(error), text.as_deref())),
            None => Ok(()),
        }
    }

    /// Returns the last message that a consumer may get: ledger, entry and index in its batch, -1 where it isn't one.
    /// `None` where there is none.
    pub(crate) async fn last_message(&self) -> Result<Option<(u64, u64, i32)>, BusError> {
        let request_id = self.connection.request_id();
        let last = CommandGetLastMessageId { consumer_id: CONSUMER_ID, request_id };
        let mut command = BaseCommand { get_last_message_id: Some(last), ..BaseCommand::default() };
        command.set_type(Type::GetLastMessageId);
        let doing = format!("ask for the last message of {}", self.topic);
        let answer = self.connection.request(request_id, command, &doing).await?;
        let id = answer.get_last_message_id_response.map(|answer| answer.last_message_id);
        // A partition without messages answers -1, in numbers without a sign.
        let id = id.filter(|id| i64::try_from(id.ledger_id).is_ok() && i64::try_from(id.entry_id).is_ok());
        Ok(id.map(|id| (id.ledger_id, id.entry_id, id.batch_index.unwrap_or(-1))))
    }

    /// Leaves, so that the next consumer finds the subscription free. A failure doesn't matter: the broker notices the
    /// end of the connection too.
    pub(crate) async fn close(self) {
        let request_id = self.connection.request_id();
        let close = CommandCloseConsumer { consumer_id: CONSUMER_ID, request_id };
        let mut command = BaseCommand { close_consumer: Some(close), ..BaseCommand::default() };
        command.set_type(Type::CloseConsumer);
        let closed = self.connection.request(request_id, command, &format!("leave {}", self.topic)).await;
        if let Err(error) = closed {
            tracing::debug!(topic = self.topic, %error, "a consumer was not closed in order");
        }
    }
}
