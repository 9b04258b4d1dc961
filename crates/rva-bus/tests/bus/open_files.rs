//! Any number of cameras, and few open files.

use crate::{drain, keys, message, no_sync};
use rva_bus::{BusErrorKind, EventSink, LogOptions, LogReader, LogWriter};
use std::{collections::BTreeSet, path::Path};

/// Descriptors of this process that lie in a folder.
fn open_in(dir: &Path) -> usize {
    let open = std::fs::read_dir("/proc/self/fd").unwrap();
    open.filter_map(|fd| std::fs::read_link(fd.unwrap().path()).ok()).filter(|path| path.starts_with(dir)).count()
}

#[tokio::test]
async fn every_record_of_five_hundred_cameras_in_turn_is_read_back_and_eight_partitions_are_open() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().canonicalize().unwrap();
    let options = LogOptions { open_partitions_max: 8, segment_bytes_max: 300, ..no_sync() };
    let mut wanted = BTreeSet::new();
    let mut open = 0;
    // The second writer finds all the cameras there.
    for turn in 1..=2_u64 {
        let mut log = LogWriter::open(&dir, options.clone()).unwrap();
        assert!(open_in(&dir) <= 2, "{} are open before anything is written", open_in(&dir));
        for (round, camera) in (1..=2).flat_map(|round| (0..500).map(move |camera| (round, camera))) {
            let (key, number) = (format!("cam_{camera:03}"), (turn - 1) * 2 + round);
            let body = format!("{{\"turn\":{turn},\"round\":{round},\"pad\":\"{}\"}}", "x".repeat(150));
            log.send(message(&key, &body)).await.unwrap();
            wanted.insert((key, number, body));
            // The lock, two of each partition, and segments that were rolled and aren't synced.
            open = open.max(open_in(&dir));
        }
        log.flush().await.unwrap();
    }
    assert!((8..=1 + 8 * 3).contains(&open), "{open} were open");
    let found = drain(&mut LogReader::open(&dir).unwrap()).await;
    assert_eq!(found.len(), wanted.len());
    assert_eq!(keys(&found).into_iter().collect::<BTreeSet<_>>(), wanted);
}

#[tokio::test]
async fn a_record_that_its_properties_make_too_long_for_readers_is_refused_and_the_next_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = LogWriter::open(dir.path(), LogOptions::default()).unwrap();
    let mut long = message("a", "{}");
    long.properties.insert("pad".to_owned(), "x".repeat(64 << 20));
    let error = log.send(long).await.unwrap_err();
    assert_eq!(error.kind(), BusErrorKind::Rejected);
    assert!(error.to_string().contains("with its properties, wanted at most 67108864"), "{error}");
    log.send(message("a", "{\"n\":1}")).await.unwrap();
    log.flush().await.unwrap();
    let found = drain(&mut LogReader::open(dir.path()).unwrap()).await;
    assert_eq!(keys(&found), [("a".to_owned(), 1, "{\"n\":1}".to_owned())]);
}
