//! A catalog that isn't to be trusted: it names files of this machine that are none of its business.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use common::{at, batch, quick, row};
use iceberg::spec::{NestedField, PrimitiveType, Schema, TableMetadata, TableMetadataBuilder, Type};
use iceberg::{TableCreation, TableUpdate};
use rva_lake::storage::{AllowedLocations, S3Options};
use rva_lake::{Lake, LakeErrorKind, LakeOptions, RestOptions, TableSink};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What the catalog says of a table, changed on its way out.
type Lie = dyn Fn(&mut Value, usize) + Send + Sync;

struct Server {
    tables: Mutex<BTreeMap<String, (TableMetadata, u32)>>,
    answers: Mutex<usize>,
    lie: Box<Lie>,
}

fn metadata(name: &str, location: &str) -> TableMetadata {
    let (text, long) = (Type::Primitive(PrimitiveType::String), Type::Primitive(PrimitiveType::Long));
    let time = Type::Primitive(PrimitiveType::Timestamptz);
    let columns: Vec<(&str, Type)> = match name {
        "bronze_raw" => vec![
            ("schema_version", text.clone()),
            ("pipeline_run_id", text.clone()),
            ("frame_index", long),
            ("payload", text.clone()),
            ("camera_id", text.clone()),
            ("store_id", text),
            ("ingest_ts", time),
        ],
        _ => vec![("topic", text)],
    };
    let fields = (1..).zip(columns).map(|(id, (name, kind))| Arc::new(NestedField::optional(id, name, kind)));
    let schema = Schema::builder().with_fields(fields).build().unwrap();
    let creation = TableCreation::builder().name(name.to_owned()).location(location.to_owned()).schema(schema).build();
    TableMetadataBuilder::from_table_creation(creation).unwrap().build().unwrap().metadata
}

impl Server {
    async fn start(location: &str, lie: Box<Lie>) -> String {
        let tables = ["bronze_raw", "bronze_dead_letters"]
            .map(|name| (name.to_owned(), (metadata(name, &format!("{location}/{name}")), 0)));
        let server = Arc::new(Self { tables: Mutex::new(tables.into()), answers: Mutex::new(0), lie });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(Arc::clone(&server).serve(stream));
            }
        });
        uri
    }

    async fn serve(self: Arc<Self>, mut stream: TcpStream) {
        let mut read = Vec::new();
        loop {
            let head = loop {
                if let Some(at) = read.windows(4).position(|window| window == b"\r\n\r\n") {
                    break at;
                }
                let mut bytes = [0; 4096];
                match stream.read(&mut bytes).await {
                    Ok(0) | Err(_) => return,
                    Ok(count) => read.extend_from_slice(&bytes[..count]),
                }
            };
            let text = String::from_utf8_lossy(&read[..head]).to_ascii_lowercase();
            let length = text.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
            let length: usize = length.unwrap_or(0);
            let line = String::from_utf8_lossy(&read[..head]).lines().next().unwrap().to_owned();
            while read.len() < head + 4 + length {
                let mut bytes = [0; 65536];
                let count = stream.read(&mut bytes).await.unwrap();
                read.extend_from_slice(&bytes[..count]);
            }
            let body: Vec<u8> = read[head + 4..head + 4 + length].to_vec();
            read.drain(..head + 4 + length);
            let (status, body) = self.answer(&line, &body);
            let body = if line.starts_with("HEAD") { String::new() } else { body.to_string() };
            let head = format!(
                "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            );
            stream.write_all(head.as_bytes()).await.unwrap();
        }
    }

    fn answer(&self, line: &str, body: &[u8]) -> (&'static str, Value) {
        let mut words = line.split(' ');
        let (method, path) = (words.next().unwrap(), words.next().unwrap());
        let path = path.split('?').next().unwrap().trim_start_matches("/v1/");
        let parts: Vec<&str> = path.split('/').collect();
        match (method, parts.as_slice()) {
            (_, ["config"]) => ("200 OK", json!({"defaults": {}, "overrides": {}})),
            (_, ["namespaces"]) => ("200 OK", json!({"namespaces": [["rva"]]})),
            (_, ["namespaces", "rva"]) => ("200 OK", json!({"namespace": ["rva"], "properties": {}})),
            (_, ["namespaces", "rva", "tables"]) => (
                "200 OK",
                json!({"identifiers": [
                    {"namespace": ["rva"], "name": "bronze_raw"}, {"namespace": ["rva"], "name": "bronze_dead_letters"}
                ]}),
            ),
            ("POST", ["namespaces", "rva", "tables", name]) => self.commit(name, body),
            (_, ["namespaces", "rva", "tables", name]) => self.table(name),
            _ => ("404 Not Found", json!({"error": {"message": "no", "type": "NoSuchTableException", "code": 404}})),
        }
    }

    fn commit(&self, name: &str, body: &[u8]) -> (&'static str, Value) {
        let asked: Value = serde_json::from_slice(body).unwrap();
        let updates: Vec<TableUpdate> = serde_json::from_value(asked["updates"].clone()).unwrap();
        {
            let mut tables = self.tables.lock().unwrap();
            let (metadata, version) = tables.get_mut(name).unwrap();
            let old = format!("{}/metadata/{version:05}-{}.metadata.json", metadata.location(), uuid::Uuid::nil());
            let mut builder = metadata.clone().into_builder(Some(old));
            for update in updates {
                builder = update.apply(builder).unwrap();
            }
            *metadata = builder.build().unwrap().metadata;
            *version += 1;
        }
        self.table(name)
    }

    fn table(&self, name: &str) -> (&'static str, Value) {
        let tables = self.tables.lock().unwrap();
        let Some((metadata, version)) = tables.get(name) else { return ("404 Not Found", json!({})) };
        let location = format!("{}/metadata/{version:05}-{}.metadata.json", metadata.location(), uuid::Uuid::nil());
        let mut told = serde_json::to_value(metadata).unwrap();
        let mut answers = self.answers.lock().unwrap();
        *answers += 1;
        (self.lie)(&mut told, *answers);
        ("200 OK", json!({"metadata-location": location, "metadata": told, "config": {}}))
    }
}

/// Sixty files of names that tempt a housekeeper.
fn victims(folder: &Path) -> Vec<PathBuf> {
    std::fs::create_dir_all(folder.join("metadata")).unwrap();
    let endings = ["metadata.json", "avro", "parquet"];
    let paths = (0..60).map(|number| folder.join(format!("metadata/{number:05}-x.{}", endings[number % 3])));
    let paths: Vec<_> = paths.collect();
    for path in &paths {
        std::fs::write(path, format!("mine {}", path.display())).unwrap();
    }
    paths
}

fn untouched(paths: &[PathBuf]) -> usize {
    paths.iter().filter(|path| std::fs::read_to_string(path).is_ok_and(|text| text.starts_with("mine "))).count()
}

fn all_files(folder: &Path) -> usize {
    std::fs::read_dir(folder)
        .unwrap()
        .flatten()
        .map(|entry| entry.path())
        .fold(0, |sum, path| sum + if path.is_dir() { all_files(&path) } else { 1 })
}

fn greedy(allowed: AllowedLocations) -> LakeOptions {
    let mut options = quick().with_s3_in(S3Options::default(), allowed);
    options.housekeeping.orphan_age = Duration::ZERO;
    options.housekeeping.walk_every = Duration::ZERO;
    options.housekeeping.snapshots_kept = 1;
    options.housekeeping.snapshots_slack = 0;
    options
}

#[tokio::test]
async fn a_table_outside_the_object_store_is_neither_read_nor_written() {
    let dir = tempfile::tempdir().unwrap();
    let files = victims(dir.path());
    let place = dir.path().display().to_string();
    for location in [format!("file://{place}"), place.clone(), format!("file:{place}/../x")] {
        let uri = Server::start(&location, Box::new(|_, _| {})).await;
        let error = Lake::open_rest(&RestOptions::new(uri), greedy(AllowedLocations::object_stores())).await;
        let error = error.unwrap_err();
        assert_eq!(error.kind(), LakeErrorKind::Permanent, "{error}");
        assert!(error.to_string().contains("iceberg.locations"), "{error}");
    }
    assert_eq!((untouched(&files), all_files(dir.path())), (60, 60));
}

#[tokio::test]
async fn a_table_in_an_allowed_place_gets_at_nothing_outside_of_itself() {
    let (warehouse, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let files = victims(dir.path());
    let allowed = || AllowedLocations::only([format!("file://{}", warehouse.path().display())]).unwrap();
    let names: Vec<String> = files.iter().map(|path| format!("file://{}", path.display())).collect();

    // Where data is to be written.
    let data = format!("file://{}/metadata", dir.path().display());
    let lie = move |table: &mut Value, _| table["properties"]["write.data.path"] = json!(data);
    let uri = Server::start(&format!("file://{}", warehouse.path().display()), Box::new(lie)).await;
    let lake = Lake::open_rest_read_only(&RestOptions::new(uri), greedy(allowed())).await.unwrap();
    let commit = batch(at(&[]), at(&[("a", 1)]), vec![row("run", 1)]);
    let error = lake.bronze_sink().unwrap().commit(&commit).await.unwrap_err();
    assert_eq!(error.kind(), LakeErrorKind::Permanent, "{error}");
    assert!(
        error.to_string().contains("write.data.path") && error.to_string().contains("nothing was written"),
        "{error}"
    );

    // What was in the log of metadata files, and is no more; manifest lists of snapshots that expire.
    let lie = move |table: &mut Value, answer: usize| {
        if answer % 4 < 2 {
            let entry = |name: &String| json!({"timestamp-ms": table["last-updated-ms"], "metadata-file": name});
            table["metadata-log"] = names.iter().map(entry).collect();
        }
        let current = table["current-snapshot-id"].clone();
        for snapshot in table["snapshots"].as_array_mut().into_iter().flatten() {
            if snapshot["snapshot-id"] != current {
                snapshot["manifest-list"] = json!(names[1]);
            }
        }
    };
    let uri = Server::start(&format!("file://{}", warehouse.path().display()), Box::new(lie)).await;
    let lake = Lake::open_rest_read_only(&RestOptions::new(uri), greedy(allowed())).await.unwrap();
    let mut sink = lake.bronze_sink().unwrap();
    let mut from = at(&[]);
    for number in 1..=12 {
        let to = at(&[("a", number)]);
        sink.commit(&batch(from, to.clone(), vec![row("run", i64::try_from(number).unwrap())])).await.unwrap();
        from = to;
    }
    assert!(all_files(warehouse.path()) > 12, "it was written to");
    assert_eq!((untouched(&files), all_files(dir.path())), (60, 60));
}
