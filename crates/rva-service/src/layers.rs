//! Merging of the layers: default, file, environment, flags; each value remembers its origin.

use crate::{
    CAMERA_KEYS, Config, KEYS, Key, Kind, Secret,
    entries::Wrong,
    scrub,
    secret_file::secret_of_file,
    values::{insert, nearest, path_parts, scalar, shape, shown},
    yaml_bounds,
    yaml_lines::key_lines,
    zones,
};
use rva_types::CameraId;
use serde_json::{Map, Value};
use serde_yaml_ng::Value as Yaml;
use std::{collections::BTreeMap, fmt, path::PathBuf};
use strsim::normalized_damerau_levenshtein;

/// The place that a value came from, weakest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The built-in default.
    Default,
    /// The configuration file, and the line where it is known.
    File {
        /// The path of the file as it was given.
        path: PathBuf,
        /// The line's number, from 1.
        line: Option<usize>,
    },
    /// An environment variable.
    Environment(String),
    /// A flag of the command line, with its dashes.
    Flag(String),
}

impl Origin {
    /// Returns the strength of a layer: the stronger of two covers the other.
    fn strength(&self) -> u8 {
        match self {
            Self::Default => 0,
            Self::File { .. } => 1,
            Self::Environment(_) => 2,
            Self::Flag(_) => 3,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line: Some(line) } => write!(f, "{}:{line}", path.display()),
            Self::File { path, line: None } => write!(f, "{}", path.display()),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Flag(name) => f.write_str(name),
        }
    }
}

/// A value from the command line. Its `Debug` form hides what must not be shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Override {
    /// The dotted path of the key.
    pub path: &'static str,
    /// The flag as the user typed it: `--conf`.
    pub flag: &'static str,
    /// The value's text.
    pub text: String,
}

impl fmt::Debug for Override {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.flag, scrub(&self.text))
    }
}

/// The layers that are merged. Nothing here reads the process's environment, and nothing the disk but the files of
/// secrets that it names. The `Debug` form shows no values.
#[derive(Clone, Default)]
pub struct Layers {
    /// The path and text of the file.
    pub file: Option<(PathBuf, String)>,
    /// The names and values of the environment.
    pub environment: Vec<(String, String)>,
    /// The flags.
    pub overrides: Vec<Override>,
}

impl fmt::Debug for Layers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.environment.iter().map(|(name, _)| name).collect();
        let file = self.file.as_ref().map(|(path, _)| path);
        f.debug_struct("Layers")
            .field("file", &file)
            .field("environment", &names)
            .field("overrides", &self.overrides)
            .finish()
    }
}

/// A merged value. Its `Debug` form hides what must not be shown.
#[derive(Clone, PartialEq)]
pub struct Setting {
    /// The dotted path of its key.
    pub path: String,
    /// The value in normal form; null where there is none.
    pub value: Value,
    /// The place that the value came from.
    pub origin: Origin,
    /// Set where the value must not be shown.
    pub is_secret: bool,
}

impl fmt::Debug for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ({})", self.path, shown(&self.value, self.is_secret), self.origin)
    }
}

/// The typed configuration and the origin of each value.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration for programs.
    pub config: Config,
    /// The settings for people, in the order of the table.
    pub settings: Vec<Setting>,
    /// The file that was read; `None` where there was none.
    pub file: Option<PathBuf>,
}

impl Loaded {
    /// Returns a problem with the value of a key, which knows where that came from.
    pub fn problem(&self, path: &str, text: impl Into<String>) -> Problem {
        let setting = self.settings.iter().find(|setting| setting.path == path);
        let origin = setting.map_or(Origin::Default, |setting| setting.origin.clone());
        Problem { path: path.to_owned(), text: text.into(), origin }
    }
}

/// One thing that is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The dotted path of the key, or the file.
    pub path: String,
    /// A text that says what was found and what was wanted.
    pub text: String,
    /// The place that the wrong value came from.
    pub origin: Origin,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ({})", self.path, self.text, self.origin)
    }
}

/// An error with everything that is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The problems, at least one.
    pub problems: Vec<Problem>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problems.as_slice() {
            [problem] => write!(f, "configuration: {problem}"),
            problems => {
                write!(f, "configuration has {} problems:", problems.len())?;
                problems.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
            }
        }
    }
}

impl std::error::Error for ConfigError {}

/// The least likeness (1 - edits / length, without the prefix) at which an unknown `RVA_` variable is taken for a misspelt key. Below it
/// the variable is somebody else's, such as a test script's.
const ENV_LIKENESS_MIN: f64 = 0.7;

/// The end of the name of a key that names the file of a secret.
const FILE_SUFFIX: &str = "_file";

struct Merge {
    settings: BTreeMap<String, Setting>,
    problems: Vec<Problem>,
    path: Option<PathBuf>,
}

/// Merges the layers, strongest last, and checks every value of every layer, also those that a stronger one covers.
///
/// # Errors
/// Returns all problems of all layers.
pub fn load(layers: &Layers) -> Result<Loaded, ConfigError> {
    let path = layers.file.as_ref().map(|(path, _)| path.clone());
    let mut merge = Merge { settings: BTreeMap::new(), problems: Vec::new(), path };
    for key in KEYS {
        merge.default(key.path.to_owned(), key);
    }
    if let Some((path, text)) = &layers.file {
        merge.file(path, text);
    }
    merge.environment(&layers.environment);
    for flag in &layers.overrides {
        match KEYS.iter().find(|key| key.path == flag.path) {
            Some(key) => merge.set(flag.path.to_owned(), key, &flag.text, Origin::Flag(flag.flag.to_owned())),
            None => merge.problem(flag.path, "unknown key".to_owned(), Origin::Flag(flag.flag.to_owned())),
        }
    }
    merge.finish()
}

impl Merge {
    /// Notes a problem, with secrets and control characters taken out of what it repeats.
    fn problem(&mut self, path: &str, text: String, origin: Origin) {
        let printable = |text: &str| {
            let letters = text
                .chars()
                .map(|c| if c.is_control() && c != '\n' { c.escape_default().to_string() } else { c.into() });
            letters.collect::<String>()
        };
        self.problems.push(Problem { path: printable(path), text: printable(&scrub(&text)), origin });
    }

    fn default(&mut self, path: String, key: &Key) {
        let value = key.default.and_then(|text| key.kind.parse(text).ok()).unwrap_or(Value::Null);
        let is_secret = key.kind == Kind::Secret;
        self.settings.insert(path.clone(), Setting { path, value, origin: Origin::Default, is_secret });
    }

    fn set(&mut self, path: String, key: &Key, text: &str, origin: Origin) {
        if key.kind == Kind::Secret {
            // Also one that a stronger layer covers is a secret.
            drop(Secret::new(text));
        }
        match key.kind.parse(text) {
            Ok(value) => {
                let is_secret = key.kind == Kind::Secret;
                self.settings.insert(path.clone(), Setting { path, value, origin, is_secret });
            }
            Err(text) => self.problem(&path, text, origin),
        }
    }

    fn environment(&mut self, environment: &[(String, String)]) {
        let find = |name: &str| environment.iter().find(|(n, value)| n == name && !value.is_empty());
        for key in KEYS {
            let own = key.env_name();
            let names = std::iter::once(own.as_str()).chain(key.env.iter().copied());
            if let Some((name, value)) = names.filter_map(find).next() {
                self.set(key.path.to_owned(), key, value, Origin::Environment(name.clone()));
            }
        }
        let known: Vec<String> =
            KEYS.iter().flat_map(|key| key.env.iter().map(ToString::to_string).chain([key.env_name()])).collect();
        for (name, _) in environment.iter().filter(|(name, _)| name.starts_with("RVA_") && !known.contains(name)) {
            // What all of them begin with makes none of them alike.
            let own = |name: &str| name.strip_prefix("RVA_").unwrap_or(name).to_owned();
            let alike = known.iter().map(|known| (known, normalized_damerau_levenshtein(&own(name), &own(known))));
            if let Some((nearest, likeness)) = alike.max_by(|one, other| one.1.total_cmp(&other.1))
                && likeness >= ENV_LIKENESS_MIN
            {
                let text = format!("unknown variable, nearest is {nearest}");
                self.problem(name, text, Origin::Environment(name.clone()));
            }
        }
    }

    fn file(&mut self, path: &std::path::Path, text: &str) {
        let whole = Origin::File { path: path.to_owned(), line: None };
        if let Some(text) = yaml_bounds::too_much(text) {
            return self.problem("file", text, whole);
        }
        let root: Yaml = match serde_yaml_ng::from_str(text.strip_prefix('\u{feff}').unwrap_or(text)) {
            Ok(root) => root,
            Err(error) => return self.problem("file", format!("not readable as YAML: {error}"), whole),
        };
        let lines = key_lines(text);
        let at = |key: &str| Origin::File { path: path.to_owned(), line: lines.get(key).copied() };
        match root {
            Yaml::Null => {}
            Yaml::Mapping(map) => {
                for (name, value) in &map {
                    let name = scalar(name).unwrap_or_default();
                    if name == "cameras" { self.cameras(value, &at) } else { self.node(&name, value, &at) }
                }
            }
            other => self.problem("file", format!("found {}, wanted a mapping of keys", shape(&other)), whole),
        }
    }

    /// Takes a key, or a section of keys.
    fn node(&mut self, path: &str, value: &Yaml, at: &dyn Fn(&str) -> Origin) {
        if let Some(key) = KEYS.iter().find(|key| key.path == path) {
            return self.leaf(path.to_owned(), key, value, at(path));
        }
        let section = format!("{path}.");
        if !KEYS.iter().any(|key| key.path.starts_with(&section)) {
            return self.unknown(path, at(path));
        }
        match value {
            Yaml::Null => {}
            Yaml::Mapping(map) => {
                for (name, value) in map {
                    self.node(&format!("{section}{}", scalar(name).unwrap_or_default()), value, at);
                }
            }
            other => self.problem(path, format!("found {}, wanted a section of keys", shape(other)), at(path)),
        }
    }

    fn unknown(&mut self, path: &str, origin: Origin) {
        let parent = path.rsplit_once('.').map_or("", |(parent, _)| parent);
        let own = &path[parent.len()..].trim_start_matches('.').to_owned();
        let siblings = KEYS.iter().filter_map(|key| {
            let rest = key.path.strip_prefix(parent)?;
            let rest = if parent.is_empty() { rest } else { rest.strip_prefix('.')? };
            Some(rest.split('.').next().unwrap_or(rest))
        });
        let extra = ["cameras"].into_iter().filter(|_| parent.is_empty());
        self.unknown_among(path, own, siblings.chain(extra), origin);
    }

    fn unknown_among<'a>(&mut self, path: &str, own: &str, known: impl Iterator<Item = &'a str>, origin: Origin) {
        let text = match nearest(own, known) {
            Some((nearest, _)) => format!("unknown key, nearest is {nearest}"),
            None => "unknown key".to_owned(),
        };
        self.problem(path, text, origin);
    }

    fn leaf(&mut self, path: String, key: &Key, value: &Yaml, origin: Origin) {
        let text = match (value, key.kind) {
            // An empty value is a key that isn't set: the weaker layer stays.
            (Yaml::Null, _) => return,
            (Yaml::Sequence(items), Kind::List) => match items.iter().map(scalar).collect::<Option<Vec<_>>>() {
                Some(items) => items.join(","),
                None => return self.problem(&path, "found nested values, wanted a list of texts".into(), origin),
            },
            (Yaml::String(text), _) => text.clone(),
            (other, kind) => match (kind.parse_list(other), scalar(other)) {
                (Some(Ok(value)), _) => {
                    let setting = Setting { path: path.clone(), value, origin, is_secret: false };
                    self.settings.insert(path, setting);
                    return;
                }
                (Some(Err(wrong)), _) => return self.wrong_entries(&path, wrong, &origin),
                (None, Some(text)) => text,
                (None, None) => {
                    return self.problem(&path, format!("found {}, wanted one value", shape(other)), origin);
                }
            },
        };
        self.set(path, key, &text, origin);
    }

    /// Notes what is wrong with a list of named things, each with the name that it is wrong with.
    fn wrong_entries(&mut self, path: &str, wrong: Vec<Wrong>, origin: &Origin) {
        for Wrong { place, text } in wrong {
            let dot = if place.is_empty() || place.starts_with('[') { "" } else { "." };
            self.problem(&format!("{path}{dot}{place}"), text, origin.clone());
        }
    }

    fn cameras(&mut self, value: &Yaml, at: &dyn Fn(&str) -> Origin) {
        let cameras = match value {
            Yaml::Null => return,
            Yaml::Mapping(map) => map,
            other => {
                let text = format!("found {}, wanted a mapping of camera ids", shape(other));
                return self.problem("cameras", text, at("cameras"));
            }
        };
        for (name, camera) in cameras {
            let name = scalar(name).unwrap_or_default();
            let path = format!("cameras.{name}");
            if let Err(error) = CameraId::parse(name.as_str()) {
                self.problem(&path, error.to_string(), at(&path));
            }
            self.camera(&path, camera, at);
        }
    }

    fn camera(&mut self, path: &str, camera: &Yaml, at: &dyn Fn(&str) -> Origin) {
        for key in CAMERA_KEYS {
            self.default(format!("{path}.{}", key.path), key);
        }
        let empty = serde_yaml_ng::Mapping::new();
        let map = match camera {
            Yaml::Null => &empty,
            Yaml::Mapping(map) => map,
            other => return self.problem(path, format!("found {}, wanted a section of keys", shape(other)), at(path)),
        };
        let mut is_misspelt = false;
        for (name, value) in map {
            let name = scalar(name).unwrap_or_default();
            let full = format!("{path}.{name}");
            match CAMERA_KEYS.iter().find(|key| key.path == name) {
                Some(key) => self.leaf(full.clone(), key, value, at(&full)),
                None => {
                    is_misspelt = true;
                    self.unknown_among(&full, &name, CAMERA_KEYS.iter().map(|key| key.path), at(&full));
                }
            }
        }
        let has_source = map.get("source").is_some_and(|source| !source.is_null());
        if !has_source && !is_misspelt {
            let text = "missing, wanted a file, a folder or glob of images or videos, a webcam index or a stream URL"
                .to_owned();
            self.problem(&format!("{path}.source"), text, at(path));
        }
    }

    /// Reads the files that `…_file` names into the keys of secrets. The stronger layer of a key and its file wins;
    /// both in the same are refused.
    fn read_secret_files(&mut self) {
        let files: Vec<Setting> = self
            .settings
            .values()
            .filter(|setting| is_file_of_secret(&setting.path) && setting.value.is_string())
            .cloned()
            .collect();
        for file in files {
            let path = file.path.trim_end_matches(FILE_SUFFIX).to_owned();
            if let Some(own) = self.settings.get(&path).filter(|own| !own.value.is_null()) {
                if own.origin.strength() == file.origin.strength() {
                    let text = format!("found {} ({}) beside it, wanted one of them", path, own.origin);
                    self.problem(&file.path, text, file.origin);
                    continue;
                }
                if own.origin.strength() > file.origin.strength() {
                    continue;
                }
            }
            let named = file.value.as_str().unwrap_or_default();
            match secret_of_file(std::path::Path::new(named)) {
                Ok(text) => {
                    drop(Secret::new(text.as_str()));
                    let setting =
                        Setting { value: Value::from(text), is_secret: true, path: path.clone(), origin: file.origin };
                    self.settings.insert(path, setting);
                }
                Err(error) => {
                    let text =
                        format!("could not read {named}: {error}, wanted a file that holds the secret in one line");
                    self.problem(&file.path, text, file.origin);
                }
            }
        }
    }

    fn finish(mut self) -> Result<Loaded, ConfigError> {
        self.read_secret_files();
        let mut tree = Map::new();
        tree.insert("cameras".to_owned(), Value::Object(Map::new()));
        for (path, setting) in self.settings.iter().filter(|(path, _)| !is_file_of_secret(path)) {
            insert(&mut tree, path, setting.value.clone());
        }
        let config = match serde_json::from_value::<Config>(Value::Object(tree)) {
            Ok(config) => {
                let wrong = zones::clashes(&config.zones, &config.cameras, &config.store_id);
                let origin = self.settings.get("zones").map_or(Origin::Default, |setting| setting.origin.clone());
                self.wrong_entries("zones", wrong, &origin);
                if !self.problems.is_empty() {
                    return Err(ConfigError { problems: self.problems });
                }
                config
            }
            Err(error) => {
                if self.problems.is_empty() {
                    self.problem("configuration", error.to_string(), Origin::Default);
                }
                return Err(ConfigError { problems: self.problems });
            }
        };
        let mut settings: Vec<Setting> = KEYS.iter().filter_map(|key| self.settings.remove(key.path)).collect();
        settings.extend(self.settings.into_values());
        Ok(Loaded { config, settings, file: self.path })
    }
}

/// Returns whether a key names the file of a secret.
fn is_file_of_secret(path: &str) -> bool {
    let keys = match path_parts(path)[..] {
        ["cameras", _, key] => CAMERA_KEYS.iter().find(|known| known.path == key),
        _ => KEYS.iter().find(|known| known.path == path),
    };
    keys.is_some_and(|key| key.kind == Kind::SecretFile)
}
