//! What the broker's retention may take, and what the ingest says about it.

use crate::world::{SUBSCRIPTION, World};
use std::time::Duration;

impl World<'_> {
    /// An order of the broker's admin interface.
    pub async fn order(&self, method: reqwest::Method, path: &str, body: Option<serde_json::Value>) {
        let url = format!("{}/admin/v2/{path}", self.stack.get("PULSAR_ADMIN_URL"));
        let mut request = reqwest::Client::new().request(method, url);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.unwrap();
        assert!(answer.status().is_success(), "{path}: {answer:?}");
    }

    fn partitions(&self) -> Vec<String> {
        let topic = self.topic.to_string().replace("://", "/");
        (0..4).map(|number| format!("{topic}-partition-{number}")).collect()
    }

    /// Retention of nothing, new ledgers, and the old ones deleted as far as the subscription allows it.
    async fn delete_what_was_consumed(&self) {
        let namespace = format!("namespaces/{}/{}/retention", self.topic.tenant, self.topic.namespace);
        let none = serde_json::json!({"retentionTimeInMinutes": 0, "retentionSizeInMB": 0});
        self.order(reqwest::Method::POST, &namespace, Some(none)).await;
        for _ in 0..2 {
            for path in self.partitions() {
                self.order(reqwest::Method::PUT, &format!("{path}/unload"), None).await;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
            for path in self.partitions() {
                self.order(reqwest::Method::POST, &format!("{path}/trim"), None).await;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
}

const CAMERAS: [&str; 4] = ["cam_1", "cam_2", "cam_3", "cam_4"];

#[tokio::test(flavor = "multi_thread")]
async fn what_retention_takes_is_no_gap_unless_something_may_be_lost() {
    let Some(stack) = rva_stack::stack() else { return };
    let _turn = stack.shared().await;
    let world = World::new(stack);
    world.run(&["--init"]);
    for round in 0..2 {
        world.send(&CAMERAS, round * 100 + 1..=round * 100 + 100).await;
        world.run(&["--drain"]);
        world.delete_what_was_consumed().await;
    }
    // Everything is committed and old ledgers are gone: nothing is missing.
    let text = world.run(&["--drain"]);
    assert!(!text.contains("lost"), "{text}");
    assert_eq!(world.table().await, world.keys(&CAMERAS, 1..=200));

    // Somebody moves the subscription, and what the table doesn't have is deleted.
    world.send(&CAMERAS, 201..=300).await;
    for path in world.partitions() {
        world.order(reqwest::Method::POST, &format!("{path}/subscription/{SUBSCRIPTION}/skip_all"), None).await;
    }
    world.delete_what_was_consumed().await;
    let (code, text) = world.start(&["--drain"]).end();
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("records are lost, or may be") && text.contains("--accept-gap"), "{text}");
    assert_eq!(world.table().await, world.keys(&CAMERAS, 1..=200), "a halt changes nothing");

    let text = world.run(&["--drain", "--accept-gap"]);
    assert!(text.contains("lost, which was accepted"), "{text}");
    world.send(&CAMERAS, 301..=400).await;
    world.run(&["--drain"]);
    let mut wanted = world.keys(&CAMERAS, 1..=200);
    wanted.extend(world.keys(&CAMERAS, 301..=400));
    wanted.sort();
    assert_eq!(world.table().await, wanted);
}
