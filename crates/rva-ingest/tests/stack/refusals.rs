//! What can't work is said at the start: where, what was found, what is wanted.

use crate::world::World;
use rva_bus::EventSink;
use rva_bus::pulsar::{PulsarConnection, PulsarSink, PulsarSinkOptions};
use std::collections::BTreeMap;

/// The same world on the broker with tokens and TLS.
fn secure<'a>(stack: &'a rva_stack::Stack, environment: &BTreeMap<String, String>) -> World<'a> {
    let mut world = World::new(stack);
    for (name, of) in [
        ("PULSAR_SERVICE_URL", "PULSAR_SECURE_SERVICE_URL"),
        ("PULSAR_ADMIN_URL", "PULSAR_SECURE_ADMIN_URL"),
        ("RVA_PULSAR_CA_FILE", "PULSAR_SECURE_CA_FILE"),
        ("PULSAR_TOKEN", "PULSAR_SECURE_OPERATOR_TOKEN"),
    ] {
        world.set(name, &environment[of]);
    }
    world
}

fn refused(world: &World<'_>, wanted: &[&str], secrets: &[&str]) {
    let (code, text) = world.start(&[]).end();
    assert_eq!(code, Some(1), "{text}");
    for part in wanted {
        assert!(text.contains(part), "wanted {part:?} in {text}");
    }
    for secret in secrets {
        assert!(!text.contains(secret), "a secret is in {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_with_tokens_and_tls_is_read_and_refuses_what_is_wrong() {
    let Some(stack) = rva_stack::stack() else { return };
    let _turn = stack.shared().await;
    let environment = stack.secure_pulsar();
    let of = |name: &str| environment[&format!("PULSAR_SECURE_{name}")].as_str();
    let mut world = secure(stack, &environment);
    world.run(&["--init"]);
    let connection = PulsarConnection {
        token: Some(of("OPERATOR_TOKEN").to_owned()),
        ca_file: Some(of("CA_FILE").into()),
        ..PulsarConnection::new(of("SERVICE_URL"), of("ADMIN_URL"))
    };
    let mut sink = PulsarSink::connect(&connection, PulsarSinkOptions::new(world.topic.clone())).await.unwrap();
    for frame in 1..=50 {
        sink.send(world.record("cam_1", frame)).await.unwrap();
    }
    sink.flush().await.unwrap();
    let text = world.run(&["--drain"]);
    assert!(!text.contains(of("OPERATOR_TOKEN")), "the token is in the log");
    assert_eq!(world.table().await, world.keys(&["cam_1"], 1..=50));

    let url = of("SERVICE_URL");
    for (token, wanted) in [
        ("", "wanted a token that the broker accepts"),
        (of("FORGED_TOKEN"), "wanted a token that the broker accepts"),
        (of("NOBODY_TOKEN"), "wanted a token whose role may"),
    ] {
        world.set("PULSAR_TOKEN", token);
        let secrets = [of("FORGED_TOKEN"), of("NOBODY_TOKEN")];
        refused(&world, &[url, &world.topic.to_string(), wanted], &secrets);
    }
    world.set("PULSAR_TOKEN", of("OPERATOR_TOKEN"));
    world.set("RVA_PULSAR_CA_FILE", of("OTHER_CA_FILE"));
    refused(&world, &[url, "certificate"], &[of("OPERATOR_TOKEN")]);
    world.set("PULSAR_ADMIN_URL", of("PLAIN_ADMIN_URL"));
    refused(&world, &[url, "wanted a certificate that ca_file or a well-known authority signed"], &[]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_was_not_set_up_and_a_bucket_that_is_not_there_are_named() {
    let Some(stack) = rva_stack::stack() else { return };
    let _turn = stack.shared().await;
    let mut world = World::new(stack);
    refused(&world, &[&world.topic.to_string(), "set it up first"], &[]);
    world.run(&["--init"]);
    world.set("ICEBERG_CATALOG_URI", stack.get("S3_ENDPOINT"));
    refused(&world, &[stack.get("S3_ENDPOINT"), "wanted"], &[]);
}

#[test]
fn a_configuration_with_problems_starts_nothing_and_tells_all_of_them() {
    let Some(stack) = rva_stack::stack() else { return };
    let mut world = World::new(stack);
    world.set("PULSAR_TOPIC", "events");
    world.set("S3_SECRET_KEY", "");
    world.set("ICEBERG_CREDENTIAL", "hush");
    let (code, text) = world.start(&[]).end();
    assert_eq!(code, Some(2), "{text}");
    for part in ["3 problems", "pulsar.topic", "environment PULSAR_TOPIC", "s3.access_key", "iceberg.credential"] {
        assert!(text.contains(part), "wanted {part:?} in {text}");
    }
    assert!(!text.contains("hush"), "{text}");
}
