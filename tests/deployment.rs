//! Docker Compose, the native stack and the configuration: held to the same files, versions and names.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

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
    "PULSAR_TOKEN",
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
        // It names the file, and is no key.
        .chain(["RVA_CONFIG".to_owned()])
        .collect();
    let services = services();
    let mut told = BTreeSet::new();
    for name in ["detector", "ingest", "init", "refine"] {
        for variable in environment(&services[name]).into_keys() {
            assert!(known.contains(&variable), "{name}: {variable} is no key of the configuration");
            told.insert(variable);
        }
    }
    for name in CONTRACT {
        assert!(told.contains(*name) || told.contains(&format!("{name}_FILE")), "{name} isn't passed on");
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
    let image = |name: &str| services[name]["image"].as_str().unwrap().split('@').next().unwrap().to_owned();
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

/// Who is on which network: the detector and whoever joins it share none with the tables.
const NETWORKS: &[(&str, &[&str])] = &[
    ("pulsar", &["retail-net", "broker"]),
    ("rights", &["retail-net"]),
    ("detector", &["retail-net", "outside", "metrics"]),
    ("init", &["retail-net", "lake"]),
    ("ingest", &["retail-net", "lake", "metrics"]),
    ("refine", &["lake", "metrics"]),
    ("minio", &["lake"]),
    ("bucket", &["lake"]),
    ("catalog", &["lake"]),
    ("trino", &["lake", "watch"]),
    ("prometheus", &["metrics", "watch"]),
    ("alertmanager", &["watch", "notify"]),
    ("grafana", &["watch", "notify"]),
    ("jaeger", &["metrics", "watch"]),
    ("jobmanager", &["lake", "broker"]),
    ("taskmanager", &["lake", "broker"]),
    ("spark", &["lake", "outside"]),
];

/// Servers that ask nobody for a password.
const OPEN: &[&str] = &["catalog", "trino", "jobmanager", "prometheus", "alertmanager", "jaeger"];

fn texts(value: &Value) -> Vec<&str> {
    value.as_sequence().into_iter().flatten().map(|item| item.as_str().unwrap()).collect()
}

#[test]
fn every_service_is_pinned_bounded_and_bound_to_this_machine() {
    let services = services();
    assert_eq!(
        services.keys().map(String::as_str).collect::<BTreeSet<_>>(),
        NETWORKS.iter().map(|(name, _)| *name).collect()
    );
    for (name, networks) in NETWORKS {
        let service = &services[*name];
        let image = service["image"].as_str().unwrap();
        assert!(image.contains(':') && !image.ends_with(":latest"), "{name}: {image}");
        assert!(
            service["mem_limit"].as_str().is_some() && service["pids_limit"].as_u64().is_some(),
            "{name} has no limit"
        );
        assert_eq!(texts(&service["networks"]), *networks, "{name}");
        let bind = if OPEN.contains(name) { "RVA_BIND_OPEN" } else { "RVA_BIND" };
        for port in texts(&service["ports"]) {
            assert!(port.starts_with(&format!("${{{bind}:-127.0.0.1}}:")), "{name}: {port}");
        }
    }
}

#[test]
fn no_service_has_more_rights_than_it_needs() {
    for (name, service) in services() {
        assert_eq!(texts(&service["cap_drop"]), ["ALL"], "{name}");
        assert_eq!(texts(&service["security_opt"]), ["no-new-privileges:true"], "{name}");
        assert_eq!(service["read_only"].as_bool(), Some(true), "{name}");
        let scratch = texts(&service["tmpfs"]);
        assert!(scratch.iter().any(|entry| entry.starts_with("/tmp:")), "{name}: {scratch:?}");
        assert!(scratch.iter().all(|entry| entry.contains("size=")), "{name}: {scratch:?}");
        for right in ["privileged", "cap_add", "network_mode", "pid", "ipc", "devices", "userns_mode"] {
            assert!(service[right].is_null(), "{name}: {right}");
        }
        for volume in service["volumes"].as_sequence().into_iter().flatten().filter_map(Value::as_str) {
            assert!(!volume.starts_with(['.', '/']) || volume.ends_with(":ro"), "{name}: {volume}");
        }
    }
}

#[test]
fn every_secret_is_a_file_without_a_default_and_the_refusal_names_the_way_out() {
    let compose = compose();
    let secrets = compose["secrets"].as_mapping().unwrap();
    let mut declared = BTreeSet::new();
    for (name, secret) in secrets {
        let name = name.as_str().unwrap();
        let file = secret["file"].as_str().unwrap();
        assert!(file.starts_with("${RVA_SECRETS:?") && file.contains("make env"), "{name}: {file}");
        assert!(file.ends_with(&format!("}}/{name}")), "{name}: {file}");
        declared.insert(name.to_owned());
    }
    let services = services();
    let of = |name: &str| texts(&services[name]["secrets"]).into_iter().map(str::to_owned).collect::<BTreeSet<_>>();
    assert_eq!(services.keys().flat_map(|name| of(name)).collect::<BTreeSet<_>>(), declared);
    for (name, service) in &services {
        let has_root = of(name).iter().any(|secret| secret.starts_with("minio-root"));
        assert_eq!(has_root, ["minio", "bucket"].contains(&&**name), "{name}");
        for (variable, value) in environment(service) {
            let is_secret = ["PASSWORD", "SECRET", "TOKEN", "CREDENTIAL"].iter().any(|word| variable.contains(word));
            // Grafana's own way of naming a file is in braces.
            let place = value.strip_prefix("$$__file{").unwrap_or(&value);
            assert!(!is_secret || place.starts_with("/run/secrets/"), "{name}: {variable}={value}");
            if let Some(file) = place.strip_prefix("/run/secrets/") {
                assert!(of(name).contains(file.trim_end_matches('}')), "{name}: {variable}={value}");
            }
        }
    }
}

/// A folder with what `make env` writes; removed at the end.
struct Made(PathBuf);

impl Made {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("rva-env-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn write(&self) {
        let script = root().join("infrastructure/compose/env.sh");
        let mut command = std::process::Command::new(script);
        command.arg(self.0.join("env")).arg(self.0.join("secrets")).env_remove("MINIO_ROOT_PASSWORD");
        assert!(command.env_remove("MINIO_ROOT_USER").status().unwrap().success());
    }

    fn mode(&self, name: &str) -> u32 {
        use std::os::unix::fs::PermissionsExt;
        fs::metadata(self.0.join(name)).unwrap().permissions().mode() & 0o777
    }

    fn settings(&self) -> String {
        fs::read_to_string(self.0.join("env")).unwrap()
    }

    fn secrets(&self) -> BTreeMap<String, Vec<u8>> {
        let files = fs::read_dir(self.0.join("secrets")).unwrap().map(|entry| entry.unwrap().path());
        files.map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(path).unwrap())).collect()
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn make_env_writes_random_secrets_for_the_owner_alone_and_keeps_what_is_there() {
    let (first, second) = (Made::new("first"), Made::new("second"));
    first.write();
    second.write();
    assert_eq!((first.mode("env"), first.mode("secrets")), (0o600, 0o700));
    assert_eq!(first.mode("secrets/pulsar-signing.pem"), 0o400);
    let names =
        |text: &str| text.lines().filter_map(|line| Some(line.split_once('=')?.0.to_owned())).collect::<Vec<_>>();
    assert_eq!(names(&first.settings()), names(&read(".env.example")));
    assert_eq!(value_of(&first.settings(), "RVA_SECRETS"), first.0.join("secrets").to_str().unwrap());
    let (made, other) = (first.secrets(), second.secrets());
    let mut declared: BTreeSet<String> =
        compose()["secrets"].as_mapping().unwrap().keys().map(|k| k.as_str().unwrap().into()).collect();
    declared.insert("pulsar-signing.pem".into());
    assert_eq!(made.keys().cloned().collect::<BTreeSet<_>>(), declared);
    // Where alerts go is the user's to say.
    assert_eq!(made["alert-webhook"], b"");
    for (name, secret) in made.iter().filter(|(name, _)| *name != "alert-webhook") {
        assert!(secret.len() > 12, "{name}");
        assert_ne!(secret, &other[name], "{name}");
    }
    assert_eq!(made["minio-root-password"].trim_ascii().len(), 48);
    let (settings, before) = (first.settings(), first.secrets());
    first.write();
    assert_eq!((first.settings(), first.secrets()), (settings, before));
}

#[test]
fn make_env_adds_what_is_missing_and_signs_tokens_anew_with_a_new_key() {
    let made = Made::new("again");
    made.write();
    let before = made.secrets();
    for name in ["minio-trino", "pulsar-signing.pem"] {
        fs::remove_file(made.0.join("secrets").join(name)).unwrap();
    }
    made.write();
    let after = made.secrets();
    for (name, secret) in &after {
        let is_new = name == "minio-trino" || name.starts_with("pulsar-") && name != "pulsar-zookeeper.jaas";
        assert_eq!(secret != &before[name], is_new, "{name}");
    }
}

#[test]
fn make_env_takes_over_the_passwords_of_an_older_version() {
    let made = Made::new("older");
    fs::write(made.0.join("env"), "MINIO_ROOT_USER=me\nMINIO_ROOT_PASSWORD=chosen-long-ago\nSTORE_ID=mine\n").unwrap();
    made.write();
    let secrets = made.secrets();
    assert_eq!(secrets["minio-root-user"], b"me\n");
    assert_eq!(secrets["minio-root-password"], b"chosen-long-ago\n");
    assert_eq!(value_of(&made.settings(), "STORE_ID"), "mine");
    assert_eq!(value_of(&made.settings(), "RVA_SECRETS"), made.0.join("secrets").to_str().unwrap());
}

/// What `make image-lock` writes into.
const IMAGE_FILES: &[&str] =
    &["docker-compose.yml", "infrastructure/docker/Dockerfile", "infrastructure/docker/minio.Dockerfile"];

/// Each foreign image with a tag, as `NAME:TAG` or `NAME:TAG@DIGEST`.
fn images(text: &str) -> Vec<String> {
    let words =
        text.lines().filter_map(|line| line.trim_start().strip_prefix("image: ").or(line.strip_prefix("FROM ")));
    let images = words.map(|rest| rest.split_whitespace().next().unwrap().to_owned());
    images.filter(|image| image.contains(':') && !image.starts_with("rva-") && !image.starts_with("${")).collect()
}

#[test]
fn digests_stand_beside_all_tags_or_beside_none() {
    let found: Vec<String> = IMAGE_FILES.iter().flat_map(|file| images(&read(file))).collect();
    let digests: BTreeMap<&str, BTreeSet<Option<&str>>> = found.iter().fold(BTreeMap::new(), |mut all, image| {
        let (name, digest) = image.split_once('@').map_or((&**image, None), |(name, digest)| (name, Some(digest)));
        all.entry(name).or_insert_with(BTreeSet::new).insert(digest);
        all
    });
    assert!(digests.len() >= 8, "{digests:?}");
    assert!(digests.values().all(|each| each.len() == 1), "{digests:?}");
    let locked = digests.values().filter(|each| each.first().unwrap().is_some()).count();
    assert!(locked == 0 || locked == digests.len(), "{digests:?}");
    for digest in digests.values().flatten().flatten() {
        let hex = digest.strip_prefix("sha256:").unwrap();
        assert!(hex.len() == 64 && hex.chars().all(|c| c.is_ascii_hexdigit()), "{digest}");
    }
}

/// Copies what `make image-lock` writes into, and runs it there with a Docker client of our own that says `answer`.
fn lock_images(made: &Made, answer: &str) -> (bool, String) {
    use std::os::unix::fs::PermissionsExt;
    for file in IMAGE_FILES {
        let path = made.0.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, read(file)).unwrap();
    }
    let docker = made.0.join("docker");
    fs::write(&docker, format!("#!/bin/sh\n{answer}\n")).unwrap();
    fs::set_permissions(&docker, fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = std::process::Command::new("python3");
    command.arg(root().join("infrastructure/compose/image_lock.py")).current_dir(&made.0);
    let path = format!("{}:{}", made.0.display(), std::env::var("PATH").unwrap());
    let done = command.env("PATH", path).output().unwrap();
    (done.status.success(), String::from_utf8(done.stderr).unwrap())
}

#[test]
fn image_lock_writes_every_digest_or_nothing() {
    let made = Made::new("lock");
    let texts = |folder: &Path| {
        IMAGE_FILES.iter().map(|file| fs::read_to_string(folder.join(file)).unwrap()).collect::<Vec<_>>()
    };
    // A digest of its own for each image, made of the image's name.
    let of_name = r#"for image; do :; done; echo "sha256:$(printf %s "$image" | sha256sum | cut -d' ' -f1)""#;
    let (worked, said) = lock_images(&made, of_name);
    assert!(worked, "{said}");
    let locked: BTreeSet<String> = texts(&made.0).iter().flat_map(|text| images(text)).collect();
    let plain: BTreeSet<String> = IMAGE_FILES.iter().flat_map(|file| images(&read(file))).collect();
    assert_eq!(locked.len(), plain.len());
    assert!(locked.iter().all(|image| image.contains("@sha256:")), "{locked:?}");
    let without: BTreeSet<String> = locked.iter().map(|image| image.split('@').next().unwrap().to_owned()).collect();
    assert_eq!(without, plain.iter().map(|image| image.split('@').next().unwrap().to_owned()).collect());
    assert_eq!(locked.iter().map(|image| image.split('@').nth(1)).collect::<BTreeSet<_>>().len(), locked.len());
    let of_some = format!("case \"$*\" in *trino*) echo no such host >&2; exit 1;; esac; {of_name}");
    for (answer, wanted) in [(&*of_some, "trinodb/trino"), ("echo something", "found no digest (something)")] {
        let (worked, said) = lock_images(&made, answer);
        assert!(!worked && said.contains(wanted) && said.contains("nothing was written"), "{said}");
        assert_eq!(texts(&made.0), texts(&root()));
    }
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
            for line in text.lines().map(str::trim).filter(|line| !line.starts_with('#') && !line.is_empty()) {
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
