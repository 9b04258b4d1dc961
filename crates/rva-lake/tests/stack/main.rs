//! The lake over a real REST catalog and a real object store (the native stack).
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod auth;
mod bad_days;
mod changes;
#[path = "../common/mod.rs"]
mod common;
#[path = "../common/engine.rs"]
mod engine;
#[path = "../common/hours.rs"]
mod hours;

use bytes::Bytes;
use common::{at, batch, row, row_of, table_keys};
use iceberg::io::Storage;
use rva_lake::{
    CommitOutcome, Lake, LakeErrorKind, LakeOptions, RestAuth, RestOptions, TableSink,
    storage::{LakeStorageFactory, S3Keys, S3Options},
};
use rva_stack::Stack;
use std::time::Duration;

fn s3(stack: &Stack) -> S3Options {
    let keys = S3Keys {
        access_key: stack.get("S3_ACCESS_KEY").to_owned(),
        secret_key: stack.get("S3_SECRET_KEY").to_owned(),
        session_token: None,
    };
    S3Options {
        endpoint: Some(stack.get("S3_ENDPOINT").to_owned()),
        region: Some(stack.get("S3_REGION").to_owned()),
        keys: Some(keys),
        retries_max: 1,
        retry_timeout: Duration::from_secs(2),
        ..S3Options::default()
    }
}

fn unique() -> String {
    format!("t{}", uuid::Uuid::new_v4().simple())
}

/// The frames of a run, sorted, each as often as the table holds it.
async fn frames_of(lake: &Lake, run: &str) -> Vec<i64> {
    let mut frames: Vec<i64> =
        table_keys(lake).await.into_iter().filter(|(of, ..)| of == run).map(|(.., frame)| frame).collect();
    frames.sort_unstable();
    frames
}

fn options(stack: &Stack) -> LakeOptions {
    options_of("ingest", s3(stack))
}

/// Of a job of one's own: tests share the tables, and nothing else.
fn options_of(job: &str, s3: S3Options) -> LakeOptions {
    let mut options = LakeOptions::default().with_s3(s3);
    options.job = job.parse().unwrap();
    options.retry.wait_first = Duration::from_millis(50);
    options.retry.wait_max = Duration::from_millis(200);
    options.retry.attempts_max = 2;
    options
}

fn rest(stack: &Stack) -> RestOptions {
    RestOptions::new(stack.get("ICEBERG_CATALOG_URI"))
}

#[tokio::test]
async fn s3_keeps_the_storage_contract() {
    let Some(stack) = rva_stack::stack() else { return };
    let _turn = stack.shared().await;
    let storage = LakeStorageFactory::with_s3(s3(stack)).storage();
    let root = "s3://warehouse/storage-contract";
    // A name that is encoded as it stands, and a file of several parts.
    let path = format!("{root}/store_id=..%2Fx/big file.bin");
    let part: Vec<u8> = (0..7_000_000u32).map(|i| (i % 251) as u8).collect();
    let mut writer = storage.writer(&path).await.unwrap();
    for _ in 0..3 {
        writer.write(Bytes::from(part.clone())).await.unwrap();
    }
    assert!(!storage.exists(&path).await.unwrap(), "a file appears whole, when it is closed");
    writer.close().await.unwrap();
    assert!(writer.close().await.is_err(), "closing twice is an error");
    assert_eq!(storage.metadata(&path).await.unwrap().size, 21_000_000);
    let reader = storage.reader(&path).await.unwrap();
    assert_eq!(reader.read(6_999_998..7_000_003).await.unwrap()[..], [part[6_999_998], part[6_999_999], 0, 1, 2]);
    let listed: Vec<_> = storage.list(root).await.unwrap().into_iter().map(|f| (f.location, f.size)).collect();
    assert_eq!(listed, [(path.clone(), 21_000_000)]);
    storage.delete(&path).await.unwrap();
    storage.delete(&path).await.unwrap();
    assert!(storage.read(&path).await.is_err());
    let small = format!("{root}/deep/er/small");
    storage.write(&small, Bytes::from_static(b"x")).await.unwrap();
    storage.delete_prefix(&format!("{root}/deep")).await.unwrap();
    assert_eq!(storage.list(root).await.unwrap(), []);
}

#[tokio::test]
async fn an_upload_that_is_given_up_leaves_nothing() {
    let Some(stack) = rva_stack::stack() else { return };
    let _turn = stack.shared().await;
    let storage = LakeStorageFactory::with_s3(s3(stack)).storage();
    let mut writer = storage.writer("s3://warehouse/given-up/file").await.unwrap();
    writer.write(Bytes::from(vec![0; 20_000_000])).await.unwrap();
    drop(writer);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(storage.list("s3://warehouse/given-up").await.unwrap(), []);
}

#[tokio::test]
async fn what_can_not_work_is_refused_at_start_with_its_reason() {
    let Some(stack) = rva_stack::stack() else { return };
    let _turn = stack.shared().await;
    let open = async |rest: RestOptions, options: LakeOptions| {
        let error = Lake::open_rest(&rest, options).await.unwrap_err();
        (error.kind(), error.to_string())
    };
    let (kind, text) = open(RestOptions::new("http://127.0.0.1:1"), options(stack)).await;
    assert_eq!(kind, LakeErrorKind::Transient, "{text}");
    assert!(text.contains("http://127.0.0.1:1"), "{text}");
    // MinIO answers there, and is no catalog.
    let (kind, text) = open(RestOptions::new(stack.get("S3_ENDPOINT")), options(stack)).await;
    assert_eq!(kind, LakeErrorKind::Permanent, "{text}");
    assert!(text.contains(stack.get("S3_ENDPOINT")) && text.contains("wanted"), "{text}");
    for (bucket, keys) in [("warehouse", Some("wrong")), ("no-such-bucket", None)] {
        let mut s3 = s3(stack);
        if let (Some(secret), Some(own)) = (keys, &mut s3.keys) {
            own.secret_key = secret.to_owned();
        }
        let storage = LakeStorageFactory::with_s3(s3).storage();
        let error = storage.write(&format!("s3://{bucket}/x"), Bytes::from_static(b"x")).await.unwrap_err().to_string();
        assert!(error.contains(&format!("s3://{bucket}/x")), "{error}");
        assert!(!error.contains("wrong"), "the key is in the error: {error}");
    }
}

#[tokio::test]
async fn commits_are_there_once_while_catalog_and_store_are_killed() {
    let Some(stack) = rva_stack::stack() else { return };
    let _turn = stack.alone().await;
    commits_are_there_once(stack, "catalog", &rest(stack)).await;
}

#[tokio::test]
async fn commits_are_there_once_while_nessie_and_store_are_killed() {
    let Some(stack) = rva_stack::stack() else { return };
    let _turn = stack.alone().await;
    let environment = stack.optional("nessie");
    let uri = &environment["NESSIE_CATALOG_URI"];
    commits_are_there_once(
        stack,
        "nessie",
        &RestOptions { warehouse: Some("lakehouse".into()), ..RestOptions::new(uri) },
    )
    .await;
}

async fn commits_are_there_once(stack: &Stack, catalog: &str, rest: &RestOptions) {
    let run = unique();
    let options = || options_of(&run, s3(stack));
    let lake = Lake::open_rest(rest, options()).await.unwrap();
    let mut sink = lake.bronze_sink().unwrap();
    assert_eq!(sink.resume_point().await.unwrap(), Default::default(), "a fresh job is at the start");
    let rows = |frames: std::ops::RangeInclusive<i64>| frames.map(|frame| row(&run, frame)).collect::<Vec<_>>();
    let first = batch(at(&[]), at(&[("a", 10)]), rows(1..=10));
    let committed = |rows_appended| CommitOutcome::Committed { rows_appended, rows_known: 0 };
    assert_eq!(sink.commit(&first).await.unwrap(), committed(10));

    // Another sink that still stands at the start is fenced.
    let mut zombie = Lake::open_rest(rest, options()).await.unwrap().bronze_sink().unwrap();
    let CommitOutcome::Fenced(resume) = zombie.commit(&first).await.unwrap() else { panic!("a stale batch got in") };
    assert_eq!(resume.offsets, at(&[("a", 10)]));

    for (n, server) in (1i64..).zip([catalog, "minio", catalog, "minio"]) {
        let (from, to) = (n * 10, n * 10 + 10);
        let offsets = |number: i64| at(&[("a", number as u64)]);
        let next = batch(offsets(from), offsets(to), rows(from + 1..=to));
        stack.kill(server);
        let error = sink.commit(&next).await.unwrap_err();
        assert_eq!(error.kind(), LakeErrorKind::Transient, "{server}: {error}");
        stack.start(server);
        // The same batch again, as the ingest does it.
        let mut outcome = sink.commit(&next).await;
        for _ in 0..50 {
            if outcome.is_ok() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
            outcome = sink.commit(&next).await;
        }
        assert_eq!(outcome.unwrap(), committed(10), "after {server}");
    }
    assert_eq!(frames_of(&lake, &run).await, (1..=50).collect::<Vec<_>>());

    // A store whose name would leave the folder stays in it.
    let evil = batch(at(&[("a", 50)]), at(&[("a", 51)]), vec![row_of("../../x", "cam_01", &run, 51)]);
    assert_eq!(sink.commit(&evil).await.unwrap(), committed(1));
    let again = Lake::open_rest(rest, options()).await.unwrap();
    assert_eq!(frames_of(&again, &run).await.len(), 51);
    let ident = iceberg::TableIdent::from_strs(["rva", "bronze_raw"]).unwrap();
    let table = again.catalog().load_table(&ident).await.unwrap();
    let folder = table.metadata().location();
    let files = LakeStorageFactory::with_s3(s3(stack)).storage().list(folder).await.unwrap();
    assert!(files.iter().any(|file| file.location.contains("store_id=..%2F..%2Fx/")), "{files:?}");
}

#[tokio::test]
async fn a_token_that_nobody_wants_is_no_hindrance() {
    let Some(stack) = rva_stack::stack() else { return };
    let _turn = stack.shared().await;
    let auth = RestAuth::Token("hush".to_owned());
    let rest = RestOptions { auth, ..rest(stack) };
    Lake::open_rest(&rest, options(stack)).await.unwrap();
}
