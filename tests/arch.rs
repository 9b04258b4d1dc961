//! The drawings of docs/architecture.md against the code: layers, forbidden dependencies, sizes of files.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod circles;

use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Pure crates and all that their `[dependencies]` may name.
const PURE: &[(&str, &[&str])] = &[
    ("rva-types", &["bytes", "bytestring", "chrono", "serde", "serde_json", "thiserror", "uuid"]),
    ("rva-track", &["rva-types", "strsim", "thiserror"]),
    ("rva-analytics", &["rva-types", "serde", "serde_json", "thiserror"]),
    ("rva-report", &["base64", "chrono", "chrono-tz", "imagesize", "serde", "serde_json", "sha2", "thiserror"]),
    ("rva-eval", &["rva-types", "rva-analytics", "thiserror", "pathfinding", "serde", "serde_json"]),
];

/// Layers from the bottom. A crate may name crates of lower layers only.
const LAYERS: &[&[&str]] = &[
    &["rva-types"],
    &["rva-track", "rva-analytics", "rva-report"],
    &["rva-eval"],
    &["rva-bus", "rva-lake", "rva-vision"],
    &["rva-service"],
    &["rva-notify"],
    &["rva-detector", "rva-ingest", "rva-refine"],
    &["rva"],
];

/// Crates that only tests name.
const FOR_TESTS: &[&str] = &["rva-tests", "rva-stack", "rva-fuzz", "rva-shop", "rva-testkit"];

/// Binaries that a release is made of, and the features with which they are built.
const RELEASED: &[(&str, &str)] = &[
    ("rva", "pulsar,camera-motion"),
    ("rva-detector", "pulsar,camera-motion"),
    ("rva-ingest", "pulsar"),
    ("rva-refine", ""),
];

/// What must not be in the tree of normal dependencies of a crate.
const FORBIDDEN: &[(&str, &[&str])] = &[
    ("rva-ingest", &["opencv", "ort", "ort-sys", "rva-vision", "datafusion", "opendal"]),
    ("rva-refine", &["opencv", "ort", "ort-sys", "rva-vision", "rva-bus", "datafusion", "opendal"]),
    ("rva-detector", &["iceberg", "arrow", "arrow-array", "parquet", "rva-lake", "datafusion", "opendal"]),
    ("rva", &["opendal", "iceberg-datafusion"]),
];

/// What a person sees first.
const TOP_LEVEL: &[&str] = &[
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "Makefile",
    "README.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "crates",
    "data",
    "docs",
    "tests",
    "docker-compose.yml",
    "flink-jobs",
    "infrastructure",
    "rust-toolchain.toml",
    "target",
];

const FILE_LINES_MAX: usize = 600;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO")).args(arguments).current_dir(root()).output().unwrap();
    assert!(output.status.success(), "cargo {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Crates of ours, as `cargo metadata` has them.
fn packages() -> Vec<Value> {
    let metadata = cargo(&["metadata", "--format-version", "1", "--no-deps", "--locked", "--offline"]);
    let metadata: Value = serde_json::from_str(&metadata).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}

/// Names of normal dependencies by crate of ours.
fn own_dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let name = |value: &Value| value["name"].as_str().unwrap().to_owned();
    let packages = packages();
    let of_package = packages.iter().map(|package| {
        let normal = package["dependencies"].as_array().unwrap().iter().filter(|d| d["kind"].is_null());
        (name(package), normal.map(name).collect())
    });
    of_package.collect()
}

/// Name and version of every crate below one of ours, without build and test dependencies.
fn tree(package: &str) -> BTreeSet<(String, String)> {
    let arguments =
        ["tree", "-p", package, "-e", "normal", "--prefix", "none", "--locked", "--offline", "--format", "{p}"];
    let lines = cargo(&arguments);
    let parts = lines.lines().filter_map(|line| line.split_once(' '));
    parts.map(|(name, rest)| (name.to_owned(), rest.split(' ').next().unwrap_or_default().to_owned())).collect()
}

#[test]
fn pure_crates_name_only_what_their_allow_list_has() {
    let dependencies = own_dependencies();
    for (package, allowed) in PURE {
        let beyond: Vec<_> = dependencies[*package].iter().filter(|name| !allowed.contains(&name.as_str())).collect();
        assert!(beyond.is_empty(), "{package} names {beyond:?}, allowed are {allowed:?}");
        let is_used = |name: &str| dependencies[*package].iter().any(|found| found == name);
        let unused: Vec<_> = allowed.iter().filter(|name| !is_used(name)).collect();
        assert!(unused.is_empty(), "{package} may name {unused:?} and doesn't: take it off the list");
    }
}

#[test]
fn arrows_point_down() {
    let layer = |name: &str| LAYERS.iter().position(|names| names.contains(&name));
    for (package, dependencies) in own_dependencies() {
        if FOR_TESTS.contains(&package.as_str()) {
            continue;
        }
        let from = layer(&package).unwrap_or_else(|| panic!("{package} has no layer in the drawing"));
        for name in dependencies.iter().filter(|name| name.starts_with("rva")) {
            let to = layer(name).unwrap_or_else(|| panic!("{name} has no layer in the drawing"));
            assert!(to < from, "{package} (layer {from}) names {name} (layer {to})");
        }
    }
}

#[test]
fn services_build_without_what_they_do_not_need() {
    for (package, forbidden) in FORBIDDEN {
        let names: BTreeSet<String> = tree(package).into_iter().map(|(name, _)| name).collect();
        let found: Vec<_> = forbidden.iter().filter(|name| names.contains(**name)).collect();
        assert!(found.is_empty(), "{package} reaches {found:?}");
        assert!(names.contains("tokio"), "the tree of {package} looks empty: {names:?}");
    }
}

#[test]
fn no_release_binary_holds_fakes_or_a_rule_that_can_be_broken() {
    let ours = |package: &str, features: &str| -> Vec<String> {
        let arguments =
            ["tree", "-p", package, "-e", "normal", "--prefix", "none", "--locked", "--offline", "-f", "{p} [{f}]"];
        let lines = cargo(&[&arguments[..], &["--features", features]].concat());
        lines.lines().filter(|line| line.starts_with("rva")).map(str::to_owned).collect()
    };
    let is_unwanted = |line: &String| {
        let name = line.split(' ').next().unwrap_or_default();
        line.contains("mutants") || FOR_TESTS.contains(&name)
    };
    for (package, features) in RELEASED {
        let ours = ours(package, features);
        assert!(ours.iter().any(|line| line.starts_with("rva-types v")), "the tree of {package} looks empty: {ours:?}");
        let found: Vec<_> = ours.iter().filter(|line| is_unwanted(line)).collect();
        assert!(found.is_empty(), "{package} holds {found:?}");
    }
    assert!(ours("rva-ingest", "mutants").iter().any(is_unwanted), "the question can be answered with yes");
}

/// A test whose features aren't asked for is left out without a word.
#[test]
fn every_test_that_requires_a_feature_is_built_by_make_test() {
    let script = fs::read_to_string(root().join("infrastructure/local/environment.sh")).unwrap();
    let asked: BTreeSet<&str> =
        script.lines().find_map(|line| line.strip_prefix("FEATURES=")).unwrap().split(',').collect();
    let mut required = BTreeSet::new();
    for package in packages() {
        for target in package["targets"].as_array().unwrap().iter().filter(|target| target["kind"][0] == "test") {
            for feature in target["required-features"].as_array().into_iter().flatten() {
                required.insert(format!("{}/{}", package["name"].as_str().unwrap(), feature.as_str().unwrap()));
            }
        }
    }
    assert!(required.contains("rva-ingest/mutants"), "{required:?}");
    let missing: Vec<_> = required.iter().filter(|feature| !asked.contains(feature.as_str())).collect();
    assert!(missing.is_empty(), "FEATURES of environment.sh lacks {missing:?}");
}

/// Of a crate that names itself in `[dev-dependencies]`, `PACKAGE/pulsar` would be that dependency's feature alone.
#[test]
fn pulsar_that_is_asked_for_by_the_packages_name_gets_in() {
    for package in ["rva", "rva-detector", "rva-ingest"] {
        let feature = format!("{package}/pulsar");
        let arguments = ["tree", "-p", package, "-e", "normal", "--prefix", "none", "--locked", "--offline"];
        let lines = cargo(&[&arguments[..], &["--features", &feature]].concat());
        assert!(lines.lines().any(|line| line.starts_with("pulsar v")), "{feature} leaves Pulsar out");
    }
}

#[test]
fn there_is_one_arrow_one_parquet_and_one_object_store() {
    let all = tree("rva");
    for name in ["arrow-array", "arrow-schema", "parquet", "object_store", "iceberg"] {
        let versions: BTreeSet<_> = all.iter().filter(|(n, _)| n == name).map(|(_, version)| version).collect();
        assert_eq!(versions.len(), 1, "{name}: {versions:?}");
    }
}

#[test]
fn a_role_is_wired_by_its_own_crate_alone() {
    // What wires a role, and the one crate that may.
    let wirings = [
        ("run_ingest(", "rva-ingest"),
        ("IngestLease::", "rva-ingest"),
        ("Maintaining::start(", "rva-ingest"),
        ("Supervisor::new(", "rva-detector"),
        ("watch_cameras(", "rva-detector"),
        ("run_refine(", "rva-refine"),
        ("Notifying::start(tables", "rva-refine"),
    ];
    let mut files = Vec::new();
    sources(&root().join("crates"), &mut files);
    let product = files.iter().filter(|path| path.components().any(|part| part.as_os_str() == "src"));
    let mut seen = BTreeSet::new();
    for path in product {
        let text = fs::read_to_string(path).unwrap();
        for (wiring, owner) in wirings.iter().filter(|(wiring, _)| text.contains(wiring)) {
            let is_program = path.file_name().is_some_and(|name| name == "main.rs");
            let is_owner = path.starts_with(root().join("crates").join(owner)) && !is_program;
            assert!(is_owner, "{}: found {wiring}, wanted the host of {owner} (docs/architecture.md)", path.display());
            seen.insert(wiring);
        }
    }
    assert_eq!(seen.len(), wirings.len(), "found only {seen:?}: the others have other names now");
}

#[test]
fn the_top_level_is_what_the_drawing_says() {
    let listed = fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let unknown: Vec<_> = listed.filter(|name| !name.starts_with('.') && !TOP_LEVEL.contains(&name.as_str())).collect();
    assert!(unknown.is_empty(), "found {unknown:?} at the top level, allowed are {TOP_LEVEL:?}");
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let mut found = Vec::new();
    for crate_folder in fs::read_dir(root().join("crates")).unwrap().map(|entry| entry.unwrap().path()) {
        let (src, mut files) = (crate_folder.join("src"), Vec::new());
        sources(&src, &mut files);
        let name = crate_folder.file_name().unwrap().to_string_lossy().into_owned();
        found.extend(circles::circles(&src, &files).into_iter().map(|circle| format!("{name}: {circle}")));
    }
    assert!(found.is_empty(), "wanted no circle, found {found:#?}");
}

#[test]
fn no_file_becomes_a_place() {
    let mut files = Vec::new();
    sources(&root().join("crates"), &mut files);
    assert!(files.len() > 20, "found only {} source files", files.len());
    let long: Vec<_> = files
        .iter()
        .map(|path| (fs::read_to_string(path).unwrap().lines().count(), path))
        .filter(|(lines, _)| *lines > FILE_LINES_MAX)
        .collect();
    assert!(long.is_empty(), "longer than {FILE_LINES_MAX} lines: {long:?}");
}

#[test]
fn the_unwrap_of_product_code_stays_with_the_tests() {
    // clippy::unwrap_used warns, and CI makes warnings errors; a crate that drops the workspace's lints would slip through.
    for entry in fs::read_dir(root().join("crates")).unwrap() {
        let folder = entry.unwrap().path();
        // Outside of the workspace, as what it stands in for is: nothing but another crate's names.
        if folder.ends_with("libsqlite3-sys") {
            let source = fs::read_to_string(folder.join("src/lib.rs")).unwrap();
            let code: Vec<_> = source.lines().filter(|line| !line.is_empty() && !line.starts_with("//")).collect();
            assert_eq!(code, ["pub use newer::*;"], "{}", folder.display());
            continue;
        }
        let manifest = folder.join("Cargo.toml");
        let text = fs::read_to_string(&manifest).unwrap();
        assert!(
            text.contains("[lints]\nworkspace = true"),
            "{} doesn't take the workspace's lints",
            manifest.display()
        );
    }
}
