//! What everything is made of: sums of what is fetched, and the bill of materials.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use serde_json::Value;
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Module and version of each line of a `go.mod` that requires one.
fn required(modules: &str) -> Vec<(String, String)> {
    let lines = modules.lines().filter_map(|line| line.trim().strip_prefix("require ").or(Some(line.trim())));
    let pairs = lines.filter_map(|line| {
        let mut words = line.split_whitespace();
        let (module, version) = (words.next()?, words.next()?);
        (module.contains('.') && version.starts_with('v')).then(|| (module.to_owned(), version.to_owned()))
    });
    pairs.collect()
}

#[test]
fn every_go_module_has_its_sum_and_both_builds_go_by_it() {
    for name in ["minio", "mc"] {
        let sums = read(&format!("infrastructure/stack/go/{name}.sum"));
        let modules = required(&read(&format!("infrastructure/stack/go/{name}.mod")));
        assert!(modules.len() > 20, "{name}: found {} modules", modules.len());
        assert!(!read(&format!("infrastructure/stack/go/{name}.mod")).contains("replace "), "{name}");
        for (module, version) in modules {
            let line = format!("{module} {version} h1:");
            assert!(sums.lines().any(|sum| sum.starts_with(&line)), "{name}: found no sum of {module} {version}");
        }
    }
    let image = read("infrastructure/docker/minio.Dockerfile");
    assert!(image.contains("-mod=readonly") && image.contains("-modfile=\"/sums/"), "{image}");
    let native = read("infrastructure/stack/fetch.py");
    assert!(native.contains("-mod=readonly") && native.contains("-modfile={sums}"));
}

/// What of a build's output is a package: `name v1.2.3`.
fn in_the_programs() -> BTreeSet<(String, String)> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let what = ["tree", "--locked", "--offline", "--target", "all", "--edges", "normal,build"];
    command.args(what).args(["--prefix", "none", "--format", "{p}"]);
    command.args(["-p", "rva", "-p", "rva-ingest", "-p", "rva-detector", "--features", FEATURES]);
    let output = command.current_dir(root()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let packages = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        Some((words.next()?.to_owned(), words.next()?.strip_prefix('v')?.to_owned()))
    });
    packages.collect()
}

const FEATURES: &str = "rva/pulsar,rva/camera-motion,rva-ingest/pulsar,rva-detector/pulsar";

#[test]
fn the_bill_of_materials_is_valid_the_same_each_time_and_lacks_nothing_that_is_built() {
    let python = python().expect("found no Python with cyclonedx-python-lib, wanted the one of make setup-tests");
    let folder = tempfile::tempdir().unwrap();
    let made = |name: &str| {
        let path = folder.path().join(name);
        let script = root().join("infrastructure/local/sbom.py");
        let output = Command::new(&python).arg(script).arg(&path).output().unwrap();
        // It compares what it made with the schema.
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        print!("{}", String::from_utf8_lossy(&output.stdout));
        fs::read_to_string(path).unwrap()
    };
    let text = made("first");
    assert_eq!(text, made("second"));
    let bill: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((bill["bomFormat"].as_str(), bill["specVersion"].as_str()), (Some("CycloneDX"), Some("1.6")));
    let components = bill["components"].as_array().unwrap();
    let of_kind = |kind: &str| {
        let url = format!("pkg:{kind}/");
        let ours = components.iter().filter(move |one| one["purl"].as_str().is_some_and(|purl| purl.starts_with(&url)));
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        ours.map(|one| (text(&one["name"]), text(&one["version"]))).collect::<BTreeSet<_>>()
    };
    let crates = of_kind("cargo");
    let missing: Vec<_> = in_the_programs().difference(&crates).cloned().collect();
    assert!(missing.is_empty(), "{missing:?}");
    let surplus: Vec<_> = crates.difference(&in_the_programs()).cloned().collect();
    assert!(surplus.is_empty(), "{surplus:?}");
    for dependency in ["proptest", "rva-testkit", "rva-fuzz", "rsa"] {
        assert!(!crates.iter().any(|(name, _)| name == dependency), "{dependency} is in no program");
    }
    for one in components.iter().filter(|one| one["purl"].as_str().unwrap().starts_with("pkg:cargo/")) {
        // The stand-in of ours has the name of what it stands in for.
        let (name, version) = (one["name"].as_str().unwrap(), one["version"].as_str().unwrap());
        let is_ours = name.starts_with("rva") || (name, version) == ("libsqlite3-sys", "0.30.99");
        assert!(is_ours || one["hashes"][0]["content"].is_string(), "a crate without a checksum: {one}");
        assert!(one["licenses"][0].is_object(), "a crate without a licence: {one}");
    }
    for (kind, name) in [
        ("pypi", "onnxruntime"),
        ("pypi", "duckdb"),
        ("golang", "minio"),
        ("golang", "mc"),
        ("maven", "pulsar-server-distribution"),
        ("generic", "iceberg-core"),
        ("deb", "libopencv-core-dev"),
        ("docker", "pulsar"),
        ("npm", "chart.js"),
        ("npm", "chartjs-chart-matrix"),
    ] {
        assert!(of_kind(kind).iter().any(|(found, _)| found == name), "found no {name} among {kind}");
    }
}

/// An interpreter that has the library.
fn python() -> Option<PathBuf> {
    let candidates = [std::env::var_os("RVA_PYTHON").map(PathBuf::from), Some(root().join(".venv/bin/python"))];
    candidates.into_iter().flatten().find(|python| {
        let probe = Command::new(python).args(["-c", "import cyclonedx.validation.json, jsonschema"]).output();
        probe.is_ok_and(|output| output.status.success())
    })
}
