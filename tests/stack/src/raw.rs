//! Entries as no client writes them: the broker's protocol by hand, for tests of what a reader makes of them.
//!
//! The broker doesn't look at a payload, so whoever may produce can send any.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

/// Fields of a message of Protocol Buffers, encoded.
#[derive(Debug, Clone, Default)]
pub struct Fields(Vec<u8>);

fn varint(mut number: u64, to: &mut Vec<u8>) {
    while number >= 0x80 {
        to.push((number as u8) | 0x80);
        number >>= 7;
    }
    to.push(number as u8);
}

impl Fields {
    /// Adds a number.
    pub fn number(mut self, field: u32, number: u64) -> Self {
        varint(u64::from(field) << 3, &mut self.0);
        varint(number, &mut self.0);
        self
    }

    /// Adds a signed number.
    pub fn signed(self, field: u32, number: i32) -> Self {
        self.number(field, i64::from(number) as u64)
    }

    /// Adds bytes, a text or a message.
    pub fn bytes(mut self, field: u32, bytes: impl AsRef<[u8]>) -> Self {
        varint(u64::from(field) << 3 | 2, &mut self.0);
        varint(bytes.as_ref().len() as u64, &mut self.0);
        self.0.extend(bytes.as_ref());
        self
    }

    /// The encoding.
    pub fn encoded(&self) -> &[u8] {
        &self.0
    }
}

/// The first number, or the first bytes, of a field.
fn find(mut bytes: &[u8], wanted: u64) -> Option<(u64, &[u8])> {
    fn number(bytes: &mut &[u8]) -> Option<u64> {
        let mut found = 0;
        for at in 0..10 {
            let (byte, rest) = bytes.split_first()?;
            *bytes = rest;
            found |= u64::from(byte & 0x7f) << (7 * at);
            if byte & 0x80 == 0 {
                return Some(found);
            }
        }
        None
    }
    loop {
        let key = number(&mut bytes)?;
        let (value, held): (u64, &[u8]) = match key & 7 {
            0 => (number(&mut bytes)?, &[]),
            2 => {
                let length = usize::try_from(number(&mut bytes)?).ok()?;
                let (held, rest) = bytes.split_at_checked(length)?;
                bytes = rest;
                (0, held)
            }
            _ => return None,
        };
        if key >> 3 == wanted {
            return Some((value, held));
        }
    }
}

/// Metadata of an entry, to which fields are added by their numbers in `PulsarApi.proto`.
pub fn metadata() -> Fields {
    Fields::default().bytes(1, "raw").number(2, 0).number(3, 1_700_000_000_000)
}

/// A property of a message, as metadata have it.
pub fn property(key: &str, value: &str) -> Fields {
    Fields::default().bytes(1, key).bytes(2, value)
}

/// A batch of messages.
pub fn batch(bodies: &[&[u8]]) -> Vec<u8> {
    let mut all = Vec::new();
    for body in bodies {
        let metadata = Fields::default().number(3, body.len() as u64);
        all.extend((metadata.0.len() as u32).to_be_bytes());
        all.extend(&metadata.0);
        all.extend(*body);
    }
    all
}

/// The bytes as a block of Snappy, as the official clients write it, which compresses nothing.
pub fn snappy(bytes: &[u8]) -> Vec<u8> {
    let mut all = Vec::new();
    varint(bytes.len() as u64, &mut all);
    for literal in bytes.chunks(1 << 16) {
        all.push(61 << 2);
        all.extend(((literal.len() - 1) as u16).to_le_bytes());
        all.extend(literal);
    }
    all
}

/// The bytes as a block of LZ4, which compresses nothing.
pub fn lz4(bytes: &[u8]) -> Vec<u8> {
    let mut all = vec![(bytes.len().min(15) as u8) << 4];
    if let Some(mut rest) = bytes.len().checked_sub(15) {
        while rest >= 255 {
            all.push(255);
            rest -= 255;
        }
        all.push(rest as u8);
    }
    all.extend(bytes);
    all
}

const ZSTD_BLOCK_BYTES: usize = 128 << 10;

fn zstd_frame(length: usize, blocks: impl Iterator<Item = (u32, usize, Vec<u8>)>) -> Vec<u8> {
    let mut all = vec![0x28, 0xb5, 0x2f, 0xfd, 0xa0];
    all.extend((length as u32).to_le_bytes());
    let mut left = length;
    for (kind, size, bytes) in blocks {
        left -= size;
        let header = u32::from(left == 0) | kind << 1 | (size as u32) << 3;
        all.extend(&header.to_le_bytes()[..3]);
        all.extend(bytes);
    }
    all
}

/// The bytes as a frame of Zstandard, which compresses nothing.
pub fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd_frame(bytes.len(), bytes.chunks(ZSTD_BLOCK_BYTES).map(|block| (0, block.len(), block.to_vec())))
}

/// So many zeros as a frame of Zstandard: 1 GiB in 32 KiB.
pub fn zstd_zeros(length: usize) -> Vec<u8> {
    let sizes = (0..length).step_by(ZSTD_BLOCK_BYTES).map(|at| ZSTD_BLOCK_BYTES.min(length - at));
    zstd_frame(length, sizes.map(|size| (1, size, vec![0])))
}

/// A producer of one partition, over a connection of its own.
pub struct RawProducer {
    stream: TcpStream,
    requests: u64,
    sequence: u64,
    topic: String,
}

/// A transaction.
#[derive(Debug, Clone, Copy)]
pub struct Transaction {
    least: u64,
    most: u64,
}

const COORDINATOR: u64 = 0;

/// Who has this topic is the coordinator.
const COORDINATORS: &str = "persistent://pulsar/system/transaction_coordinator_assign-partition-0";

impl RawProducer {
    /// Produces to a topic of the broker at `pulsar://HOST:PORT`.
    ///
    /// # Panics
    /// The broker says no.
    pub fn open(service_url: &str, topic: &str) -> Self {
        let host = service_url.trim_start_matches("pulsar://");
        let stream = TcpStream::connect(host).unwrap_or_else(|error| panic!("connect to {host}: {error}"));
        for set in [stream.set_read_timeout(Some(Duration::from_secs(60))), stream.set_nodelay(true)] {
            set.unwrap_or_else(|error| panic!("set up the connection to {host}: {error}"));
        }
        let mut producer = Self { stream, requests: 0, sequence: 0, topic: topic.to_owned() };
        producer.command(2, Fields::default().bytes(1, "raw").number(4, 19), 3);
        let request = producer.request();
        // A lookup makes the broker own the topic.
        producer.command(23, Fields::default().bytes(1, topic).number(2, request), 24);
        let request = producer.request();
        let name = format!("raw-{}-{}", std::process::id(), producer.stream.local_addr().map_or(0, |at| at.port()));
        let wanted = Fields::default().bytes(1, topic).number(2, 1).number(3, request).bytes(4, name).number(12, 1);
        producer.command(5, wanted, 17);
        producer
    }

    fn request(&mut self) -> u64 {
        self.requests += 1;
        self.requests
    }

    fn write(&mut self, kind: u64, command: Fields, entry: &[u8]) {
        let command = Fields::default().number(1, kind).bytes(kind as u32, command.encoded());
        let mut frame = ((4 + command.0.len() + entry.len()) as u32).to_be_bytes().to_vec();
        frame.extend((command.0.len() as u32).to_be_bytes());
        frame.extend(&command.0);
        frame.extend(entry);
        self.stream.write_all(&frame).unwrap_or_else(|error| panic!("send to {}: {error}", self.topic));
    }

    /// Waits for a command of a kind; answers what it holds.
    fn read(&mut self, wanted: u64) -> Vec<u8> {
        loop {
            let mut lengths = [0; 8];
            let mut read = |to: &mut [u8]| {
                self.stream.read_exact(to).unwrap_or_else(|error| panic!("read from {}: {error}", self.topic));
            };
            read(&mut lengths);
            let [a, b, c, d, e, f, g, h] = lengths;
            let (all, length) = (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]));
            let mut bytes = vec![0; all as usize - 4];
            read(&mut bytes);
            bytes.truncate(length as usize);
            let kind = find(&bytes, 1).map_or(0, |(kind, _)| kind);
            if kind == 18 {
                self.write(19, Fields::default(), &[]);
                continue;
            }
            let held = find(&bytes, kind).map_or(&[][..], |(_, held)| held);
            assert!(kind == wanted, "{}: found command {kind} ({}), wanted {wanted}", self.topic, held.escape_ascii());
            return held.to_vec();
        }
    }

    fn command(&mut self, kind: u64, command: Fields, answer: u64) -> Vec<u8> {
        self.write(kind, command, &[]);
        self.read(answer)
    }

    /// A command of transactions, whose answer holds the error and its text in two fields.
    fn transact(&mut self, kind: u64, command: Fields, (error, text): (u64, u64)) -> Vec<u8> {
        let answer = self.command(kind, command, kind + 1);
        let said = find(&answer, text).map_or(&[][..], |(_, said)| said);
        assert!(find(&answer, error).is_none(), "{}: {}", self.topic, said.escape_ascii());
        answer
    }

    /// Sends an entry and waits for its receipt; answers its ledger and entry.
    pub fn send(&mut self, metadata: &Fields, payload: &[u8]) -> (u64, u64) {
        self.send_in(None, metadata, payload)
    }

    /// The same in a transaction.
    pub fn send_in(&mut self, transaction: Option<Transaction>, metadata: &Fields, payload: &[u8]) -> (u64, u64) {
        self.sequence += 1;
        let mut send = Fields::default().number(1, 1).number(2, self.sequence);
        let mut metadata = metadata.clone();
        if let Some(Transaction { least, most }) = transaction {
            send = send.number(4, least).number(5, most);
            metadata = metadata.number(22, least).number(23, most);
        }
        let mut entry = (metadata.0.len() as u32).to_be_bytes().to_vec();
        entry.extend(&metadata.0);
        entry.extend(payload);
        self.write(6, send, &entry);
        let receipt = self.read(7);
        let id = find(&receipt, 3).map_or(&[][..], |(_, id)| id);
        let number = |field| find(id, field).map_or(0, |(number, _)| number);
        (number(1), number(2))
    }

    /// Begins a transaction that this partition takes part in.
    pub fn begin(&mut self) -> Transaction {
        let request = self.request();
        self.command(23, Fields::default().bytes(1, COORDINATORS).number(2, request), 24);
        let request = self.request();
        self.transact(62, Fields::default().number(1, request).number(2, COORDINATOR), (2, 3));
        let request = self.request();
        let new = Fields::default().number(1, request).number(2, 600_000).number(3, COORDINATOR);
        let answer = self.transact(50, new, (4, 5));
        let number = |field| find(&answer, field).map_or(0, |(number, _)| number);
        let transaction = Transaction { least: number(2), most: number(3) };
        let request = self.request();
        let topic = self.topic.clone();
        self.transact(52, Self::of(request, transaction).bytes(4, topic), (4, 5));
        transaction
    }

    fn of(request: u64, transaction: Transaction) -> Fields {
        Fields::default().number(1, request).number(2, transaction.least).number(3, transaction.most)
    }

    /// Commits it, or aborts it.
    pub fn finish(&mut self, transaction: Transaction, commits: bool) {
        let request = self.request();
        self.transact(56, Self::of(request, transaction).number(4, u64::from(!commits)), (4, 5));
    }
}
