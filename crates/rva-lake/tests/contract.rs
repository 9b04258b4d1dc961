//! One contract for every `TableSink`: bronze, dead letters, and the fake.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use common::{SOURCE, at, quick, row};
use rva_lake::{Batch, BronzeRow, CommitOutcome, Lake, LakeErrorKind, TableSink};
use rva_testkit::lake::{KeyedRow, MemoryFault, MemoryTable};
use rva_types::{DeadLetter, OffsetMap, Position, RejectionReason, Timestamp};
use std::collections::BTreeSet;

/// A table of some kind: gives sinks, and tells its keys.
#[async_trait::async_trait]
trait Subject {
    type Row: KeyedRow + Sync;
    fn sink(&self) -> Box<dyn TableSink<Self::Row>>;
    async fn keys(&self) -> Vec<String>;
    /// Row `number` of partition `camera`: its position is `number`.
    fn row(&self, camera: &str, number: u64) -> Self::Row;
}

struct Bronze(Lake);
struct Dead(Lake);
struct Fake(MemoryTable<BronzeRow>);
struct FakeDead(MemoryTable<DeadLetter>);

fn dead(camera: &str, number: u64) -> DeadLetter {
    DeadLetter {
        topic: format!("embedded/{camera}"),
        partition: 0,
        message_id: Position::of_record(number).to_string(),
        publish_ts: Timestamp::from_micros(1),
        reason: RejectionReason::InvalidJson,
        detail: "found x, wanted {".repeat(20),
        raw: vec![0, 255, 1],
        properties: [("key".to_owned(), "välue".to_owned())].into_iter().collect(),
        ingest_ts: Timestamp::from_micros(2),
    }
}

fn bronze(camera: &str, number: u64) -> BronzeRow {
    row(&format!("run-{camera}"), i64::try_from(number).unwrap())
}

#[async_trait::async_trait]
impl Subject for Bronze {
    type Row = BronzeRow;
    fn sink(&self) -> Box<dyn TableSink<BronzeRow>> {
        Box::new(self.0.bronze_sink().unwrap())
    }
    async fn keys(&self) -> Vec<String> {
        let keys = common::table_keys(&self.0).await;
        keys.into_iter().map(|(run, camera, frame)| format!("{run:?} {camera:?} {frame}")).collect()
    }
    fn row(&self, camera: &str, number: u64) -> BronzeRow {
        bronze(camera, number)
    }
}

#[async_trait::async_trait]
impl Subject for Fake {
    type Row = BronzeRow;
    fn sink(&self) -> Box<dyn TableSink<BronzeRow>> {
        Box::new(self.0.sink())
    }
    async fn keys(&self) -> Vec<String> {
        self.0.rows().iter().map(KeyedRow::key).collect()
    }
    fn row(&self, camera: &str, number: u64) -> BronzeRow {
        bronze(camera, number)
    }
}

#[async_trait::async_trait]
impl Subject for Dead {
    type Row = DeadLetter;
    fn sink(&self) -> Box<dyn TableSink<DeadLetter>> {
        Box::new(self.0.dead_letter_sink().unwrap())
    }
    async fn keys(&self) -> Vec<String> {
        common::dead_letters(&self.0).await.iter().map(KeyedRow::key).collect()
    }
    fn row(&self, camera: &str, number: u64) -> DeadLetter {
        dead(camera, number)
    }
}

#[async_trait::async_trait]
impl Subject for FakeDead {
    type Row = DeadLetter;
    fn sink(&self) -> Box<dyn TableSink<DeadLetter>> {
        Box::new(self.0.sink())
    }
    async fn keys(&self) -> Vec<String> {
        self.0.rows().iter().map(KeyedRow::key).collect()
    }
    fn row(&self, camera: &str, number: u64) -> DeadLetter {
        dead(camera, number)
    }
}

fn batch_of<S: Subject>(subject: &S, from: OffsetMap, to: OffsetMap, rows: &[(&str, u64)]) -> Batch<S::Row> {
    let rows = rows.iter().map(|(camera, number)| subject.row(camera, *number)).collect();
    Batch { source: SOURCE.into(), from, to, rows }
}

async fn assert_keys<S: Subject>(subject: &S, wanted: &[(&str, u64)]) {
    let found = subject.keys().await;
    let set: BTreeSet<_> = found.iter().cloned().collect();
    assert_eq!(set.len(), found.len(), "a key is there twice: {found:?}");
    let wanted: BTreeSet<_> = wanted.iter().map(|(camera, number)| subject.row(camera, *number).key()).collect();
    assert_eq!(set, wanted);
}

fn committed(rows_appended: u64, rows_known: u64) -> CommitOutcome {
    CommitOutcome::Committed { rows_appended, rows_known }
}

async fn contract<S: Subject>(subject: S) {
    let mut sink = subject.sink();
    assert_eq!(sink.resume_point().await.unwrap(), Default::default(), "a fresh table is at the start");

    let nothing = batch_of(&subject, at(&[]), at(&[]), &[]);
    assert_eq!(sink.commit(&nothing).await.unwrap(), committed(0, 0));
    assert_eq!(sink.resume_point().await.unwrap().sequence, 0, "nothing new, no commit");

    let first = batch_of(&subject, at(&[]), at(&[("a", 3)]), &[("a", 1), ("a", 2), ("a", 2)]);
    assert_eq!(sink.commit(&first).await.unwrap(), committed(2, 1), "a key that comes twice in a batch is known");
    let resume = sink.resume_point().await.unwrap();
    assert_eq!((resume.offsets, resume.sequence), (at(&[("a", 3)]), 1));
    assert_eq!(resume.source.as_deref(), Some(SOURCE));

    let offsets_only = batch_of(&subject, at(&[("a", 3)]), at(&[("a", 5)]), &[]);
    assert_eq!(sink.commit(&offsets_only).await.unwrap(), committed(0, 0));
    assert_eq!(sink.resume_point().await.unwrap().offsets, at(&[("a", 5)]), "offsets move without rows");

    // Another owner of the same partition, who still stands at 3.
    let mut zombie = subject.sink();
    let stale = batch_of(&subject, at(&[("a", 3)]), at(&[("a", 4)]), &[("a", 4)]);
    let CommitOutcome::Fenced(resume) = zombie.commit(&stale).await.unwrap() else { panic!("a stale batch got in") };
    assert_eq!(resume.offsets, at(&[("a", 5)]), "the fence says where to continue");

    // Another worker with another partition: our map is behind, our partition is not.
    let other = batch_of(&subject, at(&[("a", 3)]), at(&[("a", 3), ("b", 2)]), &[("b", 1), ("b", 2)]);
    assert_eq!(zombie.commit(&other).await.unwrap(), committed(2, 0), "other partitions moved, ours did not");
    assert_eq!(sink.resume_point().await.unwrap().offsets, at(&[("a", 5), ("b", 2)]));

    let mine = batch_of(&subject, at(&[("a", 5)]), at(&[("a", 7)]), &[("a", 6), ("a", 7)]);
    assert_eq!(sink.commit(&mine).await.unwrap(), committed(2, 0));
    let resume = sink.resume_point().await.unwrap();
    assert_eq!((resume.offsets, resume.sequence), (at(&[("a", 7), ("b", 2)]), 4), "the whole map is carried on");

    let mut foreign = batch_of(&subject, at(&[("a", 7), ("b", 2)]), at(&[("a", 8), ("b", 2)]), &[("a", 8)]);
    foreign.source = "another log".into();
    let error = sink.commit(&foreign).await.unwrap_err();
    assert_eq!(error.kind(), LakeErrorKind::Permanent);
    assert!(error.to_string().contains("another log") && error.to_string().contains(SOURCE), "{error}");

    assert_keys(&subject, &[("a", 1), ("a", 2), ("b", 1), ("b", 2), ("a", 6), ("a", 7)]).await;
}

async fn lake() -> (tempfile::TempDir, Lake) {
    let dir = tempfile::tempdir().unwrap();
    let lake = Lake::open_embedded(dir.path(), quick()).await.unwrap();
    (dir, lake)
}

#[tokio::test]
async fn the_bronze_sink_keeps_the_contract() {
    let (_dir, lake) = lake().await;
    contract(Bronze(lake)).await;
}

#[tokio::test]
async fn the_dead_letter_sink_keeps_the_contract() {
    let (_dir, lake) = lake().await;
    contract(Dead(lake)).await;
}

#[tokio::test]
async fn the_fakes_keep_the_contract() {
    contract(Fake(MemoryTable::new())).await;
    contract(FakeDead(MemoryTable::new())).await;
}

/// A row whose key is there with another payload is told apart from one that comes again, and nothing of its batch is
/// written.
async fn conflicts<S: Subject<Row = BronzeRow>>(subject: S) {
    let mut sink = subject.sink();
    let first = batch_of(&subject, at(&[]), at(&[("a", 2)]), &[("a", 1), ("a", 2)]);
    assert_eq!(sink.commit(&first).await.unwrap(), committed(2, 0));
    for mut sink in [sink, subject.sink()] {
        let mut second = batch_of(
            &subject,
            at(&[("a", 2)]),
            at(&[("a", 6)]),
            &[("a", 1), ("a", 2), ("a", 3), ("a", 3), ("a", 3), ("a", 2)],
        );
        second.rows[1].event.payload = "{\"claimed\":1}".into();
        second.rows[4].event.payload = "{\"claimed\":2}".into();
        assert_eq!(sink.commit(&second).await.unwrap(), CommitOutcome::Conflicting(vec![1, 4]));
        assert_eq!(sink.resume_point().await.unwrap().offsets, at(&[("a", 2)]), "nothing moved");
        assert_keys(&subject, &[("a", 1), ("a", 2)]).await;
        assert_eq!(sink.holds(&second.rows).await.unwrap(), [true, true, false, false, false, true]);
    }
    let rest = batch_of(&subject, at(&[("a", 2)]), at(&[("a", 6)]), &[("a", 1), ("a", 3), ("a", 3), ("a", 2)]);
    assert_eq!(subject.sink().commit(&rest).await.unwrap(), committed(1, 3), "the batch without them");
    assert_keys(&subject, &[("a", 1), ("a", 2), ("a", 3)]).await;
}

#[tokio::test]
async fn a_key_with_another_payload_is_a_conflict_in_the_table_and_in_the_fake() {
    let (_dir, lake) = lake().await;
    conflicts(Bronze(lake)).await;
    conflicts(Fake(MemoryTable::new())).await;
}

#[tokio::test]
async fn payloads_are_read_back_only_where_no_digest_is_held_and_only_from_files_that_may_hold_them() {
    let (_dir, lake) = lake().await;
    let subject = Bronze(lake.clone());
    let mut sink = lake.bronze_sink().unwrap();
    let mut from = at(&[]);
    for number in 1..=5 {
        let to = at(&[("a", number)]);
        let camera = format!("{number}");
        let rows: Vec<_> = (1..=100).map(|frame| (camera.as_str(), frame)).collect();
        sink.commit(&batch_of(&subject, from, to.clone(), &rows)).await.unwrap();
        from = to;
    }
    let again: Vec<_> = (1..=100).map(|frame| ("3", frame)).collect();
    let batch = batch_of(&subject, from.clone(), at(&[("a", 6)]), &again);
    assert_eq!(sink.commit(&batch).await.unwrap(), committed(0, 100));
    assert_eq!(sink.key_counts().payload_files_read, 0, "its own rows are known by their digests");
    let mut other = lake.bronze_sink().unwrap();
    let batch = batch_of(&subject, at(&[("a", 6)]), at(&[("a", 7)]), &again);
    assert_eq!(other.commit(&batch).await.unwrap(), committed(0, 100));
    assert_eq!(other.key_counts().payload_files_read, 1, "one of five files holds that run");
    let batch = batch_of(&subject, at(&[("a", 7)]), at(&[("a", 8)]), &again);
    assert_eq!(other.commit(&batch).await.unwrap(), committed(0, 100));
    assert_eq!(other.key_counts().payload_files_read, 1, "what was read is remembered");
}

#[tokio::test]
async fn a_fakes_faults_are_what_they_say() {
    let table = MemoryTable::new();
    let subject = Fake(table.clone());
    let mut sink = table.sink();
    let batch = batch_of(&subject, at(&[]), at(&[("a", 2)]), &[("a", 1), ("a", 2)]);
    table.inject([MemoryFault::RequestLost, MemoryFault::ResponseLost]);
    assert_eq!(sink.commit(&batch).await.unwrap_err().kind(), LakeErrorKind::Transient);
    assert_eq!(table.rows().len(), 0);
    assert_eq!(sink.commit(&batch).await.unwrap_err().kind(), LakeErrorKind::Transient);
    assert_eq!(table.rows().len(), 2);
    assert_eq!(sink.commit(&batch).await.unwrap(), committed(2, 0), "the lost commit is found again");
    table.roll_back_to(0);
    let resume = sink.resume_point().await.unwrap();
    assert_eq!((resume.rolled_back_from, resume.sequence), (Some(1), 0));
    assert_keys(&subject, &[]).await;
}

#[tokio::test]
async fn dead_letters_that_are_read_again_are_known_and_their_values_come_back() {
    let (_dir, lake) = lake().await;
    let subject = Dead(lake.clone());
    let mut sink = subject.sink();
    sink.commit(&batch_of(&subject, at(&[]), at(&[("a", 9)]), &[("a", 4), ("a", 9)])).await.unwrap();
    // Bronze was behind: the ingest reads from 3 on again, and finds one more bad message now.
    let mut again = lake.dead_letter_sink().unwrap();
    let rows = &[("a", 4), ("a", 5), ("a", 9), ("a", 10)];
    let outcome = again.commit(&batch_of(&subject, at(&[("a", 9)]), at(&[("a", 10)]), rows)).await.unwrap();
    assert_eq!(outcome, committed(2, 2));
    // All at or below the map: nothing moves, yet what is missing comes in.
    let outcome = again.commit(&batch_of(&subject, at(&[("a", 10)]), at(&[("a", 10)]), &[("a", 5), ("a", 6)])).await;
    assert_eq!(outcome.unwrap(), committed(1, 1));
    let mut found = common::dead_letters(&lake).await;
    found.sort_by_key(|row| row.message_id.parse::<Position>().unwrap());
    let wanted: Vec<_> = [4, 5, 6, 9, 10].into_iter().map(|number| dead("a", number)).collect();
    assert_eq!(found, wanted);
}
