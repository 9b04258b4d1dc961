//! Bad days of catalog and store: each a clear error, and nothing is lost or there twice.

use crate::common::{at, batch, row};
use crate::{frames_of, options, options_of, rest, s3, unique};
use bytes::Bytes;
use iceberg::io::Storage;
use rva_lake::{
    Batch, BronzeRow, CommitOutcome, Lake, LakeError, LakeErrorKind, RestOptions, TableSink,
    storage::{LakeStorageFactory, S3Keys, S3Options},
};
use rva_stack::proxy::{Proxy, Then};
use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

const COMMITTED: CommitOutcome = CommitOutcome::Committed { rows_appended: 10, rows_known: 0 };

/// The first ten frames of a run.
fn ten(run: &str) -> Batch<BronzeRow> {
    batch(at(&[]), at(&[("a", 10)]), (1..=10).map(|frame| row(run, frame)).collect())
}

fn says(error: &LakeError, kind: LakeErrorKind, parts: &[&str]) {
    let text = error.to_string();
    println!("{text}");
    assert_eq!(error.kind(), kind, "{text}");
    for part in parts {
        assert!(text.contains(part), "wanted {part:?} in {text}");
    }
}

#[tokio::test]
async fn keys_that_may_only_read_are_refused_and_the_batch_waits() {
    let Some(stack) = rva_stack::stack() else { return };
    let _turn = stack.shared().await;
    let answer = stack.ask("read-only-keys");
    let of = |name: &str| {
        let (_, rest) = answer.split_once(&format!("<{name}>")).unwrap();
        rest.split_once('<').unwrap().0.to_owned()
    };
    let keys = S3Keys {
        access_key: of("AccessKeyId"),
        secret_key: of("SecretAccessKey"),
        session_token: Some(of("SessionToken")),
    };
    let run = unique();
    let reading = S3Options { keys: Some(keys.clone()), ..s3(stack) };
    let lake = Lake::open_rest(&rest(stack), options_of(&run, reading)).await.unwrap();
    let error = lake.bronze_sink().unwrap().commit(&ten(&run)).await.unwrap_err();
    says(&error, LakeErrorKind::Permanent, &["s3://warehouse/", "AccessDenied"]);
    assert!(!error.to_string().contains(&keys.secret_key));
    let lake = Lake::open_rest(&rest(stack), options_of(&run, s3(stack))).await.unwrap();
    assert_eq!(lake.bronze_sink().unwrap().commit(&ten(&run)).await.unwrap(), COMMITTED);
    assert_eq!(frames_of(&lake, &run).await, (1..=10).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_bucket_that_is_not_there_is_named() {
    let Some(stack) = rva_stack::stack() else { return };
    let _turn = stack.shared().await;
    let environment = stack.optional("minio-other");
    // The catalog's tables are in a bucket that this store doesn't have.
    let other = S3Options { endpoint: Some(environment["S3_OTHER_ENDPOINT"].clone()), ..s3(stack) };
    let run = unique();
    let lake = Lake::open_rest(&rest(stack), options_of(&run, other)).await.unwrap();
    let error = lake.bronze_sink().unwrap().commit(&ten(&run)).await.unwrap_err();
    says(&error, LakeErrorKind::Permanent, &["s3://warehouse/", "NoSuchBucket"]);
}

#[tokio::test]
async fn a_catalog_that_answers_500_to_everything_is_waited_for() {
    let Some(stack) = rva_stack::stack() else { return };
    let _turn = stack.shared().await;
    let proxy = Proxy::start(stack.get("ICEBERG_CATALOG_URI")).await.unwrap();
    let through = RestOptions::new(&proxy.uri);
    let run = unique();
    let mut options = options_of(&run, s3(stack));
    options.retry.attempts_max = 3;
    proxy.rule(|_| Then::Fail);
    let error = Lake::open_rest(&through, options.clone()).await.unwrap_err();
    says(&error, LakeErrorKind::Transient, &[&proxy.uri, "500"]);
    proxy.rule(|_| Then::Pass);
    let lake = Lake::open_rest(&through, options).await.unwrap();
    let mut sink = lake.bronze_sink().unwrap();
    proxy.rule(|_| Then::Fail);
    says(&sink.commit(&ten(&run)).await.unwrap_err(), LakeErrorKind::Transient, &["500"]);
    // The commit is done, its answer is 500: the table knows.
    let commits = AtomicUsize::new(0);
    proxy.rule(move |line| match line.starts_with("POST") && commits.fetch_add(1, Ordering::SeqCst) == 0 {
        true => Then::DoAndFail,
        false => Then::Pass,
    });
    assert_eq!(sink.commit(&ten(&run)).await.unwrap(), COMMITTED);
    // Only the commits are refused.
    proxy.rule(|line| if line.starts_with("POST") { Then::Fail } else { Then::Pass });
    let next = batch(at(&[("a", 10)]), at(&[("a", 20)]), (11..=20).map(|frame| row(&run, frame)).collect());
    says(&sink.commit(&next).await.unwrap_err(), LakeErrorKind::Transient, &["commit"]);
    proxy.rule(|_| Then::Pass);
    assert_eq!(sink.commit(&next).await.unwrap(), COMMITTED);
    assert_eq!(frames_of(&lake, &run).await, (1..=20).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_upload_whose_part_is_refused_leaves_no_parts() {
    let Some(stack) = rva_stack::stack() else { return };
    let _turn = stack.shared().await;
    let proxy = Proxy::start(stack.get("S3_ENDPOINT")).await.unwrap();
    let s3 = S3Options { endpoint: Some(proxy.uri.clone()), retries_max: 0, ..s3(stack) };
    let storage = LakeStorageFactory::with_s3(s3).storage();
    let name = unique();
    let path = format!("s3://warehouse/{name}/file");
    let mut writer = storage.writer(&path).await.unwrap();
    proxy.rule(|line| if line.contains("partNumber=2") { Then::Fail } else { Then::Pass });
    let mut result = writer.write(Bytes::from(vec![1; 9 << 20])).await;
    // The upload has begun: the check below can fail.
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(stack.ask("uploads").contains(&name), "no upload in parts was begun");
    for _ in 0..4 {
        if result.is_ok() {
            result = writer.write(Bytes::from(vec![1; 9 << 20])).await;
        }
    }
    if result.is_ok() {
        result = writer.close().await;
    }
    let error = result.unwrap_err().to_string();
    assert!(error.contains(&path), "{error}");
    drop(writer);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!stack.ask("uploads").contains(&name), "parts are left: {}", stack.ask("uploads"));
    assert!(!storage.exists(&path).await.unwrap());
}

/// An HTTPS server whose certificate nobody known has signed.
struct Unknown(Child, PathBuf);

impl Unknown {
    fn start(folder: &Path, port: u16) -> Self {
        let (key, certificate) = (folder.join("key.pem"), folder.join("certificate.pem"));
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"])
            .args(["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE"])
            .arg("-keyout")
            .arg(&key)
            .arg("-out")
            .arg(&certificate)
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        let mut command = Command::new("openssl");
        command.args(["s_server", "-quiet", "-www", "-accept", &format!("127.0.0.1:{port}")]);
        command.arg("-key").arg(&key).arg("-cert").arg(&certificate);
        let server = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        Self(server, certificate)
    }
}

impl Drop for Unknown {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[tokio::test]
async fn a_certificate_of_an_unknown_authority_is_refused_with_the_key_that_helps() {
    let Some(stack) = rva_stack::stack() else { return };
    let _turn = stack.shared().await;
    let folder = tempfile::tempdir().unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let server = Unknown::start(folder.path(), port);
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        std::thread::sleep(Duration::from_millis(50));
    }
    let uri = format!("https://127.0.0.1:{port}");
    let error = Lake::open_rest(&RestOptions::new(&uri), options(stack)).await.unwrap_err();
    says(&error, LakeErrorKind::Permanent, &[&uri, "authority", "iceberg.ca_file"]);
    let run = unique();
    let strange = S3Options { endpoint: Some(uri.clone()), ..s3(stack) };
    let lake = Lake::open_rest(&rest(stack), options_of(&run, strange.clone())).await.unwrap();
    let error = lake.bronze_sink().unwrap().commit(&ten(&run)).await.unwrap_err();
    says(&error, LakeErrorKind::Permanent, &["s3://warehouse/", "authority", "s3.ca_file"]);
    // With its certificate trusted it is no longer the certificate.
    let trusted = RestOptions { ca_certificates: Some(server.1.clone()), ..RestOptions::new(&uri) };
    let text = Lake::open_rest(&trusted, options(stack)).await.unwrap_err().to_string();
    assert!(!text.contains("authority"), "{text}");
    let trusted = S3Options { ca_certificates: Some(std::fs::read(&server.1).unwrap()), ..strange };
    let storage = LakeStorageFactory::with_s3(trusted).storage();
    let error = format!("{:?}", storage.read("s3://warehouse/x").await);
    assert!(!error.contains("UnknownIssuer") && !error.contains("peer certificate"), "{error}");
}
