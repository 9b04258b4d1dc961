//! The search for the ONNX Runtime library.

use super::probe::{API_WANTED, probe};
use crate::{VisionError, VisionErrorKind};
use std::{
    env::consts::{DLL_PREFIX, DLL_SUFFIX},
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
};

/// An ONNX Runtime library of a version that can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundLibrary {
    /// The library's file, absolute.
    pub path: PathBuf,
    /// The version as the library gives it: `1.31.1`.
    pub version: String,
}

/// Names the variable that names the library; `ort` and Python tools know it too.
const VARIABLE: &str = "ORT_DYLIB_PATH";

/// The folder of the fetched library, below the workspace of a program that was built there.
const CACHE: &str = "data/cache/onnxruntime";

/// Finds the library. It is the first of these that is given or there:
///
/// 1. `configured` (flag or configuration), a file or a folder;
/// 2. `ORT_DYLIB_PATH`, a file or a folder;
/// 3. `lib/` beside the executable, then `../lib`;
/// 4. `data/cache/onnxruntime/` of the workspace whose `target/` the executable lies in;
/// 5. `libonnxruntime.so` wherever the loader looks.
///
/// It is never in the working folder: a library is code, and whoever can write the folder that one stands in could put
/// it there. So the loader's own search is left out where `LD_LIBRARY_PATH` sends it there (an empty or a relative
/// part).
///
/// # Errors
/// Returns `Runtime` where the library of 1 or 2 can't be used, or no place has one that can. It names each path, what
/// was found there, the version wanted and how to get it.
pub fn find_library(configured: Option<&Path>) -> Result<FoundLibrary, VisionError> {
    find_library_in(configured, &LibraryPlaces::of_this_process())
}

/// The places of the process that decide where a library is looked for.
#[derive(Debug, Clone, Default)]
pub(super) struct LibraryPlaces {
    variable: Option<OsString>,
    executable: Option<PathBuf>,
    /// Set where the loader's own search counts.
    loader: bool,
}

impl LibraryPlaces {
    fn of_this_process() -> Self {
        Self {
            variable: std::env::var_os(VARIABLE).filter(|value| !value.is_empty()),
            executable: std::env::current_exe().ok(),
            loader: !is_sent_to_working_folder(std::env::var_os("LD_LIBRARY_PATH").as_deref()),
        }
    }

    /// Returns the folders of 3 and 4, in order.
    fn folders(&self) -> Vec<PathBuf> {
        let mut folders = Vec::new();
        let beside = self.executable.as_deref().and_then(Path::parent);
        if let Some(beside) = beside {
            folders.push(beside.join("lib"));
            folders.extend(beside.parent().map(|above| above.join("lib")));
        }
        let target = beside.and_then(|beside| beside.ancestors().find(|folder| folder.ends_with("target")));
        folders.extend(target.and_then(Path::parent).map(|workspace| workspace.join(CACHE)));
        // Of a program whose place isn't known nothing is beside it.
        folders.retain(|folder| folder.is_absolute());
        folders
    }
}

/// Returns whether the loader would look into the folder that one stands in.
fn is_sent_to_working_folder(path: Option<&OsStr>) -> bool {
    path.is_some_and(|path| !path.is_empty() && std::env::split_paths(path).any(|part| !part.is_absolute()))
}

fn find_library_in(configured: Option<&Path>, places: &LibraryPlaces) -> Result<FoundLibrary, VisionError> {
    if let Some(path) = configured {
        return named(path, "the configured path");
    }
    if let Some(path) = &places.variable {
        return named(Path::new(path), VARIABLE);
    }
    let folders = places.folders();
    let mut refused = Vec::new();
    for path in folders.iter().flat_map(|folder| libraries_in(folder)) {
        match usable(&path) {
            Ok(found) => {
                for reason in &refused {
                    tracing::warn!(%reason, "passed over an ONNX Runtime library");
                }
                return Ok(found);
            }
            Err(found) => refused.push(format!("{}: {found}", path.display())),
        }
    }
    let bare = PathBuf::from(format!("{DLL_PREFIX}onnxruntime{DLL_SUFFIX}"));
    if places.loader {
        match probe(&bare) {
            Ok(found) => return Ok(FoundLibrary { path: found.path, version: found.version }),
            Err(found) => refused.push(format!("{} (the loader's search): {found}", bare.display())),
        }
    }
    let looked: Vec<String> = folders.iter().map(|folder| folder.display().to_string()).collect();
    Err(failed(&format!("looked in {}; {}", looked.join(", "), refused.join("; "))))
}

/// Returns a library that the user names: it is that one or an error, never another one.
fn named(path: &Path, by: &str) -> Result<FoundLibrary, VisionError> {
    let candidates = if path.is_dir() { libraries_in(path) } else { vec![path.to_owned()] };
    let mut refused = Vec::new();
    for candidate in &candidates {
        match usable(candidate) {
            Ok(found) => return Ok(found),
            Err(found) => refused.push(format!("{}: {found}", candidate.display())),
        }
    }
    if candidates.is_empty() {
        refused.push(format!("{}: found no {DLL_PREFIX}onnxruntime{DLL_SUFFIX} in this folder", path.display()));
    }
    Err(failed(&format!("{by} names {}", refused.join("; "))))
}

fn usable(path: &Path) -> Result<FoundLibrary, String> {
    let path = path.canonicalize().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => "found no such file".to_owned(),
        _ => format!("found a file that can't be read ({error})"),
    })?;
    let found = probe(&path)?;
    Ok(FoundLibrary { path, version: found.version })
}

fn failed(found: &str) -> VisionError {
    VisionError::new(
        VisionErrorKind::Runtime,
        format!(
            "load ONNX Runtime: {found}; wanted version 1.{API_WANTED} or later (API {API_WANTED}): \
             `make setup` puts it in {CACHE}/, or name one with {VARIABLE}"
        ),
    )
}

/// Returns the files of a folder that are named like the library, with or without a version, the highest version first.
fn libraries_in(folder: &Path) -> Vec<PathBuf> {
    let stem = format!("{DLL_PREFIX}onnxruntime");
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut found: Vec<(Vec<u32>, PathBuf)> = entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            // The providers' own libraries go on with an underscore.
            let rest = name.strip_prefix(&stem).filter(|rest| rest.starts_with('.'))?;
            let is_library = rest.starts_with(DLL_SUFFIX) || rest.ends_with(DLL_SUFFIX);
            let version = rest.split('.').filter_map(|part| part.parse().ok()).collect();
            is_library.then(|| (version, entry.path()))
        })
        .collect();
    found.sort_by(|a, b| b.cmp(a));
    found.into_iter().map(|(_, path)| path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, process::Command};

    /// A shared library from C, or a line that says why there is none.
    fn compiled(folder: &Path, name: &str, code: &str) -> Option<PathBuf> {
        let source = folder.join(format!("{name}.c"));
        let library = folder.join(name);
        fs::write(&source, code).unwrap();
        match Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source).status() {
            Ok(status) if status.success() => Some(library),
            _ => {
                eprintln!("skipped: no C compiler to build a fake library with");
                None
            }
        }
    }

    fn fake(version: &str, api: &str) -> String {
        format!(
            "static int table; static const void *api(unsigned v) {{ (void)&table; return {api}; }}
             static const char *version(void) {{ return {version}; }}
             static const struct {{ const void *(*api)(unsigned); const char *(*version)(void); }} base = {{ api, version }};
             const void *OrtGetApiBase(void) {{ return &base; }}"
        )
    }

    fn refusal(path: &Path) -> String {
        let error = find_library_in(Some(path), &LibraryPlaces::default()).unwrap_err();
        assert_eq!(error.kind(), VisionErrorKind::Runtime);
        let text = error.to_string();
        for wanted in [path.display().to_string().as_str(), "1.31 or later (API 31)", "make setup"] {
            assert!(text.contains(wanted), "{text} should name {wanted}");
        }
        text
    }

    #[test]
    fn wrong_libraries_are_refused_with_what_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let cases = [
            ("old.so", fake("\"1.20.0\"", "0"), r#"found version "1.20.0""#),
            ("lying.so", fake("\"1.31.0\"", "0"), "without API 31"),
            ("other.so", fake("\"banana\"", "&table"), r#"found version "banana""#),
            ("two.so", fake("\"2.0.0\"", "&table"), r#"found version "2.0.0""#),
            ("mute.so", fake("0", "&table"), "without a version"),
            ("null.so", "const void *OrtGetApiBase(void) { return 0; }".to_owned(), "OrtGetApiBase gives nothing"),
            ("plain.so", "int nothing;".to_owned(), "without OrtGetApiBase"),
        ];
        for (name, code, wanted) in cases {
            let Some(path) = compiled(folder.path(), name, &code) else { return };
            let text = refusal(&path);
            assert!(text.contains(wanted), "{text} should name {wanted}");
        }
    }

    #[test]
    fn files_that_are_no_library_are_refused_before_the_loader_sees_them() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("missing.so");
        assert!(refusal(&missing).contains("no such file"));
        assert!(refusal(folder.path()).contains("no libonnxruntime.so in this folder"));
        let text = folder.path().join("text.so");
        fs::write(&text, "hello").unwrap();
        assert!(refusal(&text).contains("5 bytes that isn't a shared library"));
        let empty = folder.path().join("empty.so");
        fs::write(&empty, "").unwrap();
        assert!(refusal(&empty).contains("0 bytes"));
        let stub = folder.path().join("stub.so");
        fs::write(&stub, b"\x7fELF\x02\x01").unwrap();
        assert!(refusal(&stub).contains("the loader refuses"));
    }

    #[test]
    fn a_download_that_broke_off_is_refused_and_kills_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let Some(whole) = compiled(folder.path(), "whole.so", &fake("\"1.31.0\"", "&table")) else { return };
        let bytes = fs::read(whole).unwrap();
        let half = folder.path().join("half.so");
        fs::write(&half, &bytes[..bytes.len() / 4]).unwrap();
        assert!(refusal(&half).contains("breaks off"));
    }

    #[test]
    fn places_are_searched_in_order_and_a_broken_one_is_passed_over() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        let bin = root.join("work/target/debug");
        let folders = [bin.join("lib"), root.join("work/target/lib"), root.join("work").join(CACHE)];
        let places = LibraryPlaces { executable: Some(bin.join("rva")), ..Default::default() };
        assert_eq!(places.folders(), folders);
        let nothing = find_library_in(None, &places).unwrap_err().to_string();
        assert!(folders.iter().all(|folder| nothing.contains(&folder.display().to_string())), "{nothing}");
        for (index, folder) in folders.iter().enumerate().rev() {
            fs::create_dir_all(folder).unwrap();
            let name = format!("libonnxruntime.so.1.31.{index}");
            let code = fake(&format!("\"1.31.{index}\""), "&table");
            let Some(path) = compiled(folder, &name, &code) else { return };
            let found = find_library_in(None, &places).unwrap();
            assert_eq!(found, FoundLibrary { path, version: format!("1.31.{index}") });
        }
        let first = folders[0].join("libonnxruntime.so.1.31.0");
        fs::remove_file(&first).unwrap();
        fs::write(&first, "damaged").unwrap();
        assert_eq!(find_library_in(None, &places).unwrap().version, "1.31.1");
        let variable = LibraryPlaces { variable: Some(first.clone().into()), ..places.clone() };
        assert!(find_library_in(None, &variable).unwrap_err().to_string().contains(VARIABLE));
        let chosen = find_library_in(Some(&folders[2]), &variable).unwrap();
        assert_eq!(chosen.version, "1.31.2", "what is configured wins over the variable");
    }

    #[test]
    fn the_working_folder_is_no_place_for_code() {
        for (path, wanted) in [
            ("", false),
            ("/opt/lib:/usr/lib", false),
            ("/opt/lib:", true),
            (":/opt/lib", true),
            ("lib", true),
            ("/a:.:/b", true),
        ] {
            assert_eq!(is_sent_to_working_folder(Some(OsStr::new(path))), wanted, "{path:?}");
        }
        assert!(!is_sent_to_working_folder(None));
        let here = LibraryPlaces { executable: Some("rva".into()), ..Default::default() };
        assert_eq!(here.folders(), Vec::<PathBuf>::new(), "a program without a place has nothing beside it");
        let installed = LibraryPlaces { executable: Some("/opt/rva/bin/rva".into()), ..Default::default() };
        assert_eq!(installed.folders(), [Path::new("/opt/rva/bin/lib"), Path::new("/opt/rva/lib")]);
    }

    #[test]
    fn of_several_versions_in_a_folder_the_highest_comes_first() {
        let folder = tempfile::tempdir().unwrap();
        let names = [
            "libonnxruntime.so.1.9.0",
            "libonnxruntime.so.1.31.1",
            "libonnxruntime.so",
            "libonnxruntime.so.1",
            "libonnxruntime_providers_shared.so",
            "libonnxruntime.a",
            "notes.txt",
        ];
        for name in names {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let found: Vec<_> =
            libraries_in(folder.path()).iter().map(|path| path.file_name().unwrap().to_owned()).collect();
        assert_eq!(
            found,
            ["libonnxruntime.so.1.31.1", "libonnxruntime.so.1.9.0", "libonnxruntime.so.1", "libonnxruntime.so"]
        );
    }
}
