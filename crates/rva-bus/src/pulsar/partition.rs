//! One partition that is read: its consumer, the entries that came, and the messages that weren't given yet.

use super::{
    TopicName,
    admin::{Admin, PartitionState},
    entry::{self, Content, Entry, Joined, Joins},
    errors::permanent,
    hole::{self, Hole},
    permits::Permits,
    wire::{Consumer, Delivery, Subscribe, Wire, consumer},
};
use crate::{BusError, BusErrorKind, Message};
use bytes::Bytes;
use rva_types::{DoublingWait, PartitionName, Position, Rejection, RejectionReason, Timestamp};
use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

/// The time without an entry after which the broker is asked about entries that it hasn't given. Asked earlier they may
/// be on their way: the broker joins that question and the reading of its consumer to one read of its store, and where
/// it can't unpack the entry for the answer, the consumer is forgotten with it.
const QUIET_MIN: Duration = Duration::from_secs(1);

/// The first and the longest wait before a partition whose consumer failed is opened again.
const AGAIN_MIN: Duration = Duration::from_millis(200);
const AGAIN_MAX: Duration = Duration::from_secs(5);

/// The time after which a message whose chunks don't all come is given up.
const CHUNKS_AGE_MAX: Duration = Duration::from_secs(60);

/// The connections and settings that every partition needs to be read.
pub(super) struct Shared {
    pub(crate) admin: Admin,
    pub(crate) wire: Wire,
    pub(crate) topic: TopicName,
    pub(crate) subscription: String,
    /// The most bytes that an entry may cost when it is unpacked.
    pub(crate) entry_bytes_max: usize,
    /// The bytes of entries that one partition may have on their way.
    pub(crate) share_bytes: usize,
}

/// A consumer that failed.
struct Down {
    again: Instant,
    wait: DoublingWait,
}

pub(super) struct Partition {
    number: u32,
    name: PartitionName,
    consumer: Option<Consumer>,
    /// The time at which the consumer was made or gave its last entry.
    heard: Instant,
    /// Set where the broker may have forgotten the consumer before this one.
    renews: bool,
    down: Option<Down>,
    permits: Permits,
    /// The position where entries are expected to begin, where nothing was read.
    expected: Position,
    /// The last entry that was looked at.
    seen: Option<Position>,
    /// The last message that was made; a message that isn't behind it was given already.
    made: Option<Position>,
    /// Set where everything between `made` and `seen` is accounted for.
    is_proven: bool,
    /// The position up to which entries are asked for one at a time: the broker didn't give some of them.
    careful_until: Option<Position>,
    /// The delivery that came and was not looked at yet.
    held: Option<Result<Delivery, BusError>>,
    /// The messages that wait since parts of others, in entries before them, are still to come.
    waiting: Vec<Message>,
    joins: Joins,
    joins_since: Instant,
    ready: VecDeque<Message>,
}

/// Returns whether the entry of `next` comes right behind that of `seen`, or is the same.
fn is_next(seen: Position, next: Position) -> bool {
    seen.ledger == next.ledger && (seen.entry == next.entry || seen.entry.checked_add(1) == Some(next.entry))
}

/// Returns a position that `position`, the first message of an entry, is behind.
fn before(position: Position) -> Position {
    match position.entry.checked_sub(1) {
        Some(entry) => Position { entry, batch_index: -1, ..position },
        None => Position::end_of_ledger(position.ledger.saturating_sub(1)),
    }
}

impl Partition {
    /// Makes a partition to be read behind `after`; [`Partition::open`] makes its consumer.
    pub(crate) fn new(number: u32, after: Option<Position>) -> Self {
        Self {
            number,
            name: number.to_string().into(),
            consumer: None,
            heard: Instant::now(),
            renews: false,
            down: None,
            permits: Permits::new(1, 1),
            expected: Position { ledger: 0, entry: 0, batch_index: -1 },
            seen: after,
            made: after,
            is_proven: true,
            careful_until: None,
            held: None,
            waiting: Vec::new(),
            joins: Joins::default(),
            joins_since: Instant::now(),
            ready: VecDeque::new(),
        }
    }

    /// Makes the consumer, so that the first entry it gives is the one behind what was made, or that with it.
    pub(crate) async fn open(&mut self, shared: &Shared) -> Result<(), BusError> {
        let Shared { admin, topic, subscription, .. } = shared;
        self.forget();
        let state = admin.state(topic, self.number, subscription).await?;
        if !self.stands_right(&state, shared)? {
            let there = self.there(&state);
            admin.reset(topic, self.number, subscription, there).await?;
        }
        self.expected = state.first.unwrap_or(state.next);
        let topic = topic.partition(self.number);
        let subscribe = Subscribe { topic: &topic, subscription };
        if self.renews || self.is_quiet() {
            consumer::renew(&shared.wire, subscribe).await;
        }
        let consumer = Consumer::open(&shared.wire, subscribe).await?;
        (self.heard, self.renews) = (Instant::now(), false);
        self.permits = Permits::new(consumer.message_bytes_max(), shared.share_bytes);
        self.permits.be_careful(self.careful_until.is_some());
        consumer.permit(self.permits.give()).await?;
        self.consumer = Some(consumer);
        self.down = None;
        Ok(())
    }

    /// Forgets everything that comes again with a new consumer.
    fn forget(&mut self) {
        self.consumer = None;
        self.held = None;
        self.waiting.clear();
        self.joins = Joins::default();
        self.seen = self.made;
        self.is_proven = true;
    }

    /// Returns the position to go on behind, where the broker still has its entry or one before.
    fn there(&self, state: &PartitionState) -> Option<Position> {
        self.made.filter(|made| state.first.is_some_and(|first| first <= *made))
    }

    /// Returns whether the subscription stands right, which is a hint: what counts is what was made. It stands right
    /// where the first entry that it would give is the one with that position in it: its batch may go on behind the
    /// position, and the broker keeps it.
    fn stands_right(&self, state: &PartitionState, shared: &Shared) -> Result<bool, BusError> {
        let Some(acknowledged) = state.acknowledged else {
            return Err(permanent(format!(
                "found no subscription {} on {}, wanted one: set it up first",
                shared.subscription, shared.topic
            )));
        };
        let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        Ok(match self.there(state).or(state.first) {
            None => true,
            Some(at) => !state.has_holes && acknowledged == (signed(at.ledger), signed(at.entry) - 1),
        })
    }

    /// Closes the consumer in order.
    pub(crate) async fn close(&mut self) {
        if let Some(consumer) = self.consumer.take() {
            consumer.close().await;
        }
    }

    /// Notes that its consumer failed: it is opened again later, behind what was made.
    pub(crate) fn fail(&mut self, error: &BusError) {
        self.forget();
        let mut wait = match &self.down {
            Some(down) => down.wait,
            None => {
                tracing::warn!(partition = self.number, %error, "a partition can't be read: it is opened again");
                DoublingWait::new(AGAIN_MIN, AGAIN_MAX)
            }
        };
        self.down = Some(Down { again: Instant::now() + wait.take(), wait });
    }

    /// Returns whether its consumer has given nothing for a second.
    pub(crate) fn is_quiet(&self) -> bool {
        self.heard.elapsed() >= QUIET_MIN
    }

    /// Sees to it that the broker begins anew with the next consumer.
    pub(crate) fn renew(&mut self) {
        self.renews = true;
    }

    pub(crate) fn is_down(&self) -> bool {
        self.consumer.is_none()
    }

    /// Returns the time at which it is to be opened again, where it failed.
    pub(crate) fn again(&self) -> Option<Instant> {
        self.down.as_ref().map(|down| down.again).filter(|_| self.is_down())
    }

    pub(crate) fn consumer(&self) -> Option<&Consumer> {
        self.consumer.as_ref()
    }

    /// Returns whether messages wait for parts of others.
    pub(crate) fn has_open_chunks(&self) -> bool {
        !self.joins.is_empty()
    }

    /// Returns the messages that are there to be given.
    pub(crate) fn ready(&mut self) -> &mut VecDeque<Message> {
        &mut self.ready
    }

    /// Waits until an entry is there, or an error instead.
    pub(crate) async fn wait(&mut self) {
        if self.held.is_some() || !self.ready.is_empty() {
            return;
        }
        match &mut self.consumer {
            Some(consumer) => self.held = Some(consumer.next().await),
            None => std::future::pending().await,
        }
    }

    /// Looks at the next entry that came, if there is one; then there may be messages, or not. Returns `false` where
    /// nothing came.
    pub(crate) async fn advance(&mut self, shared: &Shared) -> Result<bool, BusError> {
        let Some(consumer) = &mut self.consumer else { return Ok(false) };
        let delivery = match self.held.take() {
            Some(held) => held?,
            None => match consumer.next_ready()? {
                Some(delivery) => delivery,
                None => return Ok(false),
            },
        };
        self.take(delivery, shared).await?;
        if self.permits.are_spoiled() {
            let text = format!("found permits that nobody gave to partition {}, wanted a new consumer", self.number);
            return Err(BusError::new(BusErrorKind::Transient, text));
        }
        let permits = self.permits.give();
        if let Some(consumer) = &self.consumer {
            consumer.permit(permits).await?;
        }
        Ok(true)
    }

    async fn take(&mut self, delivery: Delivery, shared: &Shared) -> Result<(), BusError> {
        let at = Position { ledger: delivery.ledger, entry: delivery.entry, batch_index: -1 };
        self.heard = Instant::now();
        let bytes = delivery.bytes.len();
        let entry = entry::open(delivery.bytes, shared.entry_bytes_max);
        drop(delivery.counted);
        self.permits.came(entry.claimed, bytes);
        if self.was_made(at) {
            return Ok(());
        }
        self.follow(at, shared).await?;
        self.unpack(at, entry, shared.entry_bytes_max);
        Ok(())
    }

    /// Returns whether the whole entry is before what was made, or at it.
    fn was_made(&self, at: Position) -> bool {
        self.made.is_some_and(|made| match (at.ledger, at.entry).cmp(&(made.ledger, made.entry)) {
            std::cmp::Ordering::Less => true,
            std::cmp::Ordering::Equal => made.batch_index < 0,
            std::cmp::Ordering::Greater => false,
        })
    }

    /// Asks the broker about entries that it didn't give.
    async fn follow(&mut self, at: Position, shared: &Shared) -> Result<(), BusError> {
        let is_next = self.seen.map_or(at == self.expected, |seen| is_next(seen, at));
        if !is_next {
            let (partition, after) = (self.number, self.last_seen());
            match hole::between(&shared.admin, &shared.topic, self.number, after, at).await? {
                Hole::Empty { entries, batches } => {
                    tracing::debug!(partition, entries, %after, behind = %at, "entries between hold no message");
                    self.note_empty(batches);
                }
                // A broker that finds no messages in what it is about to send drops all of it; entry by entry it can't.
                Hole::Unproven(text) if self.careful_until.is_none_or(|until| until < at) => {
                    self.careful_until = Some(at);
                    let text = format!("read partition {partition} behind {after}: {text}");
                    return Err(BusError::new(BusErrorKind::Transient, text));
                }
                Hole::Unproven(text) => {
                    tracing::warn!(partition, %after, before = %at, reason = %text, "entries between may be lost");
                    self.is_proven = false;
                }
            }
        }
        self.seen = Some(at);
        if self.careful_until.is_some_and(|until| until <= at) {
            self.careful_until = None;
            self.permits.be_careful(false);
        }
        Ok(())
    }

    /// Returns the last entry that was looked at, or where none was the place before the first.
    fn last_seen(&self) -> Position {
        self.seen.unwrap_or_else(|| before(self.expected))
    }

    /// Notes batches of no messages that the broker kept to itself, each as a message that can't be unpacked.
    fn note_empty(&mut self, batches: Vec<(u64, u64, Bytes)>) {
        for (ledger, entry, payload) in batches {
            let at = Position { ledger, entry, batch_index: -1 };
            let text =
                "found a batch of 0 messages that the broker doesn't give, wanted 1 or more (its payload is kept)";
            let mut message = self.message(at, Timestamp::from_micros(0), BTreeMap::new(), payload);
            message.rejected = Some(Box::new(Rejection::new(RejectionReason::BrokenBatch, text)));
            self.push(message);
            self.seen = Some(at);
        }
    }

    /// Returns the last message that it has or will have, where the broker says that it is `last`: anything that the
    /// broker keeps to itself at the end of the log is none. That is found out when nothing has come for a second.
    pub(crate) async fn end(&mut self, last: Position, shared: &Shared) -> Option<Position> {
        let is_waiting = self.held.is_none() && self.consumer.is_some();
        let (seen, is_quiet) = (self.last_seen(), is_waiting && self.is_quiet());
        if !is_quiet || (seen.ledger, seen.entry) >= (last.ledger, last.entry) {
            return Some(last);
        }
        let behind = Position { entry: last.entry.saturating_add(1), batch_index: -1, ..last };
        match hole::between(&shared.admin, &shared.topic, self.number, seen, behind).await {
            Ok(Hole::Empty { batches, .. }) => {
                self.note_empty(batches);
                self.made
            }
            // They are on their way, or it can't be told now.
            Ok(Hole::Unproven(_)) | Err(_) => Some(last),
        }
    }

    fn unpack(&mut self, at: Position, entry: Entry, bytes_max: usize) {
        let Entry { publish_ts, properties, raw, content, .. } = entry;
        match content {
            Content::Messages { messages, is_batch } => {
                let last = messages.len().saturating_sub(1);
                for (index, message) in messages.into_iter().enumerate() {
                    let index_in_batch = if is_batch { i32::try_from(index).unwrap_or(i32::MAX) } else { -1 };
                    let position = Position { batch_index: index_in_batch, ..at };
                    if self.made.is_some_and(|made| position <= made) {
                        continue;
                    }
                    let entry::Unpacked { properties, body } = message;
                    let mut message = self.message(position, publish_ts, properties, body);
                    message.ends_entry = index == last;
                    self.push(message);
                }
            }
            Content::Chunk(part) => {
                if self.joins.is_empty() {
                    self.joins_since = Instant::now();
                }
                if let Some(joined) = self.joins.add(part, (at, publish_ts), properties, bytes_max) {
                    let message = self.joined(at, joined);
                    self.push(message);
                }
            }
            Content::Rejected(rejection) => {
                let (body, rejection) = entry::cut(raw, rejection);
                let mut message = self.message(at, publish_ts, properties, body);
                message.rejected = Some(Box::new(rejection));
                self.push(message);
            }
        }
        let waiting: usize = self.waiting.iter().map(Message::memory_bytes).sum();
        match self.joins.is_empty() {
            true => self.release(),
            false if self.joins.bytes() + waiting > bytes_max.saturating_mul(2) => self.give_up(bytes_max),
            false => {}
        }
    }

    fn message(
        &self,
        position: Position,
        publish_ts: Timestamp,
        properties: BTreeMap<String, String>,
        body: Bytes,
    ) -> Message {
        let partition = self.name.clone();
        Message { partition, position, ends_entry: true, publish_ts, properties, body, follows: None, rejected: None }
    }

    fn joined(&self, at: Position, joined: Joined) -> Message {
        let (body, rejected) = match joined.body {
            Ok(body) => (body, None),
            Err((raw, rejection)) => {
                let (raw, rejection) = entry::cut(raw, rejection);
                (raw, Some(Box::new(rejection)))
            }
        };
        let mut message = self.message(at, joined.publish_ts, joined.properties, body);
        message.rejected = rejected;
        message
    }

    /// Puts a message to those that are ready, unless parts of another, before it, still wait for the rest.
    fn push(&mut self, message: Message) {
        match self.joins.is_empty() && self.waiting.is_empty() {
            true => self.make(message),
            false => self.waiting.push(message),
        }
    }

    fn make(&mut self, mut message: Message) {
        if self.is_proven {
            message.follows = Some(self.made.unwrap_or_else(|| before(self.expected)));
        }
        self.is_proven = true;
        self.made = Some(message.position);
        self.ready.push_back(message);
    }

    /// Makes the messages ready that waited. None of them may be committed without the rest: a message that was put
    /// together has parts before all of them, and a position alone can't say which.
    fn release(&mut self) {
        let waiting = std::mem::take(&mut self.waiting);
        let last = waiting.len().saturating_sub(1);
        for (index, mut message) in waiting.into_iter().enumerate() {
            message.ends_entry = index == last;
            self.make(message);
        }
    }

    /// Gives up messages whose parts don't come, or are too many: each is one that can't be unpacked, where its last
    /// part was found.
    fn give_up(&mut self, bytes_max: usize) {
        for (at, joined) in self.joins.give_up(bytes_max) {
            let message = self.joined(at, joined);
            self.waiting.push(message);
        }
        self.waiting.sort_by_key(|message| message.position);
        self.release();
    }

    /// Gives up messages whose parts don't come, at the latest after a minute; at once where nothing more is expected.
    pub(crate) fn expire(&mut self, at_once: bool, bytes_max: usize) {
        if self.has_open_chunks() && (at_once || self.joins_since.elapsed() >= CHUNKS_AGE_MAX) {
            self.give_up(bytes_max);
        }
    }
}
