//! A real RTSP server (infrastructure/local/rtsp_server.py) that ends with the test, also when it panics.
#![allow(dead_code, reason = "each test program uses a part")]

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

pub const USER: &str = "watcher";
/// With characters that a URL has to encode.
pub const PASSWORD: &str = "s3cret/p@ss";
pub const PASSWORD_ENCODED: &str = "s3cret%2Fp%40ss";

/// A server that runs.
pub struct RtspServer {
    child: Child,
    pub port: u16,
}

impl RtspServer {
    /// Starts it on a free port; `None`, and a line that says so, where its packages aren't installed.
    pub fn start(auth: &str, media: &[&str]) -> Option<Self> {
        Self::start_with(&["--port", "0", "--auth", auth], media)
    }

    pub fn start_with(options: &[&str], media: &[&str]) -> Option<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../infrastructure/local/rtsp_server.py");
        let child = Command::new("/usr/bin/python3")
            .arg(script)
            .args(["--user", USER, "--password", PASSWORD, "--until-stdin-closes"])
            .args(options)
            .args(media)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let Ok(mut child) = child else {
            println!("skipped: no /usr/bin/python3 for the RTSP server");
            return None;
        };
        let mut line = String::new();
        let _ = BufReader::new(child.stdout.take().unwrap()).read_line(&mut line);
        let port = line.trim().strip_prefix("ready ").and_then(|port| port.parse().ok());
        // From here on it ends with this value.
        let server = Self { child, port: port.unwrap_or_default() };
        if port.is_none() {
            println!("skipped: the RTSP server doesn't start (make setup-tests installs its packages)");
            return None;
        }
        Some(server)
    }

    /// The URL of a stream, with the right credentials.
    pub fn url(&self, name: &str) -> String {
        format!("rtsp://{USER}:{PASSWORD_ENCODED}@127.0.0.1:{}/{name}", self.port)
    }

    /// What is shown of it.
    pub fn shown(&self, name: &str) -> String {
        format!("rtsp://127.0.0.1:{}/{name}", self.port)
    }

    /// Stops it in its tracks: connections stay, nothing is said any more.
    pub fn stall(&self) {
        self.signal("-STOP");
    }

    pub fn resume(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, name: &str) {
        assert!(Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap().success());
    }
}

impl Drop for RtspServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
