//! The service's secrets through the errors of servers that repeat what they were sent, with everything logged: none is
//! in what it says, answers, writes or shows in the process list.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use iceberg::spec::{Schema, TableMetadataBuilder, UnboundPartitionSpec};
use iceberg::{TableCreation, TableRequirement, TableUpdate};
use rva_bus::{EventSink, LogOptions, LogWriter};
use rva_testkit::bus::contract::message;
use rva_testkit::program::{Service, files};
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::Command,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

/// Stands in every secret, and in nothing else.
const MARK: &str = "Zq7xW9kV3Bt";

/// Long enough for a try, its answer and a second one.
const LOOKED: Duration = Duration::from_secs(8);

/// The longest that is waited until the secrets have reached the server, on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a server does with a request that it was sent.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Manner {
    /// Answers with this status, and repeats the request in the words of a catalog, a store or a broker.
    Refuses(u16),
    /// Answers with 200 and what isn't JSON: the request.
    Repeats,
    /// Is a catalog, with a store that refuses: tokens and keys that it gives out are secrets too.
    IsCatalog,
}

/// A server, and the secrets that reached it: the test means nothing where none did.
struct Server {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
}

#[derive(Default)]
struct Tables(HashMap<String, Value>);

impl Server {
    fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (noted, tables) = (Arc::clone(&seen), Arc::new(Mutex::new(Tables::default())));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (noted, tables) = (Arc::clone(&noted), Arc::clone(&tables));
                std::thread::spawn(move || serve(stream, manner, &noted, &tables));
            }
        });
        Self { address, seen }
    }

    fn saw(&self, what: &str) -> bool {
        self.seen.lock().unwrap().iter().any(|line| line.contains(what))
    }
}

/// Reads a request: its head and its body; `None` at the end of the connection.
fn request(stream: &mut TcpStream) -> Option<(String, String)> {
    let (mut bytes, mut one) = (Vec::new(), [0; 1]);
    while !bytes.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut one).ok()?;
        bytes.push(one[0]);
    }
    let head = String::from_utf8_lossy(&bytes).into_owned();
    let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).ok()?;
    Some((head, String::from_utf8_lossy(&body).into_owned()))
}

fn serve(mut stream: TcpStream, manner: Manner, seen: &Mutex<Vec<String>>, tables: &Mutex<Tables>) {
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    while let Some((head, body)) = request(&mut stream) {
        let said = format!("{head} {body}").replace(['\r', '\n'], " ");
        if said.contains(MARK) {
            seen.lock().unwrap().push(said.clone());
        }
        let (status, text) = match manner {
            Manner::Refuses(status) => (status, refusal(&head, status, &said)),
            Manner::Repeats => (200, said),
            Manner::IsCatalog => {
                tables.lock().unwrap().answer(&head, &body).unwrap_or_else(|| (403, refusal(&head, 403, &said)))
            }
        };
        let sent = head.lines().find_map(|line| line.split_once("uthorization: ")).map_or("", |(_, sent)| sent);
        let length = text.len();
        let answer = format!("HTTP/1.1 {status} No\r\nx-said: {sent}\r\nContent-Length: {length}\r\n\r\n{text}");
        if stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

fn refusal(head: &str, status: u16, said: &str) -> String {
    match head.contains(" /v1/") || head.contains(" /admin/") {
        true => json!({"error": {"message": said, "type": "No", "code": status}, "reason": said}).to_string(),
        false => format!("<Error><Code>AccessDenied</Code><Message>{said}</Message></Error>"),
    }
}

impl Tables {
    /// Answers as a catalog does; `None` for what is asked of the store.
    fn answer(&mut self, head: &str, body: &str) -> Option<(u16, String)> {
        let mut words = head.split_whitespace();
        let (method, path) = (words.next()?, words.next()?.split('?').next()?);
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        let found = match (method, parts.as_slice()) {
            (_, ["v1", "config"]) => json!({"defaults": {}, "overrides": {}}),
            (_, ["v1", "oauth", "tokens"]) => {
                json!({"access_token": format!("given/{MARK}+"), "token_type": "bearer", "expires_in": 3600})
            }
            ("GET", ["v1", "namespaces"]) => json!({"namespaces": [["rva"]]}),
            (_, ["v1", "namespaces", .., "rva"]) => json!({"namespace": ["rva"], "properties": {}}),
            ("GET" | "HEAD", ["v1", .., "tables", name]) => match self.0.get(*name) {
                Some(table) => table.clone(),
                None => {
                    let error = json!({"error": {"message": "no", "type": "NoSuchTableException", "code": 404}});
                    return Some((404, error.to_string()));
                }
            },
            ("POST", ["v1", .., "tables"]) => {
                let (name, table) = made(&serde_json::from_str(body).ok()?);
                self.0.entry(name).or_insert(table).clone()
            }
            ("POST", ["v1", .., "tables", name]) => {
                let table = self.0.get_mut(*name)?;
                *table = changed(table.clone(), &serde_json::from_str(body).ok()?);
                table.clone()
            }
            (_, ["v1", ..]) => json!({}),
            _ => return None,
        };
        Some((200, found.to_string()))
    }
}

/// Makes the table that was asked for, with keys of its own for the store.
fn made(asked: &Value) -> (String, Value) {
    let name = asked["name"].as_str().unwrap().to_owned();
    let schema: Schema = serde_json::from_value(asked["schema"].clone()).unwrap();
    let spec: Option<UnboundPartitionSpec> = serde_json::from_value(asked["partition-spec"].clone()).unwrap();
    let properties: HashMap<String, String> = serde_json::from_value(asked["properties"].clone()).unwrap_or_default();
    let creation = TableCreation::builder()
        .name(name.clone())
        .location(format!("s3://warehouse/rva/{name}"))
        .schema(schema)
        .properties(properties)
        .partition_spec_opt(spec)
        .build();
    let metadata = TableMetadataBuilder::from_table_creation(creation).unwrap().build().unwrap().metadata;
    let keys = json!({
        "s3.access-key-id": format!("vended-{MARK}"),
        "s3.secret-access-key": format!("vended/{MARK}+"),
        "s3.session-token": format!("{MARK}/session=="),
    });
    let place = format!("s3://warehouse/rva/{name}/metadata/00000-{}.metadata.json", metadata.uuid());
    (name, json!({"metadata-location": place, "metadata": metadata, "config": keys}))
}

fn changed(mut table: Value, asked: &Value) -> Value {
    let _: Vec<TableRequirement> = serde_json::from_value(asked["requirements"].clone()).unwrap();
    let updates: Vec<TableUpdate> = serde_json::from_value(asked["updates"].clone()).unwrap();
    let metadata: iceberg::spec::TableMetadata = serde_json::from_value(table["metadata"].clone()).unwrap();
    let mut builder = metadata.into_builder(None);
    for update in updates {
        builder = update.apply(builder).unwrap();
    }
    table["metadata"] = serde_json::to_value(builder.build().unwrap().metadata).unwrap();
    table
}

/// Fails where a secret is in a text, with the line that holds it.
#[track_caller]
fn holds_no_secret(what: &str, text: &str) {
    let line = text.lines().find(|line| line.contains(MARK));
    assert!(line.is_none(), "{what}: {}", line.unwrap_or_default());
}

/// Runs the service beside a server of a manner until it said something wrong, and looks everywhere.
async fn looks_for_secrets(manner: Manner, bus: &str, auth: (&str, &str), reaches: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let mut log = LogWriter::open(folder.path().join("data/log"), LogOptions::default()).unwrap();
    for frame in 1..=3 {
        let record = format!(
            r#"{{"schema_version":"1.0","pipeline_run_id":"r","frame_index":{frame},"source":{{"store_id":"s","camera_id":"c"}}}}"#
        );
        log.send(message("c", record)).await.unwrap();
    }
    log.flush().await.unwrap();
    drop(log);
    let server = Server::start(manner);
    let url = format!("http://{}", server.address);
    let mut environment = vec![
        ("RVA_BUS_KIND", bus.to_owned()),
        ("RVA_CATALOG_KIND", "rest".to_owned()),
        ("RVA_INGEST_COMMIT_INTERVAL", "100ms".to_owned()),
        ("RVA_S3_RETRIES", "0".to_owned()),
        ("PULSAR_ADMIN_URL", url.clone()),
        ("PULSAR_SERVICE_URL", format!("pulsar://{}", server.address)),
        ("PULSAR_TOKEN", format!("pulsar.{MARK}.x")),
        ("S3_ENDPOINT", url.clone()),
        ("ICEBERG_CATALOG_URI", url),
        (auth.0, auth.1.replace("MARK", MARK)),
    ];
    // Keys of one's own go before those that a catalog gives out.
    if !reaches.contains(&"vended-") {
        environment.push(("S3_ACCESS_KEY", format!("access-{MARK}")));
        environment.push(("S3_SECRET_KEY", format!("s3/{MARK}+")));
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_rva-ingest"));
    command.args(["--data-dir", "data", "--health-address", "127.0.0.1:0"]).envs(environment);
    let ours = ["RVA_", "PULSAR_", "S3_", "ICEBERG_", "MINIO_"];
    let mut service = Service::start(folder.path(), command, &ours);
    let started = Instant::now();
    let case = format!("{manner:?}, {bus}, {auth:?}");
    let went_wrong = |said: &str| said.contains(" WARN ") || said.contains(" ERROR ");
    let is_over = |time: Duration, said: &str| {
        let all_is_there = went_wrong(said) && reaches.iter().all(|what| server.saw(what));
        time > LOOKED && (time > PATIENCE || all_is_there)
    };
    while !is_over(started.elapsed(), &service.said()) && service.child.try_wait().unwrap().is_none() {
        for path in ["/ready", "/metrics"] {
            holds_no_secret(&format!("{case}: {path}"), &service.get(path).unwrap_or_default());
        }
        let process = fs::read(format!("/proc/{}/cmdline", service.child.id())).unwrap_or_default();
        holds_no_secret(&format!("{case}: the process list"), &String::from_utf8_lossy(&process));
        std::thread::sleep(Duration::from_millis(200));
    }
    let said = service.said();
    drop(service);
    for what in reaches {
        assert!(server.saw(what), "{case}: no {what:?} reached the server:\n{said}");
    }
    assert!(went_wrong(&said), "{case}: nothing went wrong:\n{said}");
    for path in files(folder.path()) {
        let text = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
        holds_no_secret(&format!("{case}: {}", path.display()), &text);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn no_secret_is_in_what_the_service_says_of_servers_that_repeat_it() {
    let token = ("ICEBERG_TOKEN", "bearer/MARK+");
    let credential = ("ICEBERG_CREDENTIAL", "id:client/MARK+");
    let manners = [401, 403, 404, 409, 500, 503].map(Manner::Refuses).into_iter().chain([Manner::Repeats]);
    let mut all = Vec::new();
    for manner in manners {
        all.push(tokio::spawn(looks_for_secrets(manner, "log", token, &["bearer/"])));
        all.push(tokio::spawn(looks_for_secrets(manner, "log", credential, &["client"])));
        all.push(tokio::spawn(looks_for_secrets(manner, "pulsar", token, &["pulsar."])));
    }
    // What the catalog gives out reaches the store, and the store's refusal the service.
    all.push(tokio::spawn(looks_for_secrets(Manner::IsCatalog, "log", token, &["bearer/", "access-"])));
    all.push(tokio::spawn(looks_for_secrets(Manner::IsCatalog, "log", credential, &["client", "given/", "vended-"])));
    for one in all {
        one.await.unwrap();
    }
}
