//! One connection to one broker: the handshake, requests and their answers, keep-alive.

use super::{
    frames::{self, Budget, FRAME_SLACK_BYTES, Frame},
    transport::{Address, Stream, Transport},
};
use crate::{
    BusError, BusErrorKind,
    pulsar::errors::{of_server, permanent},
};
use pulsar::proto::{
    AuthData, BaseCommand, CommandAuthResponse, CommandConnect, CommandPing, CommandPong, FeatureFlags,
    base_command::Type,
};
use std::{
    collections::HashMap,
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncRead, BufReader, ReadHalf, WriteHalf},
    sync::{mpsc, oneshot},
    task::AbortHandle,
};

const CLIENT: &str = concat!("rva-", env!("CARGO_PKG_VERSION"));

/// The version of the protocol that the types are of.
const PROTOCOL: i32 = 19;

/// The first version of the protocol whose acknowledgements can be answered.
const ANSWERS_ACKS: i32 = 17;

/// The silence after which the broker is asked whether it is there; after twice that it isn't.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// The bytes that are read from the socket at once, where they are small.
const READ_BYTES: usize = 64 << 10;

/// The bytes of the largest message of a broker that doesn't say.
const MESSAGE_BYTES_MAX: usize = 5 << 20;

/// The bytes of the largest message that a broker may say: the protocol's own frames end there.
const MESSAGE_BYTES_MOST: usize = 256 << 20;

type Writer = Arc<tokio::sync::Mutex<WriteHalf<Box<dyn Stream>>>>;
type Pending = Arc<Mutex<HashMap<u64, oneshot::Sender<BaseCommand>>>>;

/// An event that isn't the answer to a request.
#[derive(Debug)]
pub(super) enum Event {
    Entry {
        message: pulsar::proto::CommandMessage,
        bytes: bytes::Bytes,
        counted: frames::Counted,
    },
    /// The consumer was closed by the broker, which says nothing about why: it moves a topic, or a subscription.
    Closed,
    /// The connection is gone.
    Failed(BusError),
}

/// A connection, which dropping closes.
pub(super) struct Connection {
    writer: Writer,
    pending: Pending,
    /// The events to come; taken by the consumer.
    pub events: Option<mpsc::UnboundedReceiver<Event>>,
    pub broker: Broker,
    task: AbortHandle,
    requests: AtomicU64,
    request_timeout: Duration,
    name: String,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Connection {
    /// Connects and says who asks.
    pub(crate) async fn open(transport: &Arc<Transport>, address: &Address, budget: Budget) -> Result<Self, BusError> {
        let name = transport.name(address);
        let doing = format!("connect to {name}");
        let stream = transport.connect(address).await?;
        let (reader, mut writer) = tokio::io::split(stream);
        let mut reader = BufReader::with_capacity(READ_BYTES, reader);
        let hand_shake = hand_shake(&mut reader, &mut writer, transport, address.behind_proxy.clone(), &doing);
        let broker = match tokio::time::timeout(transport.request_timeout, hand_shake).await {
            Ok(done) => done?,
            Err(_) => return Err(BusError::new(BusErrorKind::Transient, format!("{doing}: found no answer"))),
        };
        let (events, received) = mpsc::unbounded_channel();
        let writer = Arc::new(tokio::sync::Mutex::new(writer));
        let pending = Pending::default();
        let reading = Reading {
            reader,
            writer: Arc::clone(&writer),
            pending: Arc::clone(&pending),
            events,
            budget,
            frame_bytes_max: broker.message_bytes_max + FRAME_SLACK_BYTES,
            transport: Arc::clone(transport),
        };
        let text = name.clone();
        let task = tokio::spawn(reading.run(text)).abort_handle();
        Ok(Self {
            writer,
            pending,
            events: Some(received),
            broker,
            task,
            requests: AtomicU64::new(1),
            request_timeout: transport.request_timeout,
            name,
        })
    }

    /// Returns a number that no other request of this connection has.
    pub(crate) fn request_id(&self) -> u64 {
        self.requests.fetch_add(1, Ordering::Relaxed)
    }

    /// Sends a command that has no answer.
    pub(crate) async fn send(&self, command: &BaseCommand, doing: &str) -> Result<(), BusError> {
        let writing = async { frames::write(&mut *self.writer.lock().await, command).await };
        match tokio::time::timeout(self.request_timeout, writing).await {
            Ok(written) => written.map_err(|error| self.lost(doing, &error)),
            Err(_) => Err(self.unanswered(doing)),
        }
    }

    /// Sends a command and waits for its answer; returns an error for an answer that says no.
    pub(crate) async fn request(
        &self,
        request_id: u64,
        command: BaseCommand,
        doing: &str,
    ) -> Result<BaseCommand, BusError> {
        let (answer, answered) = oneshot::channel();
        self.pending().insert(request_id, answer);
        let result = match self.send(&command, doing).await {
            Ok(()) => tokio::time::timeout(self.request_timeout, answered).await,
            Err(error) => {
                self.pending().remove(&request_id);
                return Err(error);
            }
        };
        self.pending().remove(&request_id);
        match result {
            Ok(Ok(answer)) => match answer.error {
                Some(error) => Err(of_server(doing, Some(error.error), Some(&error.message))),
                None => Ok(answer),
            },
            Ok(Err(_)) => Err(self.lost(doing, &io::ErrorKind::ConnectionReset.into())),
            Err(_) => Err(self.unanswered(doing)),
        }
    }

    fn pending(&self) -> std::sync::MutexGuard<'_, HashMap<u64, oneshot::Sender<BaseCommand>>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lost(&self, doing: &str, error: &io::Error) -> BusError {
        BusError::new(BusErrorKind::Transient, format!("{doing} at {}: {error}", self.name))
    }

    fn unanswered(&self, doing: &str) -> BusError {
        let seconds = self.request_timeout.as_secs();
        let text = format!("{doing} at {}: found no answer within {seconds} s", self.name);
        BusError::new(BusErrorKind::Transient, text)
    }
}

fn command(kind: Type) -> BaseCommand {
    let mut command = BaseCommand::default();
    command.set_type(kind);
    command
}

fn auth_data(transport: &Transport) -> Option<Vec<u8>> {
    transport.token.as_ref().map(|token| token.clone().into_bytes())
}

fn auth_response(transport: &Transport) -> BaseCommand {
    let response = AuthData { auth_method_name: Some("token".into()), auth_data: auth_data(transport) };
    let auth_response = CommandAuthResponse {
        client_version: Some(CLIENT.into()),
        response: Some(response),
        protocol_version: Some(PROTOCOL),
    };
    BaseCommand { auth_response: Some(auth_response), ..command(Type::AuthResponse) }
}

/// The facts that a broker tells about itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Broker {
    /// The bytes of its largest message.
    pub message_bytes_max: usize,
    /// Set where it answers acknowledgements that ask for it.
    pub answers_acks: bool,
}

async fn hand_shake(
    reader: &mut (impl AsyncRead + Unpin),
    writer: &mut WriteHalf<Box<dyn Stream>>,
    transport: &Transport,
    proxy_to_broker_url: Option<String>,
    doing: &str,
) -> Result<Broker, BusError> {
    let failed = |error: io::Error| match error.kind() {
        // The alert of a broker that doesn't trust us, or of one that isn't spoken to in TLS.
        io::ErrorKind::InvalidData => permanent(format!("{doing}: {error}")),
        _ => BusError::new(BusErrorKind::Transient, format!("{doing}: {error}")),
    };
    let connect = CommandConnect {
        client_version: CLIENT.into(),
        auth_method_name: transport.token.as_ref().map(|_| "token".into()),
        auth_data: auth_data(transport),
        protocol_version: Some(PROTOCOL),
        proxy_to_broker_url,
        feature_flags: Some(FeatureFlags { supports_auth_refresh: Some(true), ..FeatureFlags::default() }),
        ..CommandConnect::default()
    };
    frames::write(writer, &BaseCommand { connect: Some(connect), ..command(Type::Connect) }).await.map_err(failed)?;
    // Nothing that comes before the answer is an entry.
    let none = Budget::new(0);
    loop {
        let Frame::Command(answer) = frames::read(reader, FRAME_SLACK_BYTES, &none).await.map_err(failed)? else {
            return Err(permanent(format!("{doing}: found a message, wanted an answer to the connection")));
        };
        if let Some(connected) = answer.connected {
            let said =
                connected.max_message_size.and_then(|bytes| usize::try_from(bytes).ok()).filter(|bytes| *bytes > 0);
            return Ok(Broker {
                message_bytes_max: said.unwrap_or(MESSAGE_BYTES_MAX).min(MESSAGE_BYTES_MOST),
                answers_acks: connected.protocol_version.unwrap_or(0) >= ANSWERS_ACKS,
            });
        }
        if let Some(error) = answer.error {
            return Err(of_server(doing, Some(error.error), Some(&error.message)));
        }
        if answer.auth_challenge.is_some() {
            frames::write(writer, &auth_response(transport)).await.map_err(failed)?;
        }
    }
}

/// The half of a connection that listens.
struct Reading {
    reader: BufReader<ReadHalf<Box<dyn Stream>>>,
    writer: Writer,
    pending: Pending,
    events: mpsc::UnboundedSender<Event>,
    budget: Budget,
    frame_bytes_max: usize,
    transport: Arc<Transport>,
}

impl Reading {
    async fn run(mut self, name: String) {
        let error = loop {
            if let Err(error) = self.next().await {
                break error;
            }
        };
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).clear();
        let text = format!("read from {name}: {error}");
        // Whoever listened may be gone.
        let _ = self.events.send(Event::Failed(BusError::new(BusErrorKind::Transient, text)));
    }

    async fn next(&mut self) -> io::Result<()> {
        let mut is_asked = false;
        let frame = {
            let reading = frames::read(&mut self.reader, self.frame_bytes_max, &self.budget);
            let mut reading = std::pin::pin!(reading);
            loop {
                match tokio::time::timeout(KEEP_ALIVE, &mut reading).await {
                    Ok(frame) => break frame?,
                    // While the budget is used up nothing is read: that the broker's answer isn't either says nothing.
                    Err(_) if is_asked && self.budget.has_room() => {
                        let text = format!("found no answer within {} s", KEEP_ALIVE.as_secs());
                        return Err(io::Error::new(io::ErrorKind::TimedOut, text));
                    }
                    Err(_) => {
                        let ping = BaseCommand { ping: Some(CommandPing {}), ..command(Type::Ping) };
                        frames::write(&mut *self.writer.lock().await, &ping).await?;
                        is_asked = true;
                    }
                }
            }
        };
        match frame {
            Frame::Entry { message, bytes, counted } => self.tell(Event::Entry { message, bytes, counted }),
            Frame::Command(command) => self.take(*command).await,
        }
    }

    fn tell(&self, event: Event) -> io::Result<()> {
        self.events.send(event).map_err(|_| io::Error::other("nobody listens"))
    }

    async fn take(&self, found: BaseCommand) -> io::Result<()> {
        if found.ping.is_some() {
            let pong = BaseCommand { pong: Some(CommandPong {}), ..command(Type::Pong) };
            return frames::write(&mut *self.writer.lock().await, &pong).await;
        }
        if found.auth_challenge.is_some() {
            return frames::write(&mut *self.writer.lock().await, &auth_response(&self.transport)).await;
        }
        if found.close_consumer.is_some() {
            return self.tell(Event::Closed);
        }
        if let Some(request_id) = request_id(&found) {
            let waiting = self.pending.lock().unwrap_or_else(PoisonError::into_inner).remove(&request_id);
            if let Some(waiting) = waiting {
                // It may have given up.
                let _ = waiting.send(found);
            }
        }
        Ok(())
    }
}

/// Returns the request that a command answers.
fn request_id(found: &BaseCommand) -> Option<u64> {
    let success = found.success.as_ref().map(|answer| answer.request_id);
    let error = found.error.as_ref().map(|answer| answer.request_id);
    let lookup = found.lookup_topic_response.as_ref().map(|answer| answer.request_id);
    let last = found.get_last_message_id_response.as_ref().map(|answer| answer.request_id);
    let ack = found.ack_response.as_ref().and_then(|answer| answer.request_id);
    success.or(error).or(lookup).or(last).or(ack)
}
