//! A full disk, short writes, and an fsync that fails.

use crate::{body, drain, keys, message, no_sync, segments};
use rva_bus::{
    BusErrorKind, EventSink, LogOptions, LogReader, LogWriter,
    log::{OsFiles, SegmentFile, SegmentFiles},
};
use std::{
    io,
    path::Path,
    sync::{Arc, Mutex},
};

#[derive(Default)]
struct Disk {
    /// Bytes until the disk is full.
    room: Option<usize>,
    /// Longest single write.
    write_max: Option<usize>,
    sync_fails: bool,
    truncate_fails: bool,
}

#[derive(Clone, Default)]
struct FaultyFiles(Arc<Mutex<Disk>>);

struct FaultyFile(Box<dyn SegmentFile>, Arc<Mutex<Disk>>);

impl SegmentFiles for FaultyFiles {
    fn open(&self, path: &Path) -> io::Result<Box<dyn SegmentFile>> {
        Ok(Box::new(FaultyFile(OsFiles.open(path)?, self.0.clone())))
    }
}

impl SegmentFile for FaultyFile {
    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut disk = self.1.lock().unwrap();
        let length = bytes.len().min(disk.write_max.unwrap_or(usize::MAX)).min(disk.room.unwrap_or(usize::MAX));
        if length == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        if let Some(room) = &mut disk.room {
            *room -= length;
        }
        self.0.write(&bytes[..length])
    }

    fn sync(&self) -> io::Result<()> {
        if self.1.lock().unwrap().sync_fails { Err(io::Error::other("EIO")) } else { self.0.sync() }
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        if self.1.lock().unwrap().truncate_fails { Err(io::Error::other("EIO")) } else { self.0.truncate(bytes) }
    }
}

fn faulty() -> (FaultyFiles, LogOptions) {
    let files = FaultyFiles::default();
    (files.clone(), LogOptions { files: Arc::new(files), ..no_sync() })
}

#[tokio::test]
async fn a_full_disk_leaves_no_half_line_and_the_message_can_be_sent_again() {
    for truncate_fails in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let (files, options) = faulty();
        let mut writer = LogWriter::open(dir.path(), options).unwrap();
        writer.send(message("a", body(1, 50))).await.unwrap();
        let whole = std::fs::read(&segments(dir.path(), "a")[0]).unwrap();
        for room in [0, 1, 30, 100] {
            *files.0.lock().unwrap() = Disk { room: Some(room), truncate_fails, ..Disk::default() };
            let error = writer.send(message("a", body(2, 50))).await.unwrap_err();
            let text = error.to_string();
            if error.kind() != BusErrorKind::Transient {
                assert!(truncate_fails, "{text}");
                continue;
            }
            assert!(text.contains("no space left") && text.contains(dir.path().to_str().unwrap()), "{text}");
            if !truncate_fails {
                assert_eq!(std::fs::read(&segments(dir.path(), "a")[0]).unwrap(), whole);
            }
        }
        assert!(writer.counters().sends_no_space > 0);
        *files.0.lock().unwrap() = Disk::default();
        writer.send(message("a", body(2, 50))).await.unwrap();
        writer.flush().await.unwrap();
        let mut reader = LogReader::open(dir.path()).unwrap();
        let wanted = [1, 2].map(|i| ("a".to_owned(), i, body(i, 50)));
        assert_eq!(keys(&drain(&mut reader).await), wanted, "truncate fails: {truncate_fails}");
        drop(writer);
        assert_eq!(LogWriter::open(dir.path(), no_sync()).unwrap().recovered(), []);
    }
}

#[tokio::test]
async fn short_writes_make_whole_lines() {
    let dir = tempfile::tempdir().unwrap();
    let (files, options) = faulty();
    files.0.lock().unwrap().write_max = Some(7);
    let mut writer = LogWriter::open(dir.path(), options).unwrap();
    for i in 1..=20 {
        writer.send(message("a", body(i, 50))).await.unwrap();
    }
    writer.flush().await.unwrap();
    let wanted: Vec<_> = (1..=20).map(|i| ("a".to_owned(), i, body(i, 50))).collect();
    assert_eq!(keys(&drain(&mut LogReader::open(dir.path()).unwrap()).await), wanted);
}

#[tokio::test]
async fn a_failed_fsync_stops_the_writer_and_publishes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (files, options) = faulty();
    let mut writer = LogWriter::open(dir.path(), options.clone()).unwrap();
    writer.send(message("a", body(1, 50))).await.unwrap();
    writer.flush().await.unwrap();
    writer.send(message("a", body(2, 50))).await.unwrap();
    files.0.lock().unwrap().sync_fails = true;
    assert_eq!(writer.flush().await.unwrap_err().kind(), BusErrorKind::Permanent);
    files.0.lock().unwrap().sync_fails = false;
    for error in [writer.flush().await.unwrap_err(), writer.send(message("a", body(3, 50))).await.unwrap_err()] {
        assert_eq!(error.kind(), BusErrorKind::Permanent);
        assert!(error.to_string().contains("fsync") && error.to_string().contains("EIO"), "{error}");
    }
    let mut reader = LogReader::open(dir.path()).unwrap();
    assert_eq!(keys(&drain(&mut reader).await), [("a".into(), 1, body(1, 50))]);
    drop(writer);
    assert_eq!(drain(&mut reader).await, [], "nothing is published at the end either");
    let _writer = LogWriter::open(dir.path(), options).unwrap();
    assert_eq!(keys(&drain(&mut reader).await), [("a".into(), 2, body(2, 50))], "a new writer settles it");
}
