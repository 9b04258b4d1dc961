//! A real Prometheus and Alertmanager watch a real ingest, with the project's own rules: it ends, and a webhook is told; it
//! is back, and the webhook is told again. What the dashboard Operations asks is answered meanwhile.

use crate::world::{PATIENCE, World};
use rva_stack::Stack;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    sync::mpsc,
    time::{Duration, Instant},
};

/// Who is told: a server of one page, which keeps what is posted to it.
struct Webhook {
    address: String,
    told: mpsc::Receiver<Value>,
}

/// Reads one request and answers it; its body.
fn answer(mut stream: TcpStream) -> Option<Value> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let line = line.trim_end().to_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").ok()?;
    serde_json::from_slice(&body).ok()
}

impl Webhook {
    fn listen() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (send, told) = mpsc::channel();
        std::thread::spawn(move || {
            for body in listener.incoming().flatten().filter_map(answer) {
                if send.send(body).is_err() {
                    return;
                }
            }
        });
        Self { address, told }
    }

    /// Waits for a notification of that status in which this ingest is down.
    async fn wait(&self, status: &str, instance: &str) {
        let end = Instant::now() + PATIENCE + Duration::from_secs(120); // the rule waits for two minutes
        let is_it = |alert: &Value| {
            let labels = &alert["labels"];
            let wanted = [("alertname", "ServiceDown"), ("job", "rva-ingest"), ("instance", instance)];
            alert["status"] == *status && wanted.iter().all(|(name, value)| labels[*name] == **value)
        };
        let mut seen = Vec::new();
        while Instant::now() < end {
            while let Ok(told) = self.told.try_recv() {
                if told["alerts"].as_array().unwrap().iter().any(is_it) {
                    return;
                }
                seen.push(told);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("nobody was told that it is {status}, but {seen:?}");
    }
}

/// Prometheus and Alertmanager on one ingest; stopped when dropped.
struct Watch<'a> {
    stack: &'a Stack,
    environment: BTreeMap<String, String>,
}

impl<'a> Watch<'a> {
    fn start(stack: &'a Stack, ingest: &str, webhook: &Webhook) -> Self {
        let mut watch = Self { stack, environment: BTreeMap::new() };
        watch.stop();
        // Only how often is another than in the project's file.
        watch.write("prometheus/own.env", "interval=1s\n");
        watch.write("prometheus/targets/ingest.json", &json!([{ "targets": [ingest] }]).to_string());
        watch.write("alertmanager/webhook-url", &format!("http://{}/told?by='it'\n", webhook.address));
        watch.environment = stack.optional("prometheus");
        watch
    }

    fn path(&self, name: &str) -> PathBuf {
        self.stack.folder().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), text).unwrap();
    }

    /// Leaves nothing to who starts them next on this stack.
    fn stop(&self) {
        for server in ["prometheus", "alertmanager"] {
            rva_stack::command(self.stack.folder(), &["kill", server]);
            let _ = fs::remove_dir_all(self.path(server));
        }
    }

    /// The series that a query gives now.
    async fn ask(&self, query: &str) -> Vec<Value> {
        let url = format!("{}/api/v1/query", self.environment["PROMETHEUS_URL"]);
        let request = reqwest::Client::new().get(url).query(&[("query", query)]);
        let answer: Value = request.send().await.unwrap().json().await.unwrap();
        assert_eq!(answer["status"], "success", "{query}: {answer}");
        answer["data"]["result"].as_array().unwrap().clone()
    }

    async fn wait_for(&self, query: &str) {
        let end = Instant::now() + PATIENCE;
        while self.ask(query).await.is_empty() {
            assert!(Instant::now() < end, "found nothing for {query}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What the dashboard asks, its variables replaced as Grafana does it.
fn queries_of_operations() -> Vec<String> {
    let path = rva_stack::root().join("infrastructure/grafana/dashboards/rva_operations.json");
    let board: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let targets = list(&board["panels"]).into_iter().flat_map(|panel| list(&panel["targets"]));
    let queries = targets.map(|target| target["expr"].as_str().unwrap().to_owned());
    queries.map(|query| query.replace("$camera", ".*").replace("$__rate_interval", "1m")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_is_told_that_the_ingest_is_down_and_that_it_is_back() {
    let Some(stack) = rva_stack::stack() else { return };
    let turn = stack.shared().await;
    let mut world = World::new(stack);
    world.run(&["--init"]);
    world.send(&["cam_1"], 1..=50).await;
    let mut ingest = world.start(&[]);
    let address = ingest.health();
    let webhook = Webhook::listen();
    let watch = Watch::start(stack, &address, &webhook);
    watch.wait_for("rva_ingest_rows_total >= 50").await;
    // A rate wants two looks.
    watch.wait_for("rate(rva_ingest_rows_total[1m])").await;

    let queries = queries_of_operations();
    assert!(queries.len() > 40, "{}", queries.len());
    for query in queries {
        let found = watch.ask(&query).await;
        // Of what has never happened there is no series by its reason; of other services there is none here.
        let is_sure = (query.contains("rva_ingest_") || query.contains("vector(0)"))
            && !["by (reason)", "by (at)"].iter().any(|by| query.contains(by));
        assert!(!is_sure || !found.is_empty(), "found nothing for {query}");
    }
    let dark = watch.ask(r#"count(up{job=~"rva-.+"} == 0) or vector(0)"#).await;
    assert_eq!(dark[0]["value"][1], "0", "{dark:?}");

    assert_eq!(ingest.terminate().1, Some(0));
    // Nothing of the servers is wanted for two minutes: who kills them needn't wait.
    drop(turn);
    webhook.wait("firing", &address).await;

    let _turn = stack.shared().await;
    world.set("RVA_HEALTH_ADDRESS", &address);
    let mut ingest = world.start(&[]);
    assert_eq!(ingest.health(), address);
    webhook.wait("resolved", &address).await;
    assert_eq!(ingest.terminate().1, Some(0));
}
