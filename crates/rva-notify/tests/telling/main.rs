//! Alerts told for real: tables in a folder, a webhook that refuses, and a broker of MQTT that goes and comes back.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod broker;
mod hook;

use broker::{Broker, Retained};
use hook::Hook;
use rva_lake::{Cell, Lake, LakeOptions, PeoplePerMinute, REFINE_JOB, Shape, ZoneMinute};
use rva_notify::Notifying;
use rva_service::{Health, Layers, load, tables::TableSettings};
use rva_testkit::lake::put_rows;
use rva_types::Timestamp;
use serde_json::Value;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

const MINUTE_US: i64 = 60_000_000;

/// Signs notifications; base64 of 24 bytes.
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// The start of the minute that is so many before this one.
fn minute(before: i64) -> i64 {
    let now = Timestamp::from(SystemTime::now()).as_micros();
    now / MINUTE_US * MINUTE_US - before * MINUTE_US
}

fn text(text: &str) -> Cell {
    Cell::Text(text.into())
}

/// A data folder, and the start of the minute that its rows are told by.
struct Shop {
    folder: tempfile::TempDir,
    lake: Lake,
    /// This minute, when the test began.
    now_us: i64,
}

impl Shop {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("rva-data");
        let lake = Lake::open_embedded(&data, LakeOptions::default()).await.unwrap().for_job(REFINE_JOB);
        Self { folder, lake, now_us: minute(0) }
    }

    fn row(&self, before: i64, people: f64, zone: Option<&str>) -> Vec<Cell> {
        let at = Cell::Time(self.now_us - before * MINUTE_US);
        let (most, average) = (Cell::Int(people.ceil() as i32), Cell::Double(people));
        let long = |number| Cell::Long(number);
        match zone {
            None => vec![text("store_01"), text("till"), at, long(1), long(1), long(600), most, average],
            Some(zone) => {
                let more = [long(0), long(0), Cell::Double(0.0)];
                let key = [text("store_01"), text("till"), text(zone), at, long(600), most, average];
                [&key[..], &more[..]].concat()
            }
        }
    }

    /// Writes minutes of the whole picture.
    async fn people(&self, minutes: &[(i64, f64)]) {
        let rows = minutes.iter().map(|(before, people)| self.row(*before, *people, None)).collect();
        put_rows::<PeoplePerMinute>(&self.lake, rows).await;
    }

    fn start(&self, file: &str, health: &Health) -> Notifying {
        let file = format!("data_dir: {}\n{file}", self.folder.path().join("rva-data").display());
        let loaded = load(&Layers { file: Some(("rva.yaml".into(), file)), ..Layers::default() }).unwrap();
        Notifying::start(&TableSettings::of(&loaded).unwrap(), &loaded.config, health).unwrap().unwrap()
    }

    fn state(&self) -> Value {
        serde_json::from_slice(&std::fs::read(self.folder.path().join("rva-data/alerts.json")).unwrap()).unwrap()
    }
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(60), "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn metrics(health: &Health) -> String {
    let server = health.listen(Some("127.0.0.1:0".parse().unwrap())).await.unwrap().unwrap();
    let url = format!("http://{}/metrics", server.address());
    reqwest::get(url).await.unwrap().text().await.unwrap()
}

fn statuses(hook: &Hook) -> Vec<String> {
    hook.posted().iter().map(|post| post.json["data"]["status"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_is_posted_until_it_is_taken_and_no_restart_tells_it_again() {
    let shop = Shop::new().await;
    let mut rows = Vec::new();
    for (before, people) in [(9, 2.0), (8, 6.0), (7, 7.5)] {
        rows.push(shop.row(before, people, Some("till")));
        rows.push(shop.row(before, 99.0, Some("shelf")));
    }
    put_rows::<ZoneMinute>(&shop.lake, rows).await;
    let hook = Hook::start(&[503, 500]);
    let file = |url: &str| {
        format!(
            "alerts: [{{ name: queue, zone: till, above: 5, for: 2m }}]\nnotify: {{ webhook: \"{url}\", webhook_secret: {SECRET} }}\n"
        )
    };
    let health = Health::new();
    // Nobody listens there: what is to be told waits, over a restart too.
    let notifying = shop.start(&file("http://127.0.0.1:9/"), &health);
    until("it waits", || shop.state()["waiting"].as_array().is_some_and(|waiting| waiting.len() == 1)).await;
    notifying.stop().await;
    let notifying = shop.start(&file(&hook.url()), &health);
    until("the third time it is taken", || hook.posted().len() == 3).await;
    until("it waits no more", || shop.state()["waiting"] == Value::Array(Vec::new())).await;
    notifying.stop().await;
    let posted = hook.posted();
    for post in &posted {
        let verifier = standardwebhooks::Webhook::new(SECRET).unwrap();
        verifier.verify(&post.body, &post.headers).unwrap();
        let mut broken = post.body.clone();
        broken[10] ^= 1;
        assert!(verifier.verify(&broken, &post.headers).is_err());
        assert_eq!(post.json, posted[0].json, "the same each time, with its id");
        assert_eq!(post.headers["webhook-id"], post.json["id"].as_str().unwrap());
    }
    let data = &posted[0].json["data"];
    let found = ["alert", "status", "store", "camera", "zone"].map(|key| data[key].as_str().unwrap_or_default());
    assert_eq!(found, ["queue", "firing", "store_01", "till", "till"]);
    assert_eq!((data["people"].as_f64(), data["above"].as_f64()), (Some(7.5), Some(5.0)));
    assert_eq!(data["since"], Timestamp::from_micros(shop.now_us - 8 * MINUTE_US).to_string());

    // A restart on the same state: nothing is told twice. The queue goes, and that is told once.
    let notifying = shop.start(&file(&hook.url()), &health);
    tokio::time::sleep(Duration::from_millis(500)).await;
    notifying.stop().await;
    assert_eq!(hook.posted().len(), 3);
    put_rows::<ZoneMinute>(&shop.lake, vec![shop.row(4, 5.0, Some("till")), shop.row(3, 1.0, Some("till"))]).await;
    let notifying = shop.start(&file(&hook.url()), &health);
    until("its end is told", || hook.posted().len() == 4).await;
    notifying.stop().await;
    let last = &hook.posted()[3].json;
    assert_eq!(
        (last["type"].as_str(), last["data"]["reason"].as_str()),
        (Some("alert.resolved"), Some("within_limit"))
    );
    assert_ne!(last["id"], posted[0].json["id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_that_is_configured_no_more_ends_and_the_past_tells_nobody_anything() {
    let shop = Shop::new().await;
    // Hours ago the shop was full, too.
    shop.people(&[(300, 90.0), (299, 90.0), (8, 90.0), (7, 90.0)]).await;
    let hook = Hook::start(&[]);
    let file = |alerts: &str| format!("alerts: [{alerts}]\nnotify: {{ webhook: \"{}\" }}\n", hook.url());
    let full = "{ name: full, of: store, above: 80, for: 2m }";
    let health = Health::new();
    let notifying = shop.start(&file(full), &health);
    until("it is told", || hook.posted().len() == 1).await;
    notifying.stop().await;
    let data = hook.posted()[0].json["data"].clone();
    assert_eq!(data["since"], Timestamp::from_micros(shop.now_us - 8 * MINUTE_US).to_string(), "not that of hours ago");
    assert_eq!(data["camera"], Value::Null);
    let notifying = shop.start(&file("{ name: empty, below: 1, for: 1h }"), &health);
    until("its end is told", || hook.posted().len() == 2).await;
    notifying.stop().await;
    assert_eq!(statuses(&hook), ["firing", "resolved"]);
    assert_eq!(hook.posted()[1].json["data"]["reason"], "not_configured");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_on_the_same_state_waits_for_the_first() {
    let shop = Shop::new().await;
    shop.people(&[(8, 9.0)]).await;
    let hook = Hook::start(&[]);
    let file = format!("alerts: [{{ name: full, above: 5 }}]\nnotify: {{ webhook: \"{}\" }}\n", hook.url());
    let (first, second) = (Health::new(), Health::new());
    let one = shop.start(&file, &first);
    let other = shop.start(&file, &second);
    until("it is told", || hook.posted().len() == 1).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(hook.posted().len(), 1);
    let (first, second) = (metrics(&first).await, metrics(&second).await);
    assert!(first.contains("rva_notify_notifications_total{alert=\"full\",status=\"firing\"} 1"), "{first}");
    assert!(first.contains("rva_notify_firing{alert=\"full\"} 1"), "{first}");
    assert!(!second.contains("rva_notify_notifications_total{"), "{second}");
    one.stop().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cameras_did_not_look_at_while_a_shop_was_open_is_in_the_metrics() {
    let shop = Shop::new().await;
    shop.people(&[(8, 9.0), (7, 0.0)]).await;
    let health = Health::new();
    // No alert and nowhere to go is wanted for that.
    let notifying = shop.start("notify: { opening_hours: 0:00-24:00 }\n", &health);
    let wanted = [("open", 60), ("missing", 58)]
        .map(|(what, count)| format!("rva_notify_{what}_camera_minutes{{store_id=\"store_01\"}} {count}\n"));
    let mut seen = String::new();
    for _ in 0..600 {
        seen = metrics(&health).await;
        if wanted.iter().all(|line| seen.contains(line)) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(wanted.iter().all(|line| seen.contains(line)), "{seen}");
    notifying.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn states_are_retained_at_the_broker_and_come_again_when_it_does() {
    let shop = Shop::new().await;
    shop.people(&[(8, 9.0), (7, 9.0)]).await;
    let Some(program) = Broker::program() else {
        panic!("found no mosquitto, wanted it: make setup-tests fetches it");
    };
    let mut broker = Broker::new(&program, shop.folder.path());
    let port = broker.port();
    let file = |alert: &str| {
        format!(
            "alerts: [{alert}]\nnotify: {{ mqtt: \"mqtt://127.0.0.1:{port}\", mqtt_user: rva, mqtt_password: letmein-42 }}\n"
        )
    };
    let health = Health::new();
    // It begins while the broker is away.
    let notifying = shop.start(&file("{ name: full, above: 5 }"), &health);
    until("it is judged", || shop.state()["watched"].as_array().is_some_and(|watched| watched.len() == 1)).await;
    let mut seen = String::new();
    for _ in 0..200 {
        seen = metrics(&health).await;
        if seen.contains("rva_notify_mqtt_away 1") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(seen.contains("rva_notify_mqtt_away 1"), "{seen}");
    for turn in 1..=2 {
        // The second time it has lost all that it had.
        broker.start();
        let retained = Retained::until(port, |retained| retained.len() == 4).await;
        let names: Vec<&String> = retained.keys().collect();
        assert_eq!(retained["rva/status"], "online", "turn {turn}: {names:?}");
        let (state, _) = retained.iter().find(|(topic, _)| topic.ends_with("/state")).unwrap();
        assert_eq!(retained[state], "ON");
        let config =
            retained.iter().find(|(topic, _)| topic.starts_with("homeassistant/binary_sensor/rva_full_")).unwrap();
        let config: Value = serde_json::from_str(config.1).unwrap();
        assert_eq!(config["state_topic"].as_str(), Some(state.as_str()));
        let attributes: Value =
            serde_json::from_str(&retained[config["json_attributes_topic"].as_str().unwrap()]).unwrap();
        assert_eq!((attributes["alert"].as_str(), attributes["people"].as_f64()), (Some("full"), Some(9.0)));
        if turn == 1 {
            broker.stop();
        }
    }
    notifying.stop().await;
    let retained =
        Retained::until(port, |retained| retained.get("rva/status").is_some_and(|text| text == "offline")).await;
    assert_eq!(retained.len(), 4, "the states stay, and nobody watches: {retained:?}");

    // Another alert in its place: the first one is taken away.
    let notifying = shop.start(&file("{ name: nobody, below: 1, for: 1h }"), &health);
    let of = |retained: &Retained, name: &str| retained.keys().filter(|topic| topic.contains(name)).count();
    Retained::until(port, |retained| of(retained, "rva_nobody_") == 3 && of(retained, "rva_full_") == 0).await;
    notifying.stop().await;
    assert!(broker.said().contains("u'rva'"), "it was asked for a user: {}", broker.said());
}

#[test]
fn what_does_not_fit_is_told_without_its_value() {
    let folder = tempfile::tempdir().unwrap();
    let start = |notify: &str| {
        let data = folder.path().display();
        let file = format!("data_dir: {data}\nalerts: [{{ name: a, above: 1 }}]\nnotify: {{ {notify} }}\n");
        let loaded = load(&Layers { file: Some(("rva.yaml".into(), file)), ..Layers::default() }).unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let _inside = runtime.enter();
        let started = Notifying::start(&TableSettings::of(&loaded).unwrap(), &loaded.config, &Health::new());
        started.err().unwrap().to_string()
    };
    for (notify, wanted) in [
        ("", "notify.webhook: wanted it or notify.mqtt"),
        ("webhook: \"ftp://x/hunter2\"", "notify.webhook: wanted a URL that begins with http:// or https://"),
        ("webhook: \"http://x/\", webhook_secret: \"hunter2!\"", "notify.webhook_secret: wanted whsec_"),
        ("mqtt: \"mqtt://x\", mqtt_topic: \"a/#\"", "notify.mqtt_topic: wanted a topic"),
    ] {
        let error = start(notify);
        assert!(error.contains(wanted) && !error.contains("hunter2"), "{notify}: {error}");
    }
    std::fs::write(folder.path().join("alerts.json"), "not ours").unwrap();
    let error = start("webhook: \"http://x/\"");
    assert!(error.contains("alerts.json (notify.state)"), "{error}");
    assert_eq!(std::fs::read(Path::new(folder.path()).join("alerts.json")).unwrap(), b"not ours");
    // Names of tables that the tests write by hand.
    assert_eq!((PeoplePerMinute::COLUMNS.len(), ZoneMinute::COLUMNS.len()), (8, 10));
}
