//! A real broker of MQTT, Mosquitto, and what it retains.

use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::{TcpListener, TcpStream};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub struct Broker {
    program: PathBuf,
    folder: PathBuf,
    port: u16,
    child: Option<Child>,
}

impl Broker {
    /// Finds the program: fetched for the tests, or on this machine.
    pub fn program() -> Option<PathBuf> {
        let cache = std::env::var_os("RVA_STACK_CACHE").unwrap_or_else(|| OsString::from("data/cache/stack"));
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let fetched = root.join(cache).join("mosquitto/mosquitto");
        let known = [fetched, "/usr/sbin/mosquitto".into(), "/usr/bin/mosquitto".into()];
        known.into_iter().find(|path| path.exists())
    }

    /// Chooses a port; nobody listens there yet.
    pub fn new(program: &Path, folder: &Path) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config =
            format!("listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\nuser root\nlog_type all\n");
        std::fs::write(folder.join("mosquitto.conf"), config).unwrap();
        Self { program: program.to_owned(), folder: folder.to_owned(), port, child: None }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn start(&mut self) {
        let said = std::fs::File::options().create(true).append(true).open(self.folder.join("mosquitto.log")).unwrap();
        let mut command = Command::new(&self.program);
        command.arg("-c").arg(self.folder.join("mosquitto.conf")).stdout(Stdio::null()).stderr(said);
        command.env("LD_LIBRARY_PATH", self.program.with_file_name("lib"));
        self.child = Some(command.spawn().unwrap());
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(began.elapsed() < Duration::from_secs(30), "mosquitto didn't start: {}", self.said());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    pub fn said(&self) -> String {
        std::fs::read_to_string(self.folder.join("mosquitto.log")).unwrap_or_default()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What a broker retains, by topic.
#[derive(Debug)]
pub struct Retained(BTreeMap<String, String>);

impl Deref for Retained {
    type Target = BTreeMap<String, String>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl Retained {
    /// Asks again and again for all that is retained, as somebody who comes new sees it, until it is as wanted.
    pub async fn until(port: u16, is_as_wanted: impl Fn(&Self) -> bool) -> Self {
        let began = Instant::now();
        loop {
            let retained = Self(Self::now(port).await);
            if is_as_wanted(&retained) {
                return retained;
            }
            assert!(began.elapsed() < Duration::from_secs(60), "{retained:?}");
        }
    }

    async fn now(port: u16) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        let (client, mut events) = AsyncClient::new(MqttOptions::new("asks", "127.0.0.1", port), 10);
        client.subscribe("#", QoS::AtLeastOnce).await.unwrap();
        let read = async {
            loop {
                if let Event::Incoming(Packet::Publish(publish)) = events.poll().await.unwrap()
                    && publish.retain
                {
                    found.insert(publish.topic, String::from_utf8(publish.payload.to_vec()).unwrap());
                }
            }
        };
        let _: Result<(), _> = tokio::time::timeout(Duration::from_millis(300), read).await;
        found
    }
}
