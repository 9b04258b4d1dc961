//! Folders, files and programs that tests need, and the line that says that one of them isn't there.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// Returns the checkout's root.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Makes a folder in memory where there is one: for tests that aren't about what a power loss leaves.
pub fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// Returns a file of the material beside the checkout (`../shared`, or the folder in `RVA_SHARED`), or prints that it
/// is missing.
pub fn shared(path: &str) -> Option<PathBuf> {
    let root = std::env::var_os("RVA_SHARED").map_or_else(|| repository().join("../shared"), PathBuf::from);
    let found = Some(root.join(path)).filter(|path| path.exists());
    if found.is_none() {
        eprintln!("skipped: no {path} in the shared folder");
    }
    found
}

/// Returns the demo's footage, or prints that it is missing.
pub fn vtest() -> Option<PathBuf> {
    let candidates = [
        std::env::var_os("RVA_VTEST").map(PathBuf::from),
        Some(repository().join("data/cache/vtest.avi")),
        Some(PathBuf::from("/usr/share/doc/opencv-doc/examples/data/vtest.avi")),
    ];
    let found = candidates.into_iter().flatten().find(|path| path.is_file());
    if found.is_none() {
        println!("skipped: vtest.avi not found");
    }
    found
}

/// Returns a Python that has these packages (that of the checkout's `.venv`, or `RVA_PYTHON`), or prints that there is
/// none.
pub fn python_with(packages: &[&str]) -> Option<PathBuf> {
    let python = std::env::var_os("RVA_PYTHON").map_or_else(|| repository().join(".venv/bin/python"), PathBuf::from);
    let import = format!("import {}", packages.join(", "));
    let found = Command::new(&python).args(["-c", &import]).output();
    if found.is_ok_and(|output| output.status.success()) {
        return Some(python);
    }
    eprintln!("skipped: {} has no {} (make test installs it)", python.display(), packages[0]);
    None
}

/// Runs ffmpeg; returns false, and prints that it is missing, where there is none.
///
/// # Panics
/// Panics where it fails.
pub fn ffmpeg(arguments: &[&str]) -> bool {
    match Command::new("ffmpeg").args(["-v", "error", "-y"]).args(arguments).status() {
        Ok(status) => {
            assert!(status.success(), "ffmpeg {arguments:?}");
            true
        }
        Err(_) => {
            eprintln!("skipped: ffmpeg not found");
            false
        }
    }
}
