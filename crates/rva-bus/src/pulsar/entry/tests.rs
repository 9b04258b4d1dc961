use super::*;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use pulsar::proto::{CompressionType, EncryptionKeys, SingleMessageMetadata};
use std::io::Write;

const BYTES_MAX: usize = 4 << 20;

fn pair(key: &str, value: &str) -> KeyValue {
    KeyValue { key: key.into(), value: value.into() }
}

fn metadata() -> MessageMetadata {
    MessageMetadata {
        producer_name: "p".into(),
        publish_time: 1_700_000_000_000,
        properties: vec![pair("camera_id", "cam_01")],
        ..MessageMetadata::default()
    }
}

/// An entry as a broker sends it, with its checksum.
fn entry(metadata: &MessageMetadata, payload: &[u8]) -> Bytes {
    let metadata = metadata.encode_to_vec();
    let mut rest = u32::try_from(metadata.len()).unwrap().to_be_bytes().to_vec();
    rest.extend(metadata);
    rest.extend(payload);
    [&MAGIC_CHECKSUM.to_be_bytes()[..], &crc32c::crc32c(&rest).to_be_bytes(), &rest].concat().into()
}

fn batch(bodies: &[&[u8]]) -> Vec<u8> {
    let mut all = Vec::new();
    for body in bodies {
        let metadata = SingleMessageMetadata {
            payload_size: i32::try_from(body.len()).unwrap(),
            properties: vec![pair("n", "1")],
            ..SingleMessageMetadata::default()
        };
        all.extend(u32::try_from(metadata.encoded_len()).unwrap().to_be_bytes());
        all.extend(metadata.encode_to_vec());
        all.extend(*body);
    }
    all
}

fn compressed(kind: CompressionType, bytes: &[u8]) -> Vec<u8> {
    match kind {
        CompressionType::None => bytes.to_vec(),
        CompressionType::Lz4 => lz4::block::compress(bytes, None, false).unwrap(),
        CompressionType::Zlib => {
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        CompressionType::Zstd => zstd::bulk::compress(bytes, 1).unwrap(),
        CompressionType::Snappy => snap::raw::Encoder::new().compress_vec(bytes).unwrap(),
    }
}

fn snappy_frames(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = snap::write::FrameEncoder::new(Vec::new());
    encoder.write_all(bytes).unwrap();
    encoder.into_inner().unwrap()
}

fn packed(kind: CompressionType, announced: usize, count: Option<i32>) -> MessageMetadata {
    MessageMetadata {
        compression: Some(kind as i32),
        uncompressed_size: Some(u32::try_from(announced).unwrap()),
        num_messages_in_batch: count,
        ..metadata()
    }
}

fn messages(entry: Bytes) -> Vec<Unpacked> {
    match open(entry, BYTES_MAX).content {
        Content::Messages { messages, .. } => messages,
        other => panic!("wanted messages: {other:?}"),
    }
}

fn rejection(entry: Bytes) -> Rejection {
    match open(entry, BYTES_MAX).content {
        Content::Rejected(rejection) => rejection,
        other => panic!("wanted a rejection: {other:?}"),
    }
}

const ALL: [CompressionType; 5] = [
    CompressionType::None,
    CompressionType::Lz4,
    CompressionType::Zlib,
    CompressionType::Zstd,
    CompressionType::Snappy,
];

#[test]
fn every_compression_gives_the_bytes_that_were_packed() {
    for body in [&b""[..], b"x", &[b'a'; 100_000][..]] {
        for kind in ALL {
            let found = messages(entry(&packed(kind, body.len(), None), &compressed(kind, body)));
            assert_eq!(found.len(), 1, "{kind:?}");
            assert_eq!(found[0].body, body, "{kind:?}");
            assert_eq!(found[0].properties["camera_id"], "cam_01");
        }
        let frames = entry(&packed(CompressionType::Snappy, body.len(), None), &snappy_frames(body));
        if !body.is_empty() {
            assert_eq!(messages(frames)[0].body, body, "the frames of the Rust client");
        }
    }
}

#[test]
fn a_batch_gives_its_messages_with_their_own_properties() {
    let bodies: [&[u8]; 3] = [b"one", b"", b"three"];
    for kind in ALL {
        let payload = batch(&bodies);
        let found = messages(entry(&packed(kind, payload.len(), Some(3)), &compressed(kind, &payload)));
        assert_eq!(found.iter().map(|m| &m.body[..]).collect::<Vec<_>>(), bodies, "{kind:?}");
        assert!(found.iter().all(|m| m.properties == BTreeMap::from([("n".into(), "1".into())])));
    }
}

#[test]
fn compressed_bytes_that_break_their_promise_are_one_rejection() {
    use RejectionReason::{BrokenCompression, TooLarge};
    let body = vec![b'a'; 10_000];
    for kind in ALL.into_iter().skip(1) {
        let good = compressed(kind, &body);
        for (announced, payload, wanted) in [
            (10_000, &b"garbage that is nothing"[..], BrokenCompression),
            (10_000, &b""[..], BrokenCompression),
            (10_000, &good[..good.len() / 2], BrokenCompression),
            (9_999, &good[..], BrokenCompression),
            (10_001, &good[..], BrokenCompression),
            (0, &good[..], BrokenCompression),
            (BYTES_MAX + 1, &good[..], TooLarge),
            (u32::MAX as usize, &good[..], TooLarge),
        ] {
            let found = rejection(entry(&packed(kind, announced, None), payload));
            assert_eq!(found.reason, wanted, "{kind:?}, {announced} announced: {found}");
            assert!(found.detail.contains("wanted") || found.detail.contains("unpack"), "{found}");
        }
    }
}

#[test]
fn a_bomb_gives_no_more_than_it_announces() {
    // 64 MiB of zeros in a few KiB that announce 1,000 bytes.
    let mut encoder = zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
    let zeros = vec![0; 1 << 20];
    for _ in 0..64 {
        encoder.write_all(&zeros).unwrap();
    }
    let bomb = encoder.finish().unwrap();
    let found = rejection(entry(&packed(CompressionType::Zstd, 1_000, None), &bomb));
    assert_eq!(found.reason, RejectionReason::BrokenCompression, "{found}");
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(&vec![0; 32 << 20]).unwrap();
    let bomb = encoder.finish().unwrap();
    let found = rejection(entry(&packed(CompressionType::Zlib, 1_000, None), &bomb));
    assert_eq!(found.reason, RejectionReason::BrokenCompression, "{found}");
}

#[test]
fn an_unknown_compression_is_named() {
    let metadata = MessageMetadata { compression: Some(9), ..metadata() };
    let found = rejection(entry(&metadata, b"x"));
    assert_eq!(found.reason, RejectionReason::UnknownCompression);
    assert!(found.detail.contains("compression 9"), "{found}");
}

#[test]
fn counts_that_the_bytes_contradict_are_one_rejection() {
    let payload = batch(&[b"one", b"two"]);
    for count in [0, -1, i32::MIN, 3, 5, 1000, i32::MAX] {
        let metadata = MessageMetadata { num_messages_in_batch: Some(count), ..metadata() };
        let found = rejection(entry(&metadata, &payload));
        assert_eq!(found.reason, RejectionReason::BrokenBatch, "{count}: {found}");
    }
    let metadata = MessageMetadata { num_messages_in_batch: Some(1), ..metadata() };
    assert_eq!(rejection(entry(&metadata, b"")).reason, RejectionReason::BrokenBatch);
    // The first of two alone, as every client takes it.
    assert_eq!(messages(entry(&metadata, &payload)).len(), 1);
}

#[test]
fn very_many_empty_messages_cost_no_more_than_the_bound() {
    let payload = batch(&[b""]).repeat(200_000);
    let packed = packed(CompressionType::Zstd, payload.len(), Some(200_000));
    let small = entry(&packed, &compressed(CompressionType::Zstd, &payload));
    assert!(small.len() < 2_000, "{} bytes", small.len());
    let found = rejection(small);
    assert_eq!(found.reason, RejectionReason::TooLarge, "{found}");
    assert!(found.detail.contains("ingest.entry_bytes_max"), "{found}");
}

#[test]
fn properties_count_too() {
    let value = "v".repeat(1000);
    let metadata_of_one = SingleMessageMetadata {
        properties: (0..1000).map(|n| pair(&n.to_string(), &value)).collect(),
        ..SingleMessageMetadata::default()
    };
    let mut one = u32::try_from(metadata_of_one.encoded_len()).unwrap().to_be_bytes().to_vec();
    one.extend(metadata_of_one.encode_to_vec());
    let metadata = MessageMetadata { num_messages_in_batch: Some(4), ..metadata() };
    let found = rejection(entry(&metadata, &one.repeat(4)));
    assert_eq!(found.reason, RejectionReason::TooLarge, "{found}");
}

#[test]
fn an_encrypted_entry_is_one_rejection_whatever_else_it_is() {
    let keys = EncryptionKeys { key: "k1".into(), ..EncryptionKeys::default() };
    for kind in ALL {
        for count in [None, Some(2)] {
            let metadata = MessageMetadata { encryption_keys: vec![keys.clone()], ..packed(kind, 100, count) };
            let found = rejection(entry(&metadata, b"secret"));
            assert_eq!(found.reason, RejectionReason::Encrypted, "{found}");
            assert!(found.detail.contains("\"k1\""), "{found}");
        }
    }
}

#[test]
fn a_rejected_entry_keeps_its_bytes_as_they_are_stored_and_its_properties() {
    let metadata = MessageMetadata { compression: Some(9), ..metadata() };
    let stored = entry(&metadata, b"payload").slice(6..);
    let opened = open(entry(&metadata, b"payload"), BYTES_MAX);
    assert_eq!(opened.raw, stored);
    assert_eq!(opened.properties["camera_id"], "cam_01");
    // With the broker's own metadata in front, and without a checksum.
    let with_broker = [&MAGIC_BROKER_METADATA.to_be_bytes()[..], &2u32.to_be_bytes(), b"zz", &stored].concat();
    assert_eq!(open(with_broker.into(), BYTES_MAX).raw, stored);
    let (raw, rejection) = cut(vec![7; RAW_BYTES_MAX + 5].into(), broken("why"));
    assert_eq!(raw.len(), RAW_BYTES_MAX);
    assert_eq!(rejection.detail, format!("why (the first {RAW_BYTES_MAX} of {} bytes are kept)", RAW_BYTES_MAX + 5));
}

#[test]
fn frames_that_are_no_entries_are_broken() {
    let good = entry(&metadata(), b"payload");
    let mut wrong = good.to_vec();
    *wrong.last_mut().unwrap() ^= 1;
    for bytes in [&wrong[..], &good[..5], &good[..12], b"", b"\xff\xff\xff\xff", b"\0\0\0\x02zz"] {
        let found = rejection(Bytes::copy_from_slice(bytes));
        assert_eq!(found.reason, RejectionReason::BrokenEntry, "{bytes:?}: {found}");
    }
    let huge = MessageMetadata { properties: vec![pair("k", &"v".repeat(METADATA_BYTES_MAX))], ..metadata() };
    assert_eq!(rejection(entry(&huge, b"x")).reason, RejectionReason::TooLarge);
}

#[test]
fn times_of_publishing_stay_within_what_tables_hold() {
    for (millis, micros) in [
        (0, 0),
        (1_700_000_000_000, 1_700_000_000_000_000),
        (u64::MAX, PUBLISH_TS_MAX),
        (i64::MAX as u64, PUBLISH_TS_MAX),
    ] {
        assert_eq!(timestamp(millis).as_micros(), micros, "{millis}");
    }
}

mod chunked {
    use super::*;
    use rva_types::Position;

    fn part(uuid: &str, index: i32, of: i32, total: usize, bytes: &[u8]) -> MessageMetadata {
        let _ = bytes;
        MessageMetadata {
            uuid: Some(uuid.into()),
            chunk_id: Some(index),
            num_chunks_from_msg: Some(of),
            total_chunk_msg_size: Some(i32::try_from(total).unwrap()),
            ..metadata()
        }
    }

    fn add(joins: &mut Joins, at: u64, metadata: &MessageMetadata, bytes: &[u8]) -> Option<Joined> {
        let position = Position { ledger: 1, entry: at, batch_index: -1 };
        let opened = open(entry(metadata, bytes), BYTES_MAX);
        match opened.content {
            Content::Chunk(part) => joins.add(part, (position, opened.publish_ts), opened.properties, BYTES_MAX),
            other => panic!("wanted a chunk: {other:?}"),
        }
    }

    #[test]
    fn chunks_are_put_together_also_where_others_come_between() {
        for kind in ALL {
            let (a, b) = (vec![b'a'; 5_000], (0..5_000).map(|i| (i % 251) as u8).collect::<Vec<_>>());
            let (pa, pb) = (compressed(kind, &a), compressed(kind, &b));
            let of = |packed_bytes: &[u8]| packed_bytes.len().div_ceil(3);
            let mut joins = Joins::default();
            let mut found = Vec::new();
            for index in 0..3 {
                for (uuid, bytes) in [("a", &pa), ("b", &pb)] {
                    let piece = bytes.chunks(of(bytes)).nth(index).unwrap();
                    let metadata = MessageMetadata {
                        compression: Some(kind as i32),
                        uncompressed_size: Some(5_000),
                        ..part(uuid, index as i32, 3, bytes.len(), piece)
                    };
                    found.extend(add(&mut joins, index as u64, &metadata, piece));
                    // Sent again, since there was no receipt.
                    if index < 2 {
                        assert!(add(&mut joins, index as u64, &metadata, piece).is_none());
                    }
                }
            }
            assert!(joins.is_empty());
            assert_eq!(found.len(), 2);
            assert_eq!(found[0].body.as_ref().unwrap(), &a, "{kind:?}");
            assert_eq!(found[1].body.as_ref().unwrap(), &b, "{kind:?}");
            assert_eq!(found[0].properties["camera_id"], "cam_01");
        }
    }

    #[test]
    fn a_message_without_all_its_chunks_is_one_rejection_with_its_parts() {
        let mut joins = Joins::default();
        assert!(add(&mut joins, 1, &part("a", 0, 3, 9, b""), b"one").is_none());
        let (raw, rejection) = add(&mut joins, 2, &part("a", 2, 3, 9, b""), b"3rd").unwrap().body.unwrap_err();
        assert_eq!((&raw[..], rejection.reason), (&b"one3rd"[..], RejectionReason::IncompleteChunks));
        assert!(rejection.detail.contains("found chunk 2 of 3, wanted chunk 1"), "{rejection}");
        // The first one is missing; then the last one never comes.
        assert!(add(&mut joins, 3, &part("b", 1, 3, 9, b""), b"two").is_none());
        let mut given_up = joins.give_up(BYTES_MAX);
        let (at, joined) = given_up.remove(0);
        assert_eq!((at.entry, given_up.len()), (3, 0));
        let (raw, rejection) = joined.body.unwrap_err();
        assert_eq!((&raw[..], rejection.reason), (&b"two"[..], RejectionReason::IncompleteChunks));
        // All are there, but not their bytes.
        assert!(add(&mut joins, 4, &part("c", 0, 2, 9, b""), b"one").is_none());
        let (_, rejection) = add(&mut joins, 5, &part("c", 1, 2, 9, b""), b"two").unwrap().body.unwrap_err();
        assert!(rejection.detail.contains("found 6 bytes in 2 chunks, wanted 9"), "{rejection}");
    }

    #[test]
    fn a_message_that_is_too_large_is_not_kept_while_it_comes() {
        let mut joins = Joins::default();
        let piece = vec![7; 1 << 20];
        for index in 0..9 {
            assert!(add(&mut joins, index, &part("a", index as i32, 10, 10 << 20, b""), &piece).is_none());
            assert!(joins.bytes() < RAW_BYTES_MAX + 20 * 128, "{} bytes", joins.bytes());
        }
        let (raw, rejection) = add(&mut joins, 9, &part("a", 9, 10, 10 << 20, b""), &piece).unwrap().body.unwrap_err();
        assert_eq!((raw.len(), rejection.reason), (RAW_BYTES_MAX, RejectionReason::TooLarge));
        assert!(rejection.detail.contains("10485760 bytes were found"), "{rejection}");
    }

    #[test]
    fn parts_that_contradict_themselves_are_rejections_of_their_own() {
        for (index, of, total) in [(3, 3, 9), (-1, 3, 9), (0, 3, 0), (1, 0, 9), (7, 3, 9)] {
            let metadata = part("a", index, of, total, b"");
            assert_eq!(
                rejection(entry(&metadata, b"one")).reason,
                RejectionReason::IncompleteChunks,
                "{index} of {of}"
            );
        }
        let nameless = MessageMetadata { uuid: None, ..part("a", 0, 3, 9, b"") };
        assert_eq!(rejection(entry(&nameless, b"one")).reason, RejectionReason::IncompleteChunks);
    }
}

fn any_metadata() -> impl Strategy<Value = MessageMetadata> {
    let numbers = (any::<Option<i32>>(), any::<Option<u32>>(), prop::option::of(-1i32..20), any::<u64>());
    let chunks = (prop::option::of(-2i32..5), prop::option::of(-2i32..5), prop::option::of(-5i32..2000));
    (numbers, chunks, prop::option::of("[ab]{0,2}")).prop_map(|((compression, size, count, time), chunks, uuid)| {
        let (chunk_id, num_chunks_from_msg, total_chunk_msg_size) = chunks;
        MessageMetadata {
            compression: compression.map(|kind| kind.rem_euclid(7)),
            uncompressed_size: size.map(|size| size % 5000),
            num_messages_in_batch: count,
            publish_time: time,
            chunk_id,
            num_chunks_from_msg,
            total_chunk_msg_size,
            uuid,
            ..metadata()
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 1000, rng_seed: RngSeed::Fixed(53), failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        open(bytes.into(), 10_000);
    }

    #[test]
    fn no_entry_gives_more_than_the_bound(
        metadata in any_metadata(),
        payload in prop::collection::vec(any::<u8>(), 0..400),
        bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..20),
    ) {
        let bodies: Vec<&[u8]> = bodies.iter().map(Vec::as_slice).collect();
        for payload in [payload, batch(&bodies)] {
            if let Content::Messages { messages, .. } = open(entry(&metadata, &payload), 3_000).content {
                let bytes: usize = messages.iter().map(|m| memory_bytes(m.body.len(), &m.properties)).sum();
                prop_assert!(bytes <= 3_000, "{bytes} bytes of {} messages", messages.len());
                prop_assert!(!messages.is_empty());
            }
        }
    }

    #[test]
    fn what_was_packed_comes_back(
        bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..30),
        kind in prop::sample::select(&ALL[..]),
    ) {
        let bodies: Vec<&[u8]> = bodies.iter().map(Vec::as_slice).collect();
        let payload = batch(&bodies);
        let count = i32::try_from(bodies.len()).unwrap();
        let found = messages(entry(&packed(kind, payload.len(), Some(count)), &compressed(kind, &payload)));
        prop_assert_eq!(found.iter().map(|m| &m.body[..]).collect::<Vec<_>>(), bodies);
    }
}
