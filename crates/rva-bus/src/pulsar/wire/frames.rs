//! Frames: a length, a command, and for a message what is stored of its entry. The bytes of entries are counted before
//! they are read from the socket, so that no answer of a broker makes more of them than the budget has.

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message as _;
use pulsar::proto::{BaseCommand, CommandMessage};
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::{OwnedSemaphorePermit, Semaphore},
};

/// The most bytes of a command. The broker's longest, lists of topics, are never asked for.
const COMMAND_BYTES_MAX: usize = 1 << 20;

/// The bytes that a frame may hold beside a message of the broker's largest size.
pub(super) const FRAME_SLACK_BYTES: usize = 64 << 10;

/// The bytes that one permit stands for.
const UNIT_BYTES: usize = 1 << 10;

/// The bytes of entries that may be in memory and not unpacked yet, of all partitions together.
#[derive(Debug, Clone)]
pub(in super::super) struct Budget {
    units: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
    bytes_max: usize,
}

/// Bytes that are counted until this is dropped.
#[derive(Debug)]
pub(in super::super) struct Counted(#[allow(dead_code, reason = "counts by being there")] OwnedSemaphorePermit);

impl Budget {
    pub(crate) fn new(bytes_max: usize) -> Self {
        let units = (bytes_max / UNIT_BYTES).clamp(1, u32::MAX as usize);
        Self { units: Arc::new(Semaphore::new(units)), waiting: Arc::default(), bytes_max: units * UNIT_BYTES }
    }

    /// Returns all bytes of the budget.
    pub(crate) fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// Returns whether nobody waits for room.
    pub(crate) fn has_room(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) == 0
    }

    /// Waits until there is room; the longest wait comes first. An entry that is larger than the whole budget waits for
    /// all of it.
    async fn take(&self, bytes: usize) -> io::Result<Counted> {
        let units = bytes.div_ceil(UNIT_BYTES).clamp(1, self.bytes_max / UNIT_BYTES);
        let units = u32::try_from(units).unwrap_or(u32::MAX);
        let _waiting = Waiting::of(&self.waiting);
        let permit = Arc::clone(&self.units).acquire_many_owned(units).await;
        permit.map(Counted).map_err(io::Error::other)
    }
}

/// A place among those who wait, also for one who gives up.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn of(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A frame that came.
#[derive(Debug)]
pub(super) enum Frame {
    Command(Box<BaseCommand>),
    Entry { message: CommandMessage, bytes: Bytes, counted: Counted },
}

fn wrong(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

/// Reads a frame of at most `frame_bytes_max`.
pub(super) async fn read(
    from: &mut (impl AsyncRead + Unpin),
    frame_bytes_max: usize,
    budget: &Budget,
) -> io::Result<Frame> {
    let length = from.read_u32().await? as usize;
    if length > frame_bytes_max {
        return Err(wrong(format!("found a frame of {length} bytes, wanted at most {frame_bytes_max}")));
    }
    let command_length = from.read_u32().await? as usize;
    let rest = length.checked_sub(size_of::<u32>()).and_then(|length| length.checked_sub(command_length));
    let rest = rest.filter(|_| command_length <= COMMAND_BYTES_MAX).ok_or_else(|| {
        wrong(format!("found a command of {command_length} bytes in a frame of {length}, wanted less"))
    })?;
    let command = read_bytes(from, command_length).await?;
    let mut command =
        BaseCommand::decode(command).map_err(|error| wrong(format!("found no command of a broker: {error}")))?;
    match command.message.take() {
        Some(message) => {
            let counted = budget.take(rest).await?;
            Ok(Frame::Entry { message, bytes: read_bytes(from, rest).await?, counted })
        }
        None => {
            // Nothing else carries a payload that would be of use.
            tokio::io::copy(&mut from.take(rest as u64), &mut tokio::io::sink()).await?;
            Ok(Frame::Command(Box::new(command)))
        }
    }
}

async fn read_bytes(from: &mut (impl AsyncRead + Unpin), length: usize) -> io::Result<Bytes> {
    let mut bytes = BytesMut::with_capacity(length);
    let mut from = from.take(length as u64);
    while bytes.len() < length {
        if from.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(bytes.freeze())
}

/// Writes a command.
pub(super) async fn write(to: &mut (impl AsyncWrite + Unpin + ?Sized), command: &BaseCommand) -> io::Result<()> {
    let length = command.encoded_len();
    let sized = |length: usize| u32::try_from(length).map_err(io::Error::other);
    let mut frame = BytesMut::with_capacity(length + 2 * size_of::<u32>());
    frame.put_u32(sized(length + size_of::<u32>())?);
    frame.put_u32(sized(length)?);
    command.encode(&mut frame).map_err(io::Error::other)?;
    to.write_all(&frame).await?;
    to.flush().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use pulsar::proto::{MessageIdData, base_command::Type};

    fn used(budget: &Budget) -> usize {
        budget.bytes_max - budget.units.available_permits() * UNIT_BYTES
    }

    fn entry(payload: usize) -> Vec<u8> {
        let id = MessageIdData { ledger_id: 1, entry_id: 2, ..MessageIdData::default() };
        let message = CommandMessage { consumer_id: 1, message_id: id, ..CommandMessage::default() };
        let mut command = BaseCommand { message: Some(message), ..BaseCommand::default() };
        command.set_type(Type::Message);
        let command = command.encode_to_vec();
        let mut frame = Vec::new();
        frame.put_u32((4 + command.len() + payload) as u32);
        frame.put_u32(command.len() as u32);
        frame.extend(command);
        frame.extend(vec![7; payload]);
        frame
    }

    #[tokio::test]
    async fn frames_that_are_too_large_or_contradict_themselves_are_refused() {
        let budget = Budget::new(1 << 20);
        for frame in [
            &u32::MAX.to_be_bytes()[..],
            b"\0\0\0\x08\0\0\0\x05aaaa",
            b"\0\0\0\x02\0\0\0\x00",
            b"\0\0\0\x06\0\0\0\x02zz",
        ] {
            let error = read(&mut &frame[..], 1 << 20, &budget).await.unwrap_err();
            assert!(error.to_string().contains("found"), "{error}");
        }
        let cut = &entry(100)[..90];
        assert_eq!(read(&mut &cut[..], 1 << 20, &budget).await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(used(&budget), 0, "what failed counts no more");
    }

    #[tokio::test]
    async fn an_entry_is_read_when_the_budget_has_room_for_it() {
        let budget = Budget::new(4 << 10);
        let frame = entry(3 << 10);
        let Frame::Entry { bytes, counted, .. } = read(&mut &frame[..], 1 << 20, &budget).await.unwrap() else {
            panic!("wanted an entry")
        };
        assert_eq!((bytes.len(), used(&budget)), (3 << 10, 3 << 10));
        let wait = std::time::Duration::from_millis(20);
        let mut second = &frame[..];
        assert!(tokio::time::timeout(wait, read(&mut second, 1 << 20, &budget)).await.is_err(), "there is no room");
        assert!(budget.has_room(), "who gave up doesn't wait");
        drop(counted);
        assert!(matches!(read(&mut &frame[..], 1 << 20, &budget).await.unwrap(), Frame::Entry { .. }));
        // Larger than all of it: alone, and only alone.
        assert!(matches!(read(&mut &entry(9 << 10)[..], 1 << 20, &budget).await.unwrap(), Frame::Entry { .. }));
        assert_eq!(used(&budget), 0);
    }
}
