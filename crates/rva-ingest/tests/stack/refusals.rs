//! What can't work is said at the start: where, what was found, what is wanted.

use crate::world::{World, get};
use rva_bus::EventSink;
use rva_bus::pulsar::{PulsarConnection, PulsarSink, PulsarSinkOptions};
use rva_lake::{RestAuth, RestOptions};
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

/// Makes Keycloak refuse our client, or take it again.
async fn set_enabled(environment: &BTreeMap<String, String>, is_enabled: bool) {
    let client = reqwest::Client::new();
    let admin = &environment["KEYCLOAK_ADMIN_URL"];
    let master = admin.replace("/admin/realms/rva", "/realms/master/protocol/openid-connect/token");
    let (user, password) = (&environment["KEYCLOAK_ADMIN_USER"], &environment["KEYCLOAK_ADMIN_PASSWORD"]);
    let form = [("grant_type", "password"), ("client_id", "admin-cli"), ("username", user), ("password", password)];
    let answer: serde_json::Value = client.post(master).form(&form).send().await.unwrap().json().await.unwrap();
    let token = answer["access_token"].as_str().unwrap();
    let found = client.get(format!("{admin}/clients?clientId=rva-ingest")).bearer_auth(token);
    let found: serde_json::Value = found.send().await.unwrap().json().await.unwrap();
    let mut ours = found[0].clone();
    ours["enabled"] = is_enabled.into();
    let put = client.put(format!("{admin}/clients/{}", ours["id"].as_str().unwrap())).bearer_auth(token).json(&ours);
    put.send().await.unwrap().error_for_status().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_catalog_that_refuses_us_ends_the_start_and_later_shows_in_ready() {
    let Some(stack) = rva_stack::stack() else { return };
    let _turn = stack.shared().await;
    let environment = stack.optional("nessie-secure");
    let (uri, oauth2) = (&environment["NESSIE_SECURE_CATALOG_URI"], &environment["NESSIE_SECURE_OAUTH2_URI"]);
    let credential = &environment["NESSIE_SECURE_CREDENTIAL"];
    let mut world = World::new(stack);
    world.set("ICEBERG_CATALOG_URI", uri);
    world.set("ICEBERG_OAUTH2_URI", oauth2);
    world.set("ICEBERG_WAREHOUSE", "lakehouse");
    // The catalog vends them.
    world.set("S3_ACCESS_KEY", "");
    world.set("S3_SECRET_KEY", "");
    world.set("ICEBERG_CREDENTIAL", credential);
    world.run(&["--init"]);
    world.set("ICEBERG_CREDENTIAL", "rva-ingest:hush-hush");
    refused(&world, &[uri, oauth2, "iceberg.credential, ICEBERG_CREDENTIAL"], &["hush-hush"]);
    world.set("ICEBERG_CREDENTIAL", credential);
    world.set("ICEBERG_WAREHOUSE", "nowhere");
    refused(&world, &[uri, "nowhere", "iceberg.warehouse"], &[credential]);
    world.set("ICEBERG_WAREHOUSE", "lakehouse");

    let mut ingest = world.start(&[]);
    let health = ingest.health();
    ingest.wait_ready(&health, 200, "");
    set_enabled(&environment, false).await;
    // Until its token runs out it still commits.
    let (mut sink, mut frame) = (world.sink().await, 0);
    let answer = loop {
        frame += 1;
        sink.send(world.record("cam_1", frame)).await.unwrap();
        sink.flush().await.unwrap();
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        let answer = get(&health, "/ready");
        if answer.contains("503") || frame == 150 {
            break answer;
        }
    };
    set_enabled(&environment, true).await;
    for part in ["HTTP/1.1 503", uri, oauth2, "iceberg.credential"] {
        assert!(answer.contains(part), "wanted {part:?} in {answer}");
    }
    assert!(!answer.contains(credential.split_once(':').unwrap().1), "{answer}");
    println!("{answer}");
    ingest.wait_ready(&health, 200, "");
    let (_, code, text) = ingest.terminate();
    assert_eq!(code, Some(0), "{text}");
    let rest = RestOptions {
        warehouse: Some("lakehouse".into()),
        auth: RestAuth::ClientCredentials {
            credential: credential.clone(),
            oauth2_uri: Some(oauth2.clone()),
            scope: None,
        },
        ..RestOptions::new(uri)
    };
    assert_eq!(world.table_in(&rest).await, world.keys(&["cam_1"], 1..=frame));
}
