//! Another engine: pyiceberg on the catalog of a data folder.
#![allow(dead_code, clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::Command;

/// Python with pyiceberg.
pub struct Engine {
    python: PathBuf,
}

impl Engine {
    /// Finds it, or prints that there is none.
    pub fn find() -> Option<Self> {
        let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.venv/bin/python");
        let python = std::env::var_os("RVA_PYTHON").map_or(own, PathBuf::from);
        let is_there = Command::new(&python).args(["-c", "import pyiceberg, pyarrow"]).output();
        if is_there.is_ok_and(|output| output.status.success()) {
            return Some(Self { python });
        }
        eprintln!("skipped: {} has no pyiceberg (make test installs it)", python.display());
        None
    }

    /// Does something, and returns what it prints as JSON.
    pub fn does(&self, folder: &Path, arguments: &[&str]) -> serde_json::Value {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/engine.py");
        let folder = folder.canonicalize().unwrap();
        let output = Command::new(&self.python).arg(script).arg(folder).args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// The same where a text is printed.
    pub fn tells(&self, folder: &Path, arguments: &[&str]) -> String {
        self.does(folder, arguments).as_str().unwrap().to_owned()
    }
}
