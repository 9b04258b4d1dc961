//! The broker's admin interface, which sets a topic up and says what a partition holds.

use super::{PulsarConnection, TopicName, errors::permanent};
use crate::{BusError, BusErrorKind};
use async_recursion::async_recursion as boxed;
use bytes::{Bytes, BytesMut};
use reqwest::{Certificate, Client, Method, RequestBuilder, Response, StatusCode, header::HeaderMap};
use rva_types::Position;
use serde::Deserialize;
use serde_json::{Value, json};
use std::{collections::BTreeMap, time::Duration};

/// Names the topic's property that holds the random id, which is part of the source's identity.
const TOPIC_ID: &str = "rva.topic_id";

/// The settings that a topic is made with.
#[derive(Debug, Clone)]
pub struct TopicSetup {
    /// The topic to make.
    pub topic: TopicName,
    /// The number of its partitions, at least; a topic is never made smaller. Default 4.
    pub partitions: u32,
    /// The ingest's subscription, which keeps what no table holds yet.
    pub subscription: String,
    /// The time for which acknowledged messages stay at least, so that a table that was rolled back can be filled
    /// again. Default 72 h; a longer retention that is there stays.
    pub retention: Duration,
}

impl TopicSetup {
    /// Makes settings with the defaults.
    pub fn new(topic: TopicName, subscription: impl Into<String>) -> Self {
        Self { topic, partitions: 4, subscription: subscription.into(), retention: Duration::from_secs(72 * 3600) }
    }
}

/// Makes tenant, namespace, retention, topic, id and subscription where they are missing, and returns the topic's id.
/// It may be called again: nothing is ever deleted, made smaller or shortened.
///
/// # Errors
/// Returns `Permanent` for a wrong token, a right that is missing, or a topic of that name without partitions;
/// `Transient` where the broker doesn't answer.
#[boxed]
pub async fn set_up_topic(connection: &PulsarConnection, setup: &TopicSetup) -> Result<String, BusError> {
    let admin = Admin::new(connection)?;
    let topic = &setup.topic;
    let clusters = admin.get::<Vec<String>>("clusters").await?.unwrap_or_default();
    let tenant = json!({"adminRoles": [], "allowedClusters": clusters});
    // Who may only use what is there must not need the right to make it.
    if admin.get::<Vec<String>>(&format!("namespaces/{}", topic.tenant)).await?.is_none() {
        admin.make(&format!("tenants/{}", topic.tenant), Some(tenant)).await?;
    }
    let namespaces = admin.get::<Vec<String>>(&format!("namespaces/{}", topic.tenant)).await?.unwrap_or_default();
    if !namespaces.contains(&topic.namespace_path()) {
        admin.make(&format!("namespaces/{}", topic.namespace_path()), None).await?;
    }
    admin.lengthen_retention(topic, setup.retention).await?;
    admin.make_topic(topic, setup.partitions).await?;
    let id = match admin.topic_id(topic).await? {
        Some(id) => id,
        None => admin.give_id(topic).await?,
    };
    // From the oldest message: what was sent before the set-up counts too.
    let oldest = json!({"ledgerId": -1, "entryId": -1, "partitionIndex": -1});
    admin.make(&format!("{}/subscription/{}", topic.path(), setup.subscription), Some(oldest)).await?;
    Ok(id)
}

/// The number of times that a topic which was just made is looked for, and the time between them.
const SEEN_TRIES: u32 = 20;
const SEEN_WAIT: Duration = Duration::from_millis(100);

/// The bytes that are taken of an entry that the broker shows, uncompressed.
const ENTRY_BYTES_MAX: usize = 1 << 20;

/// The time for an entry to be shown. A broker that can't unpack it never answers.
const ENTRY_TIMEOUT: Duration = Duration::from_secs(10);

/// A client of the admin interface.
pub(super) struct Admin {
    client: Client,
    base: String,
    token: Option<String>,
}

/// The positions of a partition, and those of a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PartitionState {
    /// The first entry that is still there.
    pub first: Option<Position>,
    /// The last message that is there: its entry, and its index in the batch.
    pub last: Option<Position>,
    /// The position at which the next entry comes, or one before that: the broker goes on in a new ledger after each
    /// restart.
    pub next: Position,
    /// The last acknowledged entry; `None` where the subscription isn't there.
    pub acknowledged: Option<(i64, i64)>,
    /// Set where entries behind it were acknowledged one by one, as nobody of us does: the broker doesn't give them
    /// again.
    pub has_holes: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Ledger {
    ledger_id: u64,
    entries: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Cursor {
    mark_delete_position: String,
    /// The entries behind that position that were acknowledged one by one: `[]`, or ranges.
    #[serde(default)]
    individually_deleted_messages: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct InternalStats {
    last_confirmed_entry: String,
    ledgers: Vec<Ledger>,
    cursors: BTreeMap<String, Cursor>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LastMessage {
    ledger_id: i64,
    entry_id: i64,
    #[serde(default = "no_batch")]
    batch_index: i32,
}

fn no_batch() -> i32 {
    -1
}

#[derive(Deserialize)]
struct Partitions {
    partitions: u32,
}

impl InternalStats {
    /// Returns the ledgers, oldest first, and how many entries each has.
    fn ledgers(&self) -> Result<Vec<(u64, u64)>, BusError> {
        let (last_ledger, last_entry) = parse_entry(&self.last_confirmed_entry)?;
        // The newest ledger is listed with 0 entries while it is written.
        let entries = |ledger: &Ledger| match i64::try_from(ledger.ledger_id) == Ok(last_ledger) {
            true => u64::try_from(last_entry.saturating_add(1)).unwrap_or(0),
            false => ledger.entries,
        };
        Ok(self.ledgers.iter().map(|ledger| (ledger.ledger_id, entries(ledger))).collect())
    }
}

fn parse_entry(text: &str) -> Result<(i64, i64), BusError> {
    let parsed = text.split_once(':').and_then(|(l, e)| Some((l.parse().ok()?, e.parse().ok()?)));
    parsed.ok_or_else(|| permanent(format!("found {text:?} in the broker's answer, wanted ledger:entry")))
}

fn http_client(connection: &PulsarConnection) -> Result<Client, BusError> {
    let mut builder = Client::builder().connect_timeout(Duration::from_secs(5)).timeout(connection.request_timeout);
    if let Some(path) = &connection.ca_file {
        let failed =
            |error: &dyn std::fmt::Display| permanent(format!("read the certificates of {}: {error}", path.display()));
        let pem = std::fs::read(path).map_err(|error| failed(&error))?;
        let certificates = Certificate::from_pem_bundle(&pem).map_err(|error| failed(&error))?;
        if certificates.is_empty() {
            return Err(failed(&"found none, wanted PEM"));
        }
        for certificate in certificates {
            builder = builder.add_root_certificate(certificate);
        }
    }
    builder.build().map_err(|error| permanent(format!("set up the HTTP client: {error}")))
}

/// Returns the text of such an error, which is on its last source: "connection refused", "invalid peer certificate".
fn deepest(error: &reqwest::Error) -> String {
    let mut deepest: &dyn std::error::Error = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}

/// Returns what is wrong with the certificate of the broker's own port, which the client keeps to itself; `None` for
/// another trouble. The request is no HTTP to the broker, but its handshake comes first.
pub(super) async fn certificate_problem(connection: &PulsarConnection) -> Option<String> {
    let host = connection.service_url.strip_prefix("pulsar+ssl://")?;
    let error = http_client(connection).ok()?.get(format!("https://{host}/")).send().await.err()?;
    Some(deepest(&error)).filter(|text| text.contains("certificate"))
}

impl Admin {
    pub(crate) fn new(connection: &PulsarConnection) -> Result<Self, BusError> {
        let client = http_client(connection)?;
        let base = format!("{}/admin/v2", connection.admin_url.trim_end_matches('/'));
        Ok(Self { client, base, token: connection.token.clone() })
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.client.request(method, format!("{}/{path}", self.base));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// Sends a request; 404 and 409 are answers, other failures are errors.
    ///
    /// Every request here may be repeated. The broker answers 500, and not 409, to one of two that make the same thing
    /// at the same moment: asked again it says what became of it.
    async fn send(&self, request: RequestBuilder, doing: &str) -> Result<Response, BusError> {
        for attempt in 1..=3 {
            let Some(again) = request.try_clone() else { break };
            match self.send_once(again, doing).await {
                Err(error) if error.kind() == BusErrorKind::Transient => {
                    tokio::time::sleep(Duration::from_millis(100 * attempt)).await;
                }
                answer => return answer,
            }
        }
        self.send_once(request, doing).await
    }

    async fn send_once(&self, request: RequestBuilder, doing: &str) -> Result<Response, BusError> {
        let response = request.send().await.map_err(|error| {
            let text = format!("{doing} at {}: {}", self.base, deepest(&error));
            let is_permanent = error.is_builder() || text.contains("certificate");
            let kind = if is_permanent { BusErrorKind::Permanent } else { BusErrorKind::Transient };
            BusError::new(kind, text)
        })?;
        let status = response.status();
        if status.is_success() || [StatusCode::NOT_FOUND, StatusCode::CONFLICT].contains(&status) {
            return Ok(response);
        }
        let said: String = response.text().await.unwrap_or_default().chars().take(200).collect();
        let (kind, wanted) = match status.as_u16() {
            // Pulsar says 401 to a role without the right, too.
            401 if said.contains("Unauthorized to ") => {
                (BusErrorKind::Permanent, ", wanted a token whose role may do that")
            }
            401 => (BusErrorKind::Permanent, ", wanted a token that the broker accepts"),
            403 => (BusErrorKind::Permanent, ", wanted a token whose role may do that"),
            408 | 429 | 500.. => (BusErrorKind::Transient, ""),
            // Another set-up is at the same subscription.
            412 if said.contains("Busy") => (BusErrorKind::Transient, ""),
            _ => (BusErrorKind::Permanent, ""),
        };
        Err(BusError::new(kind, format!("{doing} at {}: found status {status} ({said}){wanted}", self.base)))
    }

    /// Reads something; `None` where there is no such thing.
    async fn get<T: serde::de::DeserializeOwned>(&self, path: &str) -> Result<Option<T>, BusError> {
        let doing = format!("read {path}");
        let response = self.send(self.request(Method::GET, path), &doing).await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let bytes = response.bytes().await;
        let bytes = bytes.map_err(|error| BusError::new(BusErrorKind::Transient, format!("{doing}: {error}")))?;
        if bytes.is_empty() {
            return Ok(None);
        }
        let parsed = serde_json::from_slice(&bytes);
        parsed.map(Some).map_err(|error| permanent(format!("{doing} at {}: {error}", self.base)))
    }

    /// Puts something that may be there already.
    async fn make(&self, path: &str, body: Option<Value>) -> Result<(), BusError> {
        let mut request = self.request(Method::PUT, path);
        if let Some(body) = body {
            request = request.json(&body);
        }
        self.found(self.send(request, &format!("make {path}")).await?, path)
    }

    /// Returns an error for an answer that is 404.
    fn found(&self, response: Response, path: &str) -> Result<(), BusError> {
        match response.status() {
            StatusCode::NOT_FOUND => Err(permanent(format!("found no {path} at {}", self.base))),
            _ => Ok(()),
        }
    }

    async fn lengthen_retention(&self, topic: &TopicName, wanted: Duration) -> Result<(), BusError> {
        let path = format!("namespaces/{}/retention", topic.namespace_path());
        let wanted_minutes = i64::try_from(wanted.as_secs().div_ceil(60)).unwrap_or(i64::MAX);
        let found: Option<Value> = self.get(&path).await?;
        let number = |name: &str| found.as_ref().and_then(|found| found[name].as_i64());
        // -1: for ever, or any size.
        let is_long = number("retentionTimeInMinutes").is_some_and(|found| found < 0 || found >= wanted_minutes);
        if is_long && number("retentionSizeInMB").is_some_and(|size| size < 0) {
            return Ok(());
        }
        let minutes = if is_long { number("retentionTimeInMinutes").unwrap_or(wanted_minutes) } else { wanted_minutes };
        let body = json!({"retentionTimeInMinutes": minutes, "retentionSizeInMB": -1});
        self.found(self.send(self.request(Method::POST, &path).json(&body), &format!("set {path}")).await?, &path)
    }

    async fn make_topic(&self, topic: &TopicName, wanted: u32) -> Result<(), BusError> {
        let path = format!("{}/partitions", topic.path());
        if let Some(found) = self.partitions(topic).await? {
            if found < wanted {
                let request = self.request(Method::POST, &path).json(&wanted);
                return self.found(self.send(request, &format!("enlarge {topic}")).await?, &path);
            }
            return Ok(());
        }
        let body = json!({"partitions": wanted, "properties": {TOPIC_ID: uuid::Uuid::new_v4().to_string()}});
        let request = self
            .request(Method::PUT, &path)
            .header("content-type", "application/vnd.partitioned-topic-metadata+json")
            .body(body.to_string());
        self.found(self.send(request, &format!("make {topic}")).await?, &path)?;
        // Where another set-up made it at the same moment, its partitions may take a moment to be seen.
        for _ in 0..SEEN_TRIES {
            if self.partitions(topic).await?.is_some() {
                return Ok(());
            }
            tokio::time::sleep(SEEN_WAIT).await;
        }
        Err(permanent(format!(
            "found a topic {topic} without partitions, wanted one with {wanted}: use another name, or delete that one"
        )))
    }

    async fn give_id(&self, topic: &TopicName) -> Result<String, BusError> {
        let path = format!("{}/properties", topic.path());
        let body = json!({TOPIC_ID: uuid::Uuid::new_v4().to_string()});
        self.make(&path, Some(body)).await?;
        // Another set-up may have come between; the one that is stored counts.
        let given = self.topic_id(topic).await?;
        given.ok_or_else(|| permanent(format!("found no property {TOPIC_ID} on {topic}, which was just set")))
    }

    /// Returns the id that the set-up gave; `None` where the topic or the id isn't there.
    pub(crate) async fn topic_id(&self, topic: &TopicName) -> Result<Option<String>, BusError> {
        let properties: Option<BTreeMap<String, String>> = self.get(&format!("{}/properties", topic.path())).await?;
        Ok(properties.and_then(|mut properties| properties.remove(TOPIC_ID)))
    }

    /// Returns the number of partitions that the topic has; `None` where there is no such partitioned topic.
    pub(crate) async fn partitions(&self, topic: &TopicName) -> Result<Option<u32>, BusError> {
        let found: Option<Partitions> = self.get(&format!("{}/partitions", topic.path())).await?;
        Ok(found.map(|found| found.partitions).filter(|partitions| *partitions > 0))
    }

    /// Returns the largest message that the broker takes, in bytes; 5 MiB, its default, where this user may not ask.
    pub(crate) async fn message_bytes_max(&self) -> Result<usize, BusError> {
        let found = match self.get::<BTreeMap<String, Value>>("brokers/configuration/runtime").await {
            Err(error) if error.kind() == BusErrorKind::Permanent => None,
            answer => answer?,
        };
        let number = found.as_ref().and_then(|found| found.get("maxMessageSize")?.as_str()?.parse().ok());
        Ok(number.unwrap_or(5 << 20))
    }

    async fn stats(&self, topic: &TopicName, number: u32) -> Result<InternalStats, BusError> {
        let path = format!("{}-partition-{number}/internalStats", topic.path());
        let stats: Option<InternalStats> = self.get(&path).await?;
        stats.ok_or_else(|| permanent(format!("found no partition {number} of {topic}")))
    }

    /// Returns the ledgers of a partition, oldest first, and how many entries each has.
    pub(crate) async fn ledgers(&self, topic: &TopicName, number: u32) -> Result<Vec<(u64, u64)>, BusError> {
        self.stats(topic, number).await?.ledgers()
    }

    /// Returns the broker's answer about an entry that it didn't give: headers and payload, or the status where it
    /// can't read it.
    pub(crate) async fn entry(
        &self,
        topic: &TopicName,
        number: u32,
        (ledger, entry): (u64, u64),
    ) -> Result<Result<(HeaderMap, Bytes), String>, BusError> {
        let path = format!("{}-partition-{number}/ledger/{ledger}/entry/{entry}", topic.path());
        let failed = |error: reqwest::Error| {
            let text = format!("read entry {ledger}:{entry} at {}: {}", self.base, deepest(&error));
            BusError::new(BusErrorKind::Transient, text)
        };
        let request = self.request(Method::GET, &path).timeout(ENTRY_TIMEOUT);
        let mut response = request.send().await.map_err(failed)?;
        if !response.status().is_success() {
            return Ok(Err(format!("status {}", response.status())));
        }
        let headers = std::mem::take(response.headers_mut());
        let mut payload = BytesMut::new();
        while let Some(bytes) = response.chunk().await.map_err(failed)? {
            payload.extend_from_slice(&bytes);
            if payload.len() > ENTRY_BYTES_MAX {
                payload.truncate(ENTRY_BYTES_MAX);
                break;
            }
        }
        Ok(Ok((headers, payload.freeze())))
    }

    /// Returns the positions of a partition and of a subscription.
    pub(crate) async fn state(
        &self,
        topic: &TopicName,
        number: u32,
        subscription: &str,
    ) -> Result<PartitionState, BusError> {
        let path = format!("{}-partition-{number}", topic.path());
        let stats = self.stats(topic, number).await?;
        let ledgers = stats.ledgers()?;
        let (last_ledger, last_entry) = parse_entry(&stats.last_confirmed_entry)?;
        let filled = || ledgers.iter().filter(|(_, entries)| *entries > 0);
        let at = |ledger: u64, entry: u64| Position { ledger, entry, batch_index: -1 };
        let first = filled().next().map(|(ledger, _)| at(*ledger, 0));
        let mut last = filled().next_back().map(|(ledger, entries)| at(*ledger, entries - 1));
        if let Some(last) = &mut last {
            last.batch_index = self.last_index(&path, *last).await?;
        }
        // A ledger without an entry: the broker has gone on to it, and everything before it is written or removed.
        let next =
            at(u64::try_from(last_ledger).unwrap_or(0), u64::try_from(last_entry.saturating_add(1)).unwrap_or(0));
        let cursor = stats.cursors.get(subscription);
        let acknowledged = cursor.map(|cursor| parse_entry(&cursor.mark_delete_position)).transpose()?;
        let has_holes = cursor.is_some_and(|cursor| cursor.individually_deleted_messages.contains(','));
        Ok(PartitionState { first, last, next, acknowledged, has_holes })
    }

    /// Returns the index of the last message of the last entry: -1 where it isn't a batch, or can't be told. It asks
    /// for the message's id alone: asked for the entry the broker unpacks it, and fails where it can't.
    async fn last_index(&self, path: &str, entry: Position) -> Result<i32, BusError> {
        let id = match self.get::<LastMessage>(&format!("{path}/lastMessageId")).await {
            Err(error) if error.kind() == BusErrorKind::Transient => {
                tracing::debug!(path, %error, "the index of the last message is not known");
                None
            }
            answer => answer?,
        };
        let at = (i64::try_from(entry.ledger).ok(), i64::try_from(entry.entry).ok());
        let id = id.filter(|id| (Some(id.ledger_id), Some(id.entry_id)) == at);
        Ok(id.map_or(-1, |id| id.batch_index))
    }

    /// Moves a subscription: the next message is the first one of `to`, or of the oldest entry. Its consumer is
    /// disconnected.
    pub(crate) async fn reset(
        &self,
        topic: &TopicName,
        number: u32,
        subscription: &str,
        to: Option<Position>,
    ) -> Result<(), BusError> {
        let path = format!("{}-partition-{number}/subscription/{subscription}/resetcursor", topic.path());
        let (ledger, entry) = to.map_or((-1, -1), |to| (to.ledger as i64, to.entry as i64));
        let body = json!({"ledgerId": ledger, "entryId": entry, "partitionIndex": -1});
        self.found(self.send(self.request(Method::POST, &path).json(&body), &format!("move {path}")).await?, &path)
    }
}
