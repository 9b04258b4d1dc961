//! A broker that wants tokens, rights and TLS.

use crate::{SUBSCRIPTION, new_topic, record};
use rva_bus::{
    BusError, BusErrorKind, EventSink, EventSource,
    pulsar::{
        PulsarConnection, PulsarSink, PulsarSinkOptions, PulsarSource, PulsarSourceOptions, TopicName, TopicSetup,
        set_up_topic,
    },
};
use rva_stack::Stack;
use std::{collections::BTreeMap, path::PathBuf, time::Duration};

struct Secure(BTreeMap<String, String>);

impl Secure {
    fn of(stack: &Stack) -> Self {
        Self(stack.secure_pulsar())
    }

    fn get(&self, name: &str) -> String {
        self.0[&format!("PULSAR_SECURE_{name}")].clone()
    }

    /// Over TLS.
    fn connection(&self, token: Option<&str>) -> PulsarConnection {
        PulsarConnection {
            token: token.map(|name| self.get(&format!("{name}_TOKEN"))),
            ca_file: Some(self.get("CA_FILE").into()),
            ..PulsarConnection::new(self.get("SERVICE_URL"), self.get("ADMIN_URL"))
        }
    }

    async fn set_up(&self) -> TopicName {
        let topic = new_topic();
        set_up_topic(&self.connection(Some("OPERATOR")), &TopicSetup::new(topic.clone(), SUBSCRIPTION)).await.unwrap();
        topic
    }

    /// Lets the role of the ingest produce and consume, and no more.
    async fn grant(&self, topic: &TopicName) {
        let namespace = format!("{}/{}", topic.tenant, topic.namespace);
        let url = format!("{}/admin/v2/namespaces/{namespace}/permissions/rva-ingest", self.get("PLAIN_ADMIN_URL"));
        let request = reqwest::Client::new().post(url).bearer_auth(self.get("OPERATOR_TOKEN"));
        let answer = request.json(&["produce", "consume"]).send().await.unwrap();
        assert!(answer.status().is_success(), "{answer:?}");
    }
}

async fn open_both(connection: &PulsarConnection, topic: &TopicName) -> [Option<BusError>; 2] {
    let sink = PulsarSink::connect(connection, PulsarSinkOptions::new(topic.clone())).await.err();
    let source = PulsarSource::connect(connection, PulsarSourceOptions::new(topic.clone(), SUBSCRIPTION)).await.err();
    [sink, source]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_may_produce_and_consume_is_enough_over_tls() {
    let Some(stack) = rva_stack::stack() else { return };
    let _turn = stack.shared().await;
    let secure = Secure::of(stack);
    let topic = secure.set_up().await;
    secure.grant(&topic).await;
    let connection = secure.connection(Some("INGEST"));
    let mut sink = PulsarSink::connect(&connection, PulsarSinkOptions::new(topic.clone())).await.unwrap();
    for frame in 1..=20 {
        sink.send(record("run", "cam_01", frame)).await.unwrap();
    }
    sink.flush().await.unwrap();
    let options = PulsarSourceOptions::new(topic.clone(), SUBSCRIPTION);
    let mut source = PulsarSource::connect(&connection, options).await.unwrap();
    let (mut offsets, mut found) = (rva_types::OffsetMap::new(), 0);
    for _ in 0..100 {
        for message in source.poll(1 << 20, Duration::from_millis(200)).await.unwrap() {
            offsets.advance(&message.partition, message.position);
            found += 1;
        }
        if found == 20 {
            break;
        }
    }
    assert_eq!(found, 20);
    source.acknowledge(&offsets).await.unwrap();
    source.seek(&offsets).await.unwrap();
    assert!(source.poll(1 << 20, Duration::from_millis(300)).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_wrong_or_absent_or_has_no_rights_is_refused_for_good() {
    let Some(stack) = rva_stack::stack() else { return };
    let _turn = stack.shared().await;
    let secure = Secure::of(stack);
    let topic = secure.set_up().await;
    for (token, wanted) in [
        (None, "wanted a token that the broker accepts"),
        (Some("FORGED"), "wanted a token that the broker accepts"),
        (Some("NOBODY"), "wanted a token whose role may"),
    ] {
        let connection = secure.connection(token);
        for error in open_both(&connection, &topic).await {
            let error = error.unwrap_or_else(|| panic!("{token:?} was let in"));
            assert_eq!(error.kind(), BusErrorKind::Permanent, "{token:?}: {error}");
            let text = error.to_string();
            assert!(text.contains(wanted) && text.contains("127.0.0.1"), "{token:?}: {text}");
            if let Some(token) = &connection.token {
                assert!(!format!("{error:?} {text} {connection:?}").contains(token.as_str()), "the token is shown");
            }
        }
        let setup = TopicSetup::new(new_topic(), SUBSCRIPTION);
        let error = set_up_topic(&connection, &setup).await.unwrap_err();
        assert_eq!(error.kind(), BusErrorKind::Permanent, "{token:?}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_another_authority_is_refused_for_good() {
    let Some(stack) = rva_stack::stack() else { return };
    let _turn = stack.shared().await;
    let secure = Secure::of(stack);
    let topic = secure.set_up().await;
    let right = secure.connection(Some("OPERATOR"));
    let other = Some(PathBuf::from(secure.get("OTHER_CA_FILE")));
    for ca_file in [other.clone(), None] {
        let wrong = PulsarConnection { ca_file, ..right.clone() };
        // The admin interface over TLS, then the broker's own port alone.
        let plain = PulsarConnection { admin_url: secure.get("PLAIN_ADMIN_URL"), ..wrong.clone() };
        for (connection, url) in [(&wrong, "ADMIN_URL"), (&plain, "SERVICE_URL")] {
            for error in open_both(connection, &topic).await {
                let error = error.unwrap_or_else(|| panic!("{connection:?} was trusted"));
                assert_eq!(error.kind(), BusErrorKind::Permanent, "{error}");
                let text = error.to_string();
                assert!(text.contains("certificate") && text.contains(&secure.get(url)), "{text}");
            }
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ca.pem");
    std::fs::write(&file, "no certificate").unwrap();
    for file in [file, dir.path().join("missing.pem")] {
        let wrong = PulsarConnection { ca_file: Some(file.clone()), ..right.clone() };
        for error in open_both(&wrong, &topic).await {
            let error = error.unwrap_or_else(|| panic!("{} was taken", file.display()));
            assert!(error.to_string().contains(&file.display().to_string()), "{error}");
            assert_eq!(error.kind(), BusErrorKind::Permanent, "{error}");
        }
    }
}
