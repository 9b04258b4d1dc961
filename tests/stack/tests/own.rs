//! The stack's own promises: it stops only what it started, and two of them run side by side.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use rva_stack::{command, read_state};
use std::{
    io::{Read, Write},
    net::TcpStream,
    os::unix::process::CommandExt,
    process::{Child, Command},
};

/// A process that nobody may stop.
struct Bystander(Child);

impl Bystander {
    fn start() -> Self {
        Self(Command::new("sleep").arg("600").process_group(0).spawn().unwrap())
    }

    fn lives(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for Bystander {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn write_state(folder: &std::path::Path, pid: u32, start_time: u64) {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let process = serde_json::json!({"pid": pid, "start_time": start_time, "boot": boot.trim()});
    let state = serde_json::json!({
        "version": 1,
        "ports": {"pulsar": 1, "pulsar_admin": 2, "minio": 3, "catalog": 4},
        "secrets": {"s3_access_key": "a", "s3_secret_key": "b"},
        "servers": {"minio": process},
    });
    std::fs::write(folder.join("state.json"), state.to_string()).unwrap();
}

fn start_time(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(')').unwrap().1.split_whitespace().nth(19).unwrap().parse().unwrap()
}

#[test]
fn a_process_that_got_the_number_of_a_dead_server_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let mut other = Bystander::start();
    let pid = other.0.id();
    write_state(folder.path(), pid, start_time(pid) + 1);
    for order in [&["down"][..], &["kill", "minio"]] {
        write_state(folder.path(), pid, start_time(pid) + 1);
        let (well, said) = command(folder.path(), order);
        assert!(well && said.contains("wasn't running"), "{said}");
        assert!(other.lives());
    }
    // The same with the right start time is ours, so the check above can fail.
    write_state(folder.path(), pid, start_time(pid));
    let (well, said) = command(folder.path(), &["kill", "minio"]);
    assert!(well && said.contains("killed"), "{said}");
    assert!(!other.lives());
}

#[test]
fn orders_that_make_no_sense_say_what_is_wanted() {
    let folder = tempfile::tempdir().unwrap();
    let (well, said) = command(folder.path(), &["kill", "pulsar"]);
    assert!(!well && said.contains("found no stack"), "{said}");
    let (well, _) = command(folder.path(), &["down"]);
    assert!(well, "nothing to stop is no error");
    write_state(folder.path(), 1, 1);
    let (well, said) = command(folder.path(), &["kill", "kafka"]);
    assert!(!well && said.contains("found server 'kafka', wanted one of pulsar, minio, catalog"), "{said}");
    std::fs::write(folder.path().join("state.json"), r#"{"version": 99}"#).unwrap();
    let (well, said) = command(folder.path(), &["up"]);
    assert!(!well && said.contains("found version 99, wanted 1"), "{said}");
}

fn answers(environment: &serde_json::Value, name: &str, path: &str) -> bool {
    let address = environment[name].as_str().unwrap().rsplit_once("//").unwrap().1;
    let Ok(mut stream) = TcpStream::connect(address) else { return false };
    write!(stream, "GET {path} HTTP/1.0\r\nhost: {address}\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.starts_with("HTTP/1.1 200") || answer.starts_with("HTTP/1.0 200")
}

#[test]
fn a_second_stack_runs_beside_the_first_and_stopping_it_leaves_the_first() {
    let Some(first) = rva_stack::stack() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (well, said) = command(folder.path(), &["up"]);
    assert!(well, "{said}");
    let (one, two) = (read_state(first.folder()), read_state(folder.path()));
    let health = [
        ("PULSAR_ADMIN_URL", "/admin/v2/brokers/health"),
        ("S3_ENDPOINT", "/minio/health/ready"),
        ("ICEBERG_CATALOG_URI", "/v1/config"),
    ];
    for (name, path) in health {
        assert_ne!(one["environment"][name], two["environment"][name]);
        assert!(answers(&one["environment"], name, path) && answers(&two["environment"], name, path), "{name}");
    }
    let again = command(folder.path(), &["up"]);
    assert!(again.0 && again.1.matches("was running").count() == 3, "{}", again.1);
    let (well, said) = command(folder.path(), &["down"]);
    assert!(well && !said.contains("wasn't running"), "{said}");
    assert!(folder.path().join("logs/pulsar.log").exists(), "logs stay to be read");
    for (name, path) in health {
        assert!(answers(&one["environment"], name, path), "the first stack's {name} is gone");
        assert!(!answers(&two["environment"], name, path), "the second stack's {name} still answers");
    }
}
