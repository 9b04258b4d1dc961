//! A service as a program of its own, with all that it says in files.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// A running service, killed when it is dropped.
pub struct Service {
    /// The process.
    pub child: Child,
    folder: PathBuf,
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Service {
    /// Starts it in a folder, without the variables of whoever runs the test that begin with one of `ours`, and with
    /// everything logged; what it says goes to `stderr` and `stdout` there. The command's own variables stay.
    pub fn start(folder: &Path, mut command: Command, ours: &[&str]) -> Self {
        let own: Vec<_> = command.get_envs().map(|(name, _)| name.to_owned()).collect();
        for (name, _) in std::env::vars_os() {
            if ours.iter().any(|ours| name.to_string_lossy().starts_with(ours)) && !own.contains(&name) {
                command.env_remove(name);
            }
        }
        let file = |name: &str| Stdio::from(fs::File::create(folder.join(name)).unwrap());
        command.current_dir(folder).stderr(file("stderr")).stdout(file("stdout"));
        command.env("RUST_LOG", "trace,rva=trace").env("RUST_BACKTRACE", "1");
        Self { child: command.spawn().unwrap(), folder: folder.to_owned() }
    }

    /// Returns what it has logged.
    pub fn said(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.folder.join("stderr")).unwrap()).into_owned()
    }

    /// Returns the whole answer of its health server; `None` while it doesn't answer.
    pub fn get(&self, path: &str) -> Option<String> {
        let said = self.said();
        let address: String =
            said.split_once("on http://")?.1.chars().take_while(|c| c.is_ascii_digit() || ".:".contains(*c)).collect();
        let mut stream = TcpStream::connect(address).ok()?;
        stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }
}

/// Returns every file below a folder.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}
