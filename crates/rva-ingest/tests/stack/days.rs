//! Bad input and bad days: what is no record, topics made anew and enlarged, tables that others change.

use crate::{
    tables::{bronze_ident, scan, text},
    world::{World, get, metric},
};
use iceberg::TableIdent;
use reqwest::Method;
use rva_bus::{EventSink, OutgoingMessage};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const CAMERAS: [&str; 4] = ["cam_1", "cam_2", "cam_3", "cam_4"];

impl World<'_> {
    /// Sends a change of `bronze_raw` to the catalog, as another engine would.
    async fn change_table(&self, updates: Value) {
        let url = format!("{}/v1/namespaces/rva/tables/bronze_raw", self.stack.get("ICEBERG_CATALOG_URI"));
        let body = json!({"requirements": [], "updates": updates});
        let answer = reqwest::Client::new().post(url).json(&body).send().await.unwrap();
        let status = answer.status();
        assert!(status.is_success(), "{status}: {}", answer.text().await.unwrap());
    }

    /// Ids of the snapshots of `bronze_raw`, the present one last.
    async fn snapshots(&self) -> Vec<i64> {
        let lake = self.lake().await;
        let table = lake.catalog().load_table(&bronze_ident()).await.unwrap();
        let current = table.metadata().current_snapshot_id().unwrap();
        let ids = table.metadata().snapshots().map(|snapshot| snapshot.snapshot_id());
        ids.filter(|id| *id != current).chain([current]).collect()
    }

    /// Reasons of this topic's dead letters, each with how often it is there.
    pub async fn dead_letters(&self) -> BTreeMap<String, usize> {
        let ident = TableIdent::from_strs(["rva", "bronze_dead_letters"]).unwrap();
        let mut reasons = BTreeMap::new();
        for batch in scan(&self.lake().await, &ident, ["topic", "reason", "detail"]).await.unwrap() {
            for row in (0..batch.num_rows()).filter(|row| text(&batch, "topic", *row).contains(&self.name)) {
                *reasons.entry(text(&batch, "reason", row)).or_default() += 1;
            }
        }
        reasons
    }
}

fn raw(camera: &str, body: &[u8]) -> OutgoingMessage {
    OutgoingMessage {
        partition_key: camera.into(),
        properties: BTreeMap::from([("camera_id".into(), camera.into())]),
        event_time: None,
        body: body.to_vec().into(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_record_is_a_dead_letter_and_no_store_escapes_its_folder() {
    let Some(stack) = rva_stack::stack() else { return };
    let _turn = stack.shared().await;
    let world = World::new(stack);
    world.run(&["--init"]);
    let of_store = |store: &str, frame: i64| {
        let body = json!({
            "schema_version": "1.0", "pipeline_run_id": format!("{}-cam_1", world.name), "frame_index": frame,
            "source": {"store_id": store, "camera_id": "cam_1", "stream_id": "s"}, "detections": [],
        });
        raw("cam_1", body.to_string().as_bytes())
    };
    let mut sink = world.sink().await;
    let bodies: [&[u8]; 6] =
        [b"", b"\xff\xfe\x00", b"not json", b"[1, 2]", b"\"text\"", b"{\"pipeline_run_id\": \"r\"}"];
    for (body, frame) in bodies.iter().zip(1..) {
        sink.send(world.record("cam_1", frame)).await.unwrap();
        // What the broker itself refuses costs nothing else; the forwarder keeps it in a file.
        let _ = sink.send(raw("cam_1", body)).await;
    }
    let stores = ["../../escape", "..", "a/b", "a\\b", "%2e%2e", "shop 7"];
    for (store, frame) in stores.iter().zip(7..) {
        sink.send(of_store(store, frame)).await.unwrap();
    }
    sink.send(of_store("", 100)).await.unwrap();
    sink.send(world.record("cam_1", 13)).await.unwrap();
    sink.flush().await.unwrap();
    let mut ingest = world.start(&[]);
    let health = ingest.health();
    ingest.wait_metric(&health, "rva_ingest_rows_total", 13);
    assert_eq!(metric(&health, "rva_ingest_messages_total"), 20, "{}", get(&health, "/metrics"));
    let counted = get(&health, "/metrics");
    assert_eq!(ingest.terminate().1, Some(0));
    assert_eq!(world.table().await, world.keys(&["cam_1"], 1..=13), "what stands between bad ones is there, once");
    let dead = world.dead_letters().await;
    let total: usize = dead.values().sum();
    assert_eq!(total, 7, "{dead:?}");
    assert!(dead.keys().any(|reason| reason == "invalid_json") && dead.len() >= 3, "{dead:?}");
    for (reason, count) in &dead {
        let line = format!("rva_ingest_dead_letters_total{{reason=\"{reason}\"}} {count}");
        assert!(counted.lines().any(|found| found == line), "wanted {line} in {counted}");
    }

    let table = world.lake().await.catalog().load_table(&bronze_ident()).await.unwrap();
    let root = format!("{}/data/store_id=", table.metadata().location());
    let tasks = table.scan().build().unwrap().plan_files().await.unwrap();
    let files: Vec<_> = futures::TryStreamExt::try_collect(tasks).await.unwrap();
    for file in &files {
        let rest = file.data_file_path().strip_prefix(&root).unwrap_or_else(|| panic!("{}", file.data_file_path()));
        // What stands before it makes `store_id=..` a name like any other.
        assert!(rest.matches('/').count() == 1 && !rest.starts_with('/'), "a store is one folder: {rest}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_was_made_anew_under_its_name_is_noticed() {
    let Some(stack) = rva_stack::stack() else { return };
    let _turn = stack.shared().await;
    let mut world = World::new(stack);
    world.run(&["--init"]);
    world.send(&CAMERAS, 1..=50).await;
    world.run(&["--drain"]);
    let path = format!("{}/partitions?force=true", world.topic.to_string().replace("://", "/"));
    world.order(Method::DELETE, &path, None).await;
    world.run(&["--init"]);
    world.send(&CAMERAS, 51..=100).await;
    let (code, text) = world.start(&["--drain"]).end();
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("found log") && text.contains("ingest.job"), "{text}");
    assert_eq!(world.table().await, world.keys(&CAMERAS, 1..=50), "a halt changes nothing");
    // The way out that it names.
    world.set("RVA_INGEST_JOB", format!("{}-2", world.name));
    world.run(&["--drain"]);
    assert_eq!(world.table().await, world.keys(&CAMERAS, 1..=100));
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_that_are_added_while_it_runs_are_read() {
    let Some(stack) = rva_stack::stack() else { return };
    let _turn = stack.shared().await;
    let mut world = World::new(stack);
    world.set("PULSAR_PARTITIONS", "1");
    world.run(&["--init"]);
    let mut ingest = world.start(&[]);
    let health = ingest.health();
    world.send(&CAMERAS, 1..=50).await;
    ingest.wait_for("committed up to");
    world.set("PULSAR_PARTITIONS", "5");
    world.run(&["--init"]);
    // Runs of their own, which go to any of the partitions.
    let cameras: Vec<String> = (10..30).map(|n| format!("cam_{n}")).collect();
    let cameras: Vec<&str> = cameras.iter().map(String::as_str).collect();
    world.send(&cameras, 1..=20).await;
    let mut wanted = world.keys(&CAMERAS, 1..=50);
    wanted.extend(world.keys(&cameras, 1..=20));
    wanted.sort();
    let end = std::time::Instant::now() + crate::world::PATIENCE;
    while world.table().await != wanted && std::time::Instant::now() < end {
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    }
    assert!(get(&health, "/ready").starts_with("HTTP/1.1 200 "));
    assert_eq!(ingest.terminate().1, Some(0), "the same process read them");
    assert_eq!(world.table().await, wanted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_others_roll_back_or_expire_is_whole_again() {
    let Some(stack) = rva_stack::stack() else { return };
    // Other tests share the table.
    let _turn = stack.alone().await;
    let mut world = World::new(stack);
    world.run(&["--init"]);
    world.send(&CAMERAS, 1..=50).await;
    world.run(&["--drain"]);
    let before = *world.snapshots().await.last().unwrap();
    world.send(&CAMERAS, 51..=100).await;
    world.run(&["--drain"]);
    let main =
        |id: i64| json!([{"action": "set-snapshot-ref", "ref-name": "main", "type": "branch", "snapshot-id": id}]);
    world.change_table(main(before)).await;
    assert_eq!(world.table().await, world.keys(&CAMERAS, 1..=50), "it is rolled back");

    world.set("RVA_INGEST_ON_ROLLBACK", "halt");
    let (code, text) = world.start(&["--drain"]).end();
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("was rolled back") && text.contains("on_rollback=rewind"), "{text}");
    world.set("RVA_INGEST_ON_ROLLBACK", "rewind");
    world.run(&["--drain"]);
    assert_eq!(world.table().await, world.keys(&CAMERAS, 1..=100), "read again from the log, each once");

    // Everything but the present snapshot goes, also while the ingest has the table open.
    let mut ingest = world.start(&[]);
    world.send(&CAMERAS, 101..=120).await;
    ingest.wait_for("committed up to");
    let mut ids = world.snapshots().await;
    ids.pop();
    world.change_table(json!([{"action": "remove-snapshots", "snapshot-ids": ids}])).await;
    world.send(&CAMERAS, 121..=150).await;
    ingest.wait_for("committed up to");
    assert_eq!(ingest.terminate().1, Some(0));
    world.run(&["--drain"]);
    assert_eq!(world.table().await, world.keys(&CAMERAS, 1..=150));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_is_drained_in_one_pass() {
    let Some(stack) = rva_stack::stack() else { return };
    let _turn = stack.shared().await;
    let mut world = World::new(stack);
    // One commit for all: what is read again after a rebuild would be in none.
    world.set("RVA_INGEST_COMMIT_INTERVAL", "60s");
    world.run(&["--init"]);
    world.send(&CAMERAS, 1..=3000).await;
    let text = world.run(&["--drain"]);
    // A broker that needs a moment for what its ranges promise hasn't contradicted itself.
    assert!(!text.contains("and silence, wanted records up to"), "{text}");
    assert_eq!(text.matches("committed up to").count(), 1, "{text}");
    assert_eq!(world.table().await, world.keys(&CAMERAS, 1..=3000));
}
