//! The native stack (infrastructure/stack) for tests: where its servers listen, and how to kill and start them.
//!
//! A test begins with `let Some(stack) = rva_stack::stack() else { return };`. `RVA_STACK` names the state folder; a
//! stack that isn't up there is started. Without the variable the test is skipped, and says so.

pub mod proxy;
pub mod raw;

use serde_json::Value;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

/// A stack that is up.
pub struct Stack {
    folder: PathBuf,
    environment: BTreeMap<String, String>,
    turns: RwLock<()>,
}

/// The stack that `RVA_STACK` names, started if it isn't up; without it prints the skip and answers nothing.
///
/// # Panics
/// The stack can't be started: the servers' last words are in the message.
pub fn stack() -> Option<&'static Stack> {
    static STACK: OnceLock<Option<Stack>> = OnceLock::new();
    let stack = STACK.get_or_init(|| {
        let folder = std::env::var_os("RVA_STACK").filter(|folder| !folder.is_empty())?;
        let folder = root().join(folder);
        Some(Stack::up(&folder))
    });
    if stack.is_none() {
        println!("skipped: no stack (RVA_STACK names no state folder)");
    }
    stack.as_ref()
}

/// The checkout.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap_or(Path::new(".")).to_owned()
}

/// Runs `stack.py --state FOLDER ARGUMENTS`; whether it succeeded, and what it said.
///
/// # Panics
/// There is no `python3`.
pub fn command(folder: &Path, arguments: &[&str]) -> (bool, String) {
    let script = root().join("infrastructure/stack/stack.py");
    let mut command = Command::new("python3");
    let output = command.arg(script).arg("--state").arg(folder).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("python3 didn't start: {error}"));
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// The state file of a folder; null where there is none.
pub fn read_state(folder: &Path) -> Value {
    let text = std::fs::read_to_string(folder.join("state.json")).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

fn environment(folder: &Path) -> BTreeMap<String, String> {
    let state = read_state(folder);
    let pairs = state["environment"].as_object().into_iter().flatten();
    pairs.map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().into())).collect()
}

impl Stack {
    /// Brings up the stack of a state folder, or finds it up.
    ///
    /// # Panics
    /// It can't be started.
    pub fn up(folder: &Path) -> Self {
        let (well, said) = command(folder, &["up"]);
        assert!(well, "the stack in {} didn't start:\n{said}", folder.display());
        Self { folder: folder.to_owned(), environment: environment(folder), turns: RwLock::new(()) }
    }

    /// Its state folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The contract's environment (`PULSAR_SERVICE_URL`, `S3_ENDPOINT`, …) with this stack's values.
    pub fn environment(&self) -> &BTreeMap<String, String> {
        &self.environment
    }

    /// One of them.
    ///
    /// # Panics
    /// The stack has no such name.
    pub fn get(&self, name: &str) -> &str {
        let found = self.environment.get(name);
        found.unwrap_or_else(|| panic!("the stack has no {name}, it has {:?}", self.environment.keys()))
    }

    /// The environment of the broker with tokens, rights and TLS (`PULSAR_SECURE_…`), which is started if it isn't up.
    ///
    /// # Panics
    /// It doesn't start.
    pub fn secure_pulsar(&self) -> BTreeMap<String, String> {
        self.optional("pulsar-secure")
    }

    /// The environment with an optional server (`nessie`, `nessie-secure` with `keycloak`), which is fetched and started
    /// if it isn't up.
    ///
    /// # Panics
    /// It doesn't start.
    pub fn optional(&self, server: &str) -> BTreeMap<String, String> {
        self.start(server);
        environment(&self.folder)
    }

    /// What `stack.py ORDER` prints.
    ///
    /// # Panics
    /// It fails.
    pub fn ask(&self, order: &str) -> String {
        let script = root().join("infrastructure/stack/stack.py");
        let mut command = Command::new("python3");
        let output = command.arg(script).arg("--state").arg(&self.folder).arg(order).output();
        let output = output.unwrap_or_else(|error| panic!("python3 didn't start: {error}"));
        let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "stack.py {order} failed: {out}{error}");
        out.into_owned()
    }

    /// For a test that works with the servers as they are; others may do so too.
    pub async fn shared(&self) -> RwLockReadGuard<'_, ()> {
        self.turns.read().await
    }

    /// For a test that kills or stops servers: no other test of this program runs meanwhile.
    pub async fn alone(&self) -> RwLockWriteGuard<'_, ()> {
        self.turns.write().await
    }

    /// `kill -9` of a server.
    ///
    /// # Panics
    /// It can't be killed.
    pub fn kill(&self, server: &str) {
        let (well, said) = command(&self.folder, &["kill", server]);
        assert!(well && said.contains("killed"), "{server} wasn't killed: {said}");
    }

    /// Starts a server again on its data and its port, and returns when it answers.
    ///
    /// # Panics
    /// It doesn't start.
    pub fn start(&self, server: &str) {
        let (well, said) = command(&self.folder, &["start", server]);
        assert!(well, "{server} didn't start:\n{said}");
    }
}
