//! Torn tails, damage, lost files, a second writer, folders without permission.

use crate::{body, drain, keys, message, no_sync, segments};
use rva_bus::{BusErrorKind, EventSink, EventSource, LogOptions, LogReader, LogWriter};
use rva_types::{OffsetMap, Position};
use std::{
    fs,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

async fn filled(dir: &Path, records: u64) {
    let mut writer = LogWriter::open(dir, LogOptions::default()).unwrap();
    for i in 1..=records {
        writer.send(message("a", body(i, 50))).await.unwrap();
    }
    writer.flush().await.unwrap();
}

fn segment(dir: &Path) -> PathBuf {
    segments(dir, "a").remove(0)
}

fn append(path: &Path, bytes: &[u8]) {
    use std::io::Write;
    fs::File::options().append(true).open(path).unwrap().write_all(bytes).unwrap();
}

#[tokio::test]
async fn a_torn_tail_is_cut_and_reported() {
    let dir = tempfile::tempdir().unwrap();
    for tail in [&b"{\"crc\":\"00"[..], b"{\"crc\":\"00000000\",\"n\":9}\n", &[0; 5000], b"\n"] {
        let dir = dir.path().join(tail.len().to_string());
        filled(&dir, 3).await;
        let whole = fs::metadata(segment(&dir)).unwrap().len();
        append(&segment(&dir), tail);
        let mut reader = LogReader::open(&dir).unwrap();
        assert_eq!(drain(&mut reader).await.len(), 3, "a reader without a writer trusts the mark");
        let mut writer = LogWriter::open(&dir, LogOptions::default()).unwrap();
        let [cut] = writer.recovered() else { panic!("{:?}", writer.recovered()) };
        assert_eq!((&cut.file, cut.offset, cut.bytes_cut), (&segment(&dir), whole, tail.len() as u64));
        assert_eq!(cut.records_cut, 0);
        writer.send(message("a", body(4, 50))).await.unwrap();
        writer.flush().await.unwrap();
        assert_eq!(keys(&drain(&mut reader).await), [("a".into(), 4, body(4, 50))]);
    }
}

#[tokio::test]
async fn a_hole_beyond_the_mark_is_cut_and_the_records_behind_it_are_kept_aside() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 3).await;
    let whole = fs::metadata(segment(dir.path())).unwrap().len();
    // A later record reached the disk, the page before it didn't.
    let line = fs::read(segment(dir.path())).unwrap();
    let last = line[..line.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
    append(&segment(dir.path()), &[0; 100]);
    append(&segment(dir.path()), b"\n");
    append(&segment(dir.path()), &line[last..]);
    let writer = LogWriter::open(dir.path(), LogOptions::default()).unwrap();
    assert_eq!(writer.recovered()[0].records_cut, 1);
    let aside = PathBuf::from(format!("{}.cut-{whole}", segment(dir.path()).display()));
    assert!(fs::read(aside).unwrap().ends_with(&line[last..]));
    assert_eq!(fs::metadata(segment(dir.path())).unwrap().len(), whole);
}

#[tokio::test]
async fn damage_below_the_mark_is_not_cut_and_the_reader_names_file_byte_and_checksums() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 5).await;
    let path = segment(dir.path());
    let mut bytes = fs::read(&path).unwrap();
    let start = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let at = start + 120;
    bytes[at] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let mut writer = LogWriter::open(dir.path(), LogOptions::default()).unwrap();
    assert_eq!(writer.recovered(), []);
    let mut reader = LogReader::open(dir.path()).unwrap();
    assert_eq!(keys(&reader.poll(1 << 20, Duration::ZERO).await.unwrap()), [("a".into(), 1, body(1, 50))]);
    let crc = String::from_utf8_lossy(&bytes[start + 8..start + 16]).into_owned();
    for _ in 0..2 {
        let error = reader.poll(1 << 20, Duration::ZERO).await.unwrap_err();
        assert_eq!(error.kind(), BusErrorKind::Permanent);
        let text = error.to_string();
        for part in [path.to_str().unwrap(), &format!("byte {start}"), &format!("wanted {crc}"), "found crc"] {
            assert!(text.contains(part), "{text} should name {part}");
        }
    }
    assert_eq!(fs::read(&path).unwrap(), bytes, "nothing was cut");

    // Cameras go on, other partitions are read, and a seek behind the damage goes on too.
    writer.send(message("b", "1")).await.unwrap();
    writer.flush().await.unwrap();
    let mut found = Vec::new();
    for _ in 0..4 {
        found.extend(reader.poll(1 << 20, Duration::ZERO).await.unwrap_or_default());
    }
    assert_eq!(keys(&found), [("b".into(), 1, "1".into())]);
    let mut offsets = OffsetMap::new();
    offsets.advance("a", Position::of_record(2));
    offsets.advance("b", Position::of_record(1));
    reader.seek(&offsets).await.unwrap();
    assert_eq!(drain(&mut reader).await.len(), 3);
}

#[tokio::test]
async fn damage_without_a_mark_is_an_error_unless_it_is_the_torn_end() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 3).await;
    fs::remove_file(dir.path().join("a/durable")).unwrap();
    append(&segment(dir.path()), b"{\"crc\"");
    let writer = LogWriter::open(dir.path(), LogOptions::default()).unwrap();
    assert_eq!(writer.recovered()[0].bytes_cut, 6);
    drop(writer);
    assert_eq!(drain(&mut LogReader::open(dir.path()).unwrap()).await.len(), 3);

    fs::remove_file(dir.path().join("a/durable")).unwrap();
    let mut bytes = fs::read(segment(dir.path())).unwrap();
    bytes[100] ^= 1;
    fs::write(segment(dir.path()), &bytes).unwrap();
    let error = LogWriter::open(dir.path(), LogOptions::default()).err().unwrap();
    assert!(error.kind() == BusErrorKind::Permanent && error.to_string().contains("at byte 0"), "{error}");
    assert_eq!(fs::read(segment(dir.path())).unwrap(), bytes);
}

#[tokio::test]
async fn a_log_that_ends_before_its_mark_is_shortened() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 3).await;
    let bytes = fs::read(segment(dir.path())).unwrap();
    fs::write(segment(dir.path()), &bytes[..bytes.len() - 5]).unwrap();
    let error = LogWriter::open(dir.path(), LogOptions::default()).err().unwrap();
    assert_eq!(error.kind(), BusErrorKind::Permanent);
    let text = error.to_string();
    assert!(text.contains("shortened") && text.contains("record 2;") && text.contains("record 3,"), "{text}");
    let mut reader = LogReader::open(dir.path()).unwrap();
    assert_eq!(reader.poll(1 << 20, Duration::ZERO).await.unwrap().len(), 2);
    assert_eq!(reader.poll(1 << 20, Duration::ZERO).await.unwrap_err().kind(), BusErrorKind::Permanent);
    fs::remove_file(segment(dir.path())).unwrap();
    let error = LogWriter::open(dir.path(), LogOptions::default()).err().unwrap();
    assert!(error.to_string().contains("shortened"), "{error}");
}

#[tokio::test]
async fn a_lost_or_damaged_identity_of_a_log_with_records_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 1).await;
    let identity = dir.path().join("identity");
    let kept = fs::read(&identity).unwrap();
    for damage in [Some("not a uuid\n"), Some(""), None] {
        match damage {
            Some(text) => fs::write(&identity, text).unwrap(),
            None => fs::remove_file(&identity).unwrap(),
        }
        for error in [
            LogWriter::open(dir.path(), LogOptions::default()).err().unwrap(),
            LogReader::open(dir.path()).err().unwrap(),
        ] {
            assert_eq!(error.kind(), BusErrorKind::Permanent);
            assert!(error.to_string().contains(identity.to_str().unwrap()), "{error}");
        }
    }
    fs::write(&identity, &kept).unwrap();
    let reader = LogReader::open(dir.path()).unwrap();
    assert_eq!(reader.identity(), String::from_utf8(kept).unwrap().trim());
}

#[tokio::test]
async fn where_there_is_no_log_yet_a_reader_may_try_again() {
    let dir = tempfile::tempdir().unwrap();
    let error = LogReader::open(dir.path().join("log")).err().unwrap();
    assert_eq!(error.kind(), BusErrorKind::Transient);
}

#[tokio::test]
async fn a_second_writer_is_refused_and_names_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let first = LogWriter::open(dir.path(), LogOptions::default()).unwrap();
    let error = LogWriter::open(dir.path(), LogOptions::default()).err().unwrap();
    assert_eq!(error.kind(), BusErrorKind::Conflict);
    assert!(error.to_string().contains(&format!("process {} (", std::process::id())), "{error}");
    drop(first);
    LogWriter::open(dir.path(), LogOptions::default()).unwrap();
}

#[tokio::test]
async fn every_line_is_json_with_the_record_as_it_was_sent() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 3).await;
    let text = fs::read_to_string(segment(dir.path())).unwrap();
    let records: Vec<_> = text
        .lines()
        .map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            (line["n"].as_u64().unwrap(), line["rec"]["i"].as_u64().unwrap(), line["props"]["camera_id"].clone())
        })
        .collect();
    assert_eq!(records, [(1, 1, "a".into()), (2, 2, "a".into()), (3, 3, "a".into())]);
}

#[tokio::test]
async fn a_body_over_the_bound_is_rejected() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = LogWriter::open(dir.path(), LogOptions { body_bytes_max: 10, ..no_sync() }).unwrap();
    let error = writer.send(message("a", [0; 11])).await.unwrap_err();
    assert_eq!(error.kind(), BusErrorKind::Rejected);
    assert!(error.to_string().contains("11") && error.to_string().contains("10"), "{error}");
    writer.send(message("a", [0; 10])).await.unwrap();
}

/// Started by the test below as a user without rights; prints the error of opening a writer.
#[test]
#[ignore = "the other process of a_folder_without_permission_is_named"]
fn open_without_permission() {
    let Some(dir) = std::env::var_os("RVA_BUS_TEST_DIR") else { return };
    match LogWriter::open(PathBuf::from(dir), LogOptions::default()) {
        Ok(_) => println!("opened"),
        Err(error) => println!("refused {:?}: {error}", error.kind()),
    }
}

#[test]
fn a_folder_without_permission_is_named() {
    const NOBODY: u32 = 65534;
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let log = dir.path().join("log");
    fs::create_dir(&log).unwrap();
    fs::set_permissions(&log, fs::Permissions::from_mode(0o555)).unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "damage::open_without_permission", "--ignored", "--nocapture"]);
    command.env("RVA_BUS_TEST_DIR", &log).current_dir("/");
    let is_root = fs::metadata("/proc/self").is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0);
    if is_root {
        command.uid(NOBODY).gid(NOBODY);
    }
    let output = match command.output() {
        Ok(output) => output,
        Err(error) => return eprintln!("skipped: the test program can't be started as another user: {error}"),
    };
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("refused Permanent") && text.contains(log.to_str().unwrap()), "{text}");
    assert!(text.contains("wanted a path that this user may read and write"), "{text}");
}
