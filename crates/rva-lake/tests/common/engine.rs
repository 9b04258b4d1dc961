//! Another engine: pyiceberg on the catalog of a data folder.
#![allow(dead_code, clippy::unwrap_used, reason = "each test program uses a part; a panic is how a test fails")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Python with pyiceberg.
pub struct Engine {
    python: PathBuf,
}

impl Engine {
    /// Finds it, or prints that there is none.
    pub fn find() -> Option<Self> {
        rva_testkit::python_with(&["pyiceberg", "pyarrow"]).map(|python| Self { python })
    }

    /// Does something, and returns what it prints as JSON.
    pub fn does(&self, folder: &Path, arguments: &[&str]) -> serde_json::Value {
        let folder = folder.canonicalize().unwrap();
        self.does_at(folder.to_str().unwrap(), &BTreeMap::new(), arguments)
    }

    /// The same at a REST catalog, with the contract's environment.
    pub fn does_at(
        &self,
        place: &str,
        environment: &BTreeMap<String, String>,
        arguments: &[&str],
    ) -> serde_json::Value {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/engine.py");
        let mut command = Command::new(&self.python);
        let output = command.arg(script).arg(place).args(arguments).envs(environment).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// The same where a text is printed.
    pub fn tells(&self, folder: &Path, arguments: &[&str]) -> String {
        self.does(folder, arguments).as_str().unwrap().to_owned()
    }
}
