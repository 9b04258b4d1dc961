//! States by MQTT, as Home Assistant finds them: each alert at each place is a binary sensor that is on while it fires.
//!
//! All topics are retained, so whoever comes later sees how things are, and a state that is sent once more tells nobody
//! anything twice. After each connection all of them are sent: nothing has to be kept while the broker is away.

use crate::NotifyError;
use crate::notification::{Spot, Told};
use rumqttc::{AsyncClient, Event, EventLoop, LastWill, MqttOptions, Packet, QoS, TlsConfiguration, Transport};
use rustls::{ClientConfig, RootCertStore};
use rva_service::NotifyConfig;
use rva_types::DoublingWait;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The time between two signs of life.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// The most messages between us and the library.
const REQUESTS_MAX: usize = 64;

/// The first and the longest wait for the broker.
const AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// The longest wait for the last message when we stop.
const FAREWELL_MAX: Duration = Duration::from_secs(2);

/// The state of an alert at a place.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SensorState {
    pub is_firing: bool,
    /// What was told last; `None` where nothing happened yet.
    pub told: Option<Told>,
}

/// The states of all alerts, by place. `None` for one that the configuration has no more: it is taken away.
pub(crate) type Sensors = BTreeMap<Spot, Option<SensorState>>;

/// The names of topics.
#[derive(Debug, Clone)]
struct Topics {
    own: String,
    discovery: String,
}

impl Topics {
    fn availability(&self) -> String {
        format!("{}/status", self.own)
    }

    /// Returns the retained messages that say how an alert is: topics and payloads.
    fn messages(&self, spot: &Spot, sensor: Option<&SensorState>) -> Vec<(String, String)> {
        let id = spot.id();
        let (own, discovery) = (&self.own, &self.discovery);
        let topics = [
            format!("{discovery}/binary_sensor/{id}/config"),
            format!("{own}/alerts/{id}/attributes"),
            format!("{own}/alerts/{id}/state"),
        ];
        let Some(sensor) = sensor else {
            // An empty retained message removes the one that was there.
            return topics.map(|topic| (topic, String::new())).into();
        };
        let [config, attributes, state] = topics;
        let device = json!({
            "identifiers": [format!("rva_{}", spot.place.store)],
            "name": format!("rva {}", spot.place.store),
            "manufacturer": "rva",
        });
        let found = json!({
            "name": format!("{} {}", spot.alert, spot.place.camera.as_deref().unwrap_or("shop")),
            "unique_id": id,
            "object_id": id,
            "state_topic": state,
            "json_attributes_topic": attributes,
            "availability_topic": self.availability(),
            "payload_on": "ON",
            "payload_off": "OFF",
            "device_class": "problem",
            "device": device,
            "origin": { "name": "rva", "sw_version": env!("CARGO_PKG_VERSION") },
        });
        let told = sensor.told.as_ref().and_then(|told| serde_json::to_value(told).ok());
        let told = told
            .unwrap_or_else(|| json!({ "alert": spot.alert, "store": spot.place.store, "camera": spot.place.camera }));
        let on = if sensor.is_firing { "ON" } else { "OFF" };
        vec![(config, found.to_string()), (attributes, Value::to_string(&told)), (state, on.to_owned())]
    }
}

/// The number of a connection, counted from 1; 0 while there is none.
type Connection = u64;

/// A connection to a broker that keeps itself.
pub(crate) struct Mqtt {
    client: AsyncClient,
    topics: Topics,
    sensors: watch::Sender<Sensors>,
    trouble: watch::Receiver<Option<String>>,
    tasks: [JoinHandle<()>; 2],
}

impl Mqtt {
    /// Makes it from the configuration and begins to connect; `None` where there is no broker.
    ///
    /// # Errors
    /// Returns an error for a broker's URL that is none.
    pub(crate) fn start(config: &NotifyConfig) -> Result<Option<Self>, NotifyError> {
        let Some(url) = &config.mqtt else { return Ok(None) };
        let topics = Topics { own: config.mqtt_topic.clone(), discovery: config.mqtt_discovery.clone() };
        for (key, topic) in [("notify.mqtt_topic", &topics.own), ("notify.mqtt_discovery", &topics.discovery)] {
            if topic.contains(['+', '#', '\0']) || topic.starts_with(['/', '$']) || topic.ends_with('/') {
                return Err(NotifyError::Config { key, wanted: "a topic like rva or shops/rva, without + and #" });
            }
        }
        let mut options = options(config, url)?;
        let will = LastWill::new(topics.availability(), "offline", QoS::AtLeastOnce, true);
        options.set_keep_alive(KEEP_ALIVE).set_last_will(will);
        let (client, events) = AsyncClient::new(options, REQUESTS_MAX);
        let (sensors, changed) = watch::channel(Sensors::new());
        let (connection, connected) = watch::channel(0);
        let (told, trouble) = watch::channel(None);
        let tasks = [
            tokio::spawn(connect(events, connection, told)),
            tokio::spawn(publish(client.clone(), topics.clone(), changed, connected)),
        ];
        Ok(Some(Self { client, topics, sensors, trouble, tasks }))
    }

    /// Takes the states as they are now.
    pub(crate) fn tell(&self, sensors: Sensors) {
        self.sensors.send_if_modified(|told| {
            let is_new = *told != sensors;
            *told = sensors;
            is_new
        });
    }

    /// Returns why there is no connection, if there is none.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.trouble.borrow().clone()
    }

    /// Waits until there is another trouble, or none any more.
    pub(crate) async fn changed(&mut self) {
        if self.trouble.changed().await.is_err() {
            std::future::pending().await
        }
    }

    /// Says that nobody watches any more, and ends.
    pub(crate) async fn stop(self) {
        let farewell = async {
            let topic = self.topics.availability();
            self.client.publish(topic, QoS::AtLeastOnce, true, "offline").await?;
            self.client.disconnect().await
        };
        // Where the broker is away, its last will says it.
        if self.trouble.borrow().is_none() && matches!(tokio::time::timeout(FAREWELL_MAX, farewell).await, Ok(Ok(()))) {
            let [connecting, _] = &self.tasks;
            let ended = async {
                while !connecting.is_finished() && self.trouble.borrow().is_none() {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            let _ = tokio::time::timeout(FAREWELL_MAX, ended).await;
        }
    }
}

impl Drop for Mqtt {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

fn options(config: &NotifyConfig, url: &str) -> Result<MqttOptions, NotifyError> {
    let wrong = NotifyError::Config {
        key: "notify.mqtt",
        wanted: "mqtt://HOST or mqtts://HOST, with a port where it isn't the usual",
    };
    let url = reqwest::Url::parse(url).map_err(|_| wrong.clone())?;
    let Some(host) = url.host_str() else { return Err(wrong) };
    let is_secure = url.scheme() == "mqtts";
    let port = url.port().unwrap_or(if is_secure { 8883 } else { 1883 });
    // A broker throws out the elder of two clients of one name.
    let client =
        format!("rva-{:08x}-{}", std::process::id(), std::time::UNIX_EPOCH.elapsed().unwrap_or_default().as_micros());
    let mut options = MqttOptions::new(client, host.trim_matches(['[', ']']), port);
    if is_secure {
        rva_service::tables::install_tls();
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let tls = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        options.set_transport(Transport::tls_with_config(TlsConfiguration::from(tls)));
    }
    if let Some(user) = &config.mqtt_user {
        let password = config.mqtt_password.as_ref().map_or("", |password| password.expose());
        options.set_credentials(user, password);
    }
    Ok(options)
}

/// Keeps a connection, and tells its number and what troubles it.
async fn connect(mut events: EventLoop, connection: watch::Sender<Connection>, trouble: watch::Sender<Option<String>>) {
    let mut again = DoublingWait::new(AGAIN.0, AGAIN.1);
    let mut number = 0;
    loop {
        match events.poll().await {
            Ok(Event::Incoming(Packet::ConnAck(_))) => {
                again.reset();
                number += 1;
                trouble.send_replace(None);
                connection.send_replace(number);
            }
            Ok(_) => {}
            Err(error) => {
                connection.send_replace(0);
                let error = error.to_string();
                trouble.send_if_modified(|told| told.replace(error.clone()) != Some(error));
                tokio::time::sleep(again.take()).await;
            }
        }
    }
}

/// Sends all states after each connection, and those that change.
async fn publish(
    client: AsyncClient,
    topics: Topics,
    mut sensors: watch::Receiver<Sensors>,
    mut connected: watch::Receiver<Connection>,
) {
    let (mut sent, mut of) = (Sensors::new(), 0);
    loop {
        let number = *connected.borrow_and_update();
        let now = sensors.borrow_and_update().clone();
        if number > 0 {
            let mut messages = Vec::new();
            if number != of {
                (sent, of) = (Sensors::new(), number);
                messages.push((topics.availability(), "online".to_owned()));
            }
            for (spot, sensor) in &now {
                if sent.get(spot) != Some(sensor) {
                    messages.extend(topics.messages(spot, sensor.as_ref()));
                }
            }
            for (topic, payload) in messages {
                // It waits while the broker is away; the library keeps no more than a handful.
                if let Err(error) = client.publish(topic, QoS::AtLeastOnce, true, payload).await {
                    tracing::warn!(%error, "could not publish the state of an alert");
                }
            }
            sent = now;
        }
        let is_over = tokio::select! {
            changed = sensors.changed() => changed.is_err(),
            changed = connected.changed() => changed.is_err(),
        };
        if is_over {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notification::Place;

    #[test]
    fn home_assistant_finds_a_sensor_and_loses_one_that_is_gone() {
        let topics = Topics { own: "rva".into(), discovery: "homeassistant".into() };
        let place = Place { store: "store_01".into(), camera: Some("door".into()) };
        let spot = Spot { alert: "queue".into(), place };
        let id = spot.id();
        let messages = topics.messages(&spot, Some(&SensorState { is_firing: true, told: None }));
        let names: Vec<&str> = messages.iter().map(|(topic, _)| topic.as_str()).collect();
        let wanted = [
            format!("homeassistant/binary_sensor/{id}/config"),
            format!("rva/alerts/{id}/attributes"),
            format!("rva/alerts/{id}/state"),
        ];
        assert_eq!(names, wanted);
        let config: Value = serde_json::from_str(&messages[0].1).unwrap();
        assert_eq!(config["state_topic"], wanted[2]);
        assert_eq!(config["availability_topic"], "rva/status");
        assert_eq!((config["unique_id"].as_str(), messages[2].1.as_str()), (Some(id.as_str()), "ON"));
        let gone: Vec<_> = topics.messages(&spot, None).into_iter().map(|(_, payload)| payload).collect();
        assert_eq!(gone, ["", "", ""]);
    }
}
