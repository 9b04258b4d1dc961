//! Docker Compose, the native stack and the configuration: held to the same files, versions and names.
#![allow(clippy::unwrap_used)]

use rva_service::{CAMERA_KEYS, KEYS};
use serde_yaml_ng::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Names of the contract that an environment must keep.
const CONTRACT: &[&str] = &[
    "S3_ENDPOINT",
    "S3_REGION",
    "S3_PATH_STYLE",
    "S3_ACCESS_KEY",
    "S3_SECRET_KEY",
    "ICEBERG_CATALOG_URI",
    "ICEBERG_WAREHOUSE",
    "PULSAR_SERVICE_URL",
    "PULSAR_ADMIN_URL",
    "PULSAR_TOPIC",
    "PULSAR_PARTITIONS",
    "STORE_ID",
    "CAMERA_ID",
    "STREAM_ID",
    "MODEL_NAME",
    "VIDEO_PATH",
    "TRACKER_TYPE",
    "CONF_THRES",
    "CLASS_FILTER",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn compose() -> Value {
    let mut compose: Value = serde_yaml_ng::from_str(&read("docker-compose.yml")).unwrap();
    // Anchors hold anchors.
    (0..3).for_each(|_| compose.apply_merge().unwrap());
    compose
}

fn services() -> BTreeMap<String, Value> {
    let compose = compose();
    let services = compose["services"].as_mapping().unwrap();
    services.iter().map(|(name, service)| (name.as_str().unwrap().to_owned(), service.clone())).collect()
}

fn environment(service: &Value) -> BTreeMap<String, String> {
    let Some(mapping) = service["environment"].as_mapping() else { return BTreeMap::new() };
    let text = |value: &Value| value.as_str().map_or_else(|| serde_yaml_ng::to_string(value).unwrap(), str::to_owned);
    mapping.iter().map(|(name, value)| (name.as_str().unwrap().to_owned(), text(value))).collect()
}

/// Returns the defaults of a text's `${NAME:-default}` by name; `${NAME:?message}` is required and has an empty one.
fn variables(text: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for part in text.split("${").skip(1) {
        let (inside, _) = part.split_once('}').unwrap();
        let required = inside.split_once(":?").map(|(name, _)| (name, ""));
        let optional = || inside.split_once(":-");
        let (name, default) = required.or_else(optional).unwrap_or_else(|| panic!("{inside} has no default"));
        found.entry(name.to_owned()).or_default().insert(default.to_owned());
    }
    found
}

fn value_of<'a>(text: &'a str, name: &str) -> &'a str {
    let line = text.lines().find_map(|line| line.trim_start().strip_prefix(name)?.trim_start().strip_prefix('='));
    line.unwrap_or_else(|| panic!("found no {name}")).trim().trim_matches('"')
}

#[test]
fn the_example_lists_every_setting_of_the_compose_file_with_its_default() {
    let example = read(".env.example");
    let listed: BTreeMap<&str, &str> =
        example.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('=')).collect();
    let used = variables(&read("docker-compose.yml"));
    let names = |found: Vec<&str>| found.into_iter().map(str::to_owned).collect::<BTreeSet<_>>();
    assert_eq!(used.keys().cloned().collect::<BTreeSet<_>>(), names(listed.keys().copied().collect()));
    for (name, defaults) in used {
        assert_eq!(defaults, BTreeSet::from([listed[&*name].to_owned()]), "{name}");
    }
}

#[test]
fn what_the_services_are_told_is_what_the_configuration_knows() {
    let known: BTreeSet<String> = KEYS
        .iter()
        .chain(CAMERA_KEYS)
        .flat_map(|key| {
            let own = format!("RVA_{}", key.path.replace('.', "_").to_uppercase());
            key.env.iter().map(|name| (*name).to_owned()).chain([own])
        })
        .collect();
    let services = services();
    let mut told = BTreeSet::new();
    for name in ["detector", "ingest", "init"] {
        for variable in environment(&services[name]).into_keys() {
            assert!(known.contains(&variable), "{name}: {variable} is no key of the configuration");
            told.insert(variable);
        }
    }
    for name in CONTRACT {
        assert!(told.contains(*name), "{name} isn't passed on");
    }
}

#[test]
fn servers_have_the_settings_and_versions_of_the_native_stack() {
    let (services, fetch) = (services(), read("infrastructure/stack/fetch.py"));
    for (name, file) in [("pulsar", "pulsar"), ("minio", "minio"), ("catalog", "catalog")] {
        let wanted = format!("infrastructure/stack/{file}.env");
        assert_eq!(services[name]["env_file"].as_str(), Some(&*wanted), "{name}");
        // A setting that stands in both would drift apart.
        let settings = read(&wanted);
        for variable in environment(&services[name]).keys() {
            assert!(!settings.lines().any(|line| line.starts_with(&format!("{variable}="))), "{name}: {variable}");
        }
    }
    let image = |name: &str| services[name]["image"].as_str().unwrap().to_owned();
    assert_eq!(image("pulsar"), format!("apachepulsar/pulsar:{}", value_of(&fetch, "PULSAR_VERSION")));
    assert_eq!(image("catalog"), format!("apache/iceberg-rest-fixture:{}", value_of(&fetch, "CATALOG_VERSION")));
    let minio = read("infrastructure/docker/minio.Dockerfile");
    for (argument, name) in [("ARG MINIO_VERSION", "MINIO_VERSION"), ("ARG MC_VERSION", "MC_VERSION")] {
        assert_eq!(value_of(&minio, argument), value_of(&fetch, name));
    }
    let rust = read("rust-toolchain.toml");
    let channel: Vec<&str> = value_of(&rust, "channel").split('.').take(2).collect();
    assert!(read("infrastructure/docker/Dockerfile").contains(&format!("FROM rust:{}-bookworm", channel.join("."))));
}

#[test]
fn every_service_is_pinned_bounded_and_bound_to_this_machine() {
    for (name, service) in services() {
        let image = service["image"].as_str().unwrap();
        assert!(image.contains(':') && !image.ends_with(":latest"), "{name}: {image}");
        assert!(service["mem_limit"].as_str().is_some(), "{name} has no limit");
        assert_eq!(service["networks"][0].as_str(), Some("retail-net"), "{name}");
        for port in service["ports"].as_sequence().into_iter().flatten() {
            let port = port.as_str().unwrap();
            assert!(port.starts_with("${RVA_BIND:-127.0.0.1}:"), "{name}: {port}");
        }
    }
}

#[test]
fn passwords_have_no_default_and_the_refusal_names_the_way_out() {
    let compose = read("docker-compose.yml");
    for name in ["MINIO_ROOT_USER", "MINIO_ROOT_PASSWORD"] {
        let uses: Vec<&str> = compose.split(&format!("${{{name}")).skip(1).collect();
        assert!(!uses.is_empty(), "{name}");
        for used in uses {
            assert!(
                used.starts_with(":?") && used.split('}').next().unwrap().contains("make env"),
                "{name}: {used:.60}"
            );
        }
    }
}

#[test]
fn make_env_writes_random_passwords_for_the_owner_alone_and_keeps_a_file_that_is_there() {
    use std::os::unix::fs::PermissionsExt;
    let folder = std::env::temp_dir().join(format!("rva-env-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let write = |name: &str| {
        let path = folder.join(name);
        let script = root().join("infrastructure/compose/env.sh");
        assert!(std::process::Command::new(script).arg(&path).status().unwrap().success());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::read_to_string(path).unwrap()
    };
    let (first, second, again) = (write("first"), write("second"), write("first"));
    fs::remove_dir_all(&folder).unwrap();
    assert_eq!(first, again);
    let password = |text: &str| value_of(text, "MINIO_ROOT_PASSWORD").to_owned();
    assert_eq!(password(&first).len(), 48);
    assert_ne!(password(&first), password(&second));
    let names =
        |text: &str| text.lines().filter_map(|line| Some(line.split_once('=')?.0.to_owned())).collect::<Vec<_>>();
    assert_eq!(names(&first), names(&read(".env.example")));
}

#[test]
fn every_python_requirement_has_the_hashes_of_its_files() {
    for folder in ["infrastructure/docker", "infrastructure/local", "tests/python", "data/models/training"] {
        let files = fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().path());
        let is_list = |name: &str| name.starts_with("requirements") && name.ends_with(".txt");
        let lists: Vec<_> = files.filter(|path| is_list(path.file_name().unwrap().to_str().unwrap())).collect();
        assert!(!lists.is_empty(), "{folder}");
        for list in lists {
            let text = fs::read_to_string(&list).unwrap().replace("\\\n", " ");
            for line in text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()) {
                assert!(line.contains("==") && line.contains("--hash=sha256:"), "{}: {line:.80}", list.display());
            }
        }
    }
    let (wanted, made) = (read("tests/python/requirements.in"), read("tests/python/requirements.txt"));
    for line in wanted.lines().filter(|line| line.contains("==")) {
        let (name, version) = line.split_once("==").unwrap();
        let name = name.split('[').next().unwrap();
        let listed = made.lines().any(|line| line.split_whitespace().next() == Some(&format!("{name}=={version}")));
        assert!(listed, "found no {name}=={version} in requirements.txt, wanted it made anew from requirements.in");
    }
}
