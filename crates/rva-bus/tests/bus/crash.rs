//! Processes that are killed, and readers in another process.

use crate::{drain, keys, message, no_sync};
use rva_bus::{EventSink, LogOptions, LogReader, LogWriter, settle};
use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

/// The writer process: obeys `send FIRST LAST` and `flush` on stdin and says on stdout what it has accepted.
#[test]
#[ignore = "the other process of the tests below"]
fn writer_process() {
    let Some(dir) = std::env::var_os("RVA_BUS_TEST_DIR") else { return };
    let options = if std::env::var_os("RVA_BUS_TEST_SYNC").is_some() { LogOptions::default() } else { no_sync() };
    let mut writer = LogWriter::open(PathBuf::from(dir), LogOptions { segment_bytes_max: 4000, ..options }).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut out = std::io::stdout();
    for line in std::io::stdin().lines() {
        let line = line.unwrap();
        let words: Vec<_> = line.split(' ').collect();
        match words[..] {
            ["send", first, last] => {
                for i in first.parse::<u64>().unwrap()..=last.parse().unwrap() {
                    runtime.block_on(writer.send(message("a", i.to_string()))).unwrap();
                    writeln!(out, "accepted {i}").unwrap();
                }
            }
            _ => runtime.block_on(writer.flush()).unwrap(),
        }
        writeln!(out, "done").unwrap();
    }
}

struct Writer {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Writer {
    fn start(dir: &Path, syncs: bool) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "crash::writer_process", "--ignored", "--nocapture"]).env("RVA_BUS_TEST_DIR", dir);
        if syncs {
            command.env("RVA_BUS_TEST_SYNC", "1");
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let stdin = child.stdin.take().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Self { child, stdin, stdout }
    }

    fn order(&mut self, order: &str) {
        writeln!(self.stdin, "{order}").unwrap();
    }

    /// Reads what it says until `wanted` comes, or until it ends; the last number that it accepted.
    fn read_until(&mut self, wanted: Option<&str>) -> Option<u64> {
        let (mut last, mut line) = (None, String::new());
        while self.stdout.read_line(&mut line).unwrap() > 0 {
            // A line that was torn by the kill isn't a whole promise.
            if let Some(number) = line.strip_prefix("accepted ").and_then(|rest| rest.strip_suffix('\n')) {
                last = Some(number.parse().unwrap());
            }
            if wanted.is_some_and(|wanted| line.trim_end().ends_with(wanted)) {
                break;
            }
            line.clear();
        }
        last
    }

    fn kill(mut self) -> Option<u64> {
        self.child.kill().unwrap();
        let last = self.read_until(None);
        self.child.wait().unwrap();
        last
    }
}

#[tokio::test]
async fn a_killed_writer_loses_nothing_that_it_accepted() {
    let dir = tempfile::tempdir().unwrap();
    let mut next = 1;
    for round in 0..8_u64 {
        let mut writer = Writer::start(dir.path(), true);
        writer.order(&format!("send {next} {}", next + 1_000_000));
        let seen = writer.read_until(Some(&format!("accepted {}", next + round * 37))).unwrap();
        let accepted = writer.kill().unwrap_or(seen).max(seen);
        let reopened = LogWriter::open(dir.path(), LogOptions::default()).unwrap();
        assert!(reopened.recovered().len() <= 1);
        let found = keys(&drain(&mut LogReader::open(dir.path()).unwrap()).await);
        let last = found.len() as u64;
        println!("round {round}: accepted {accepted}, found {last}");
        assert!(last >= accepted, "accepted {accepted}, found {last}");
        let wanted: Vec<_> = (1..=last).map(|i| ("a".to_owned(), i, i.to_string())).collect();
        assert_eq!(found, wanted);
        next = last + 1;
    }
}

#[tokio::test]
async fn a_reader_in_another_process_sees_only_what_is_synced() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::start(dir.path(), false);
    writer.order("send 1 50");
    assert_eq!(writer.read_until(Some("done")), Some(50));
    let mut reader = LogReader::open(dir.path()).unwrap();
    assert_eq!(drain(&mut reader).await, []);
    writer.order("flush");
    writer.read_until(Some("done"));
    let wanted = |numbers: std::ops::RangeInclusive<u64>| {
        numbers.map(|i| ("a".to_owned(), i, i.to_string())).collect::<Vec<_>>()
    };
    assert_eq!(keys(&drain(&mut reader).await), wanted(1..=50));
    writer.order("send 51 60");
    writer.read_until(Some("done"));
    assert_eq!(drain(&mut reader).await, []);
    let error = LogWriter::open(dir.path(), no_sync()).err().unwrap().to_string();
    assert!(error.contains(&format!("process {} (", writer.child.id())), "{error}");
    settle(dir.path().to_owned(), no_sync()).await.unwrap();
    assert_eq!(drain(&mut reader).await, [], "a writer that runs settles by itself");
    writer.kill();
    assert_eq!(drain(&mut reader).await, [], "without a writer only the mark counts");
    settle(dir.path().to_owned(), no_sync()).await.unwrap();
    assert_eq!(keys(&drain(&mut reader).await), wanted(51..=60));
}
