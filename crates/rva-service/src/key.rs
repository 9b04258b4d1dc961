//! Configuration keys, and the way from a key's text to its value.

use crate::{
    ZonesOf, alerts, entries::Wrong, parse_bytes, parse_duration, telemetry::check_filter, yaml_bounds, zones,
};
use rva_types::{CameraId, Device, JobName, StoreId, StreamId, Timestamp, shown_source};
use serde_json::Value;
use serde_yaml_ng::Value as Yaml;

/// The kind of a key: the values that it takes. Ends of ranges belong to them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Any text.
    Text,
    /// A path, relative to the working directory.
    Path,
    /// A store id of 1 to 64 bytes without control characters.
    StoreId,
    /// A camera id of 1 to 64 bytes without control characters.
    CameraId,
    /// A stream id of 1 to 64 bytes without control characters.
    StreamId,
    /// The name of a job.
    JobName,
    /// A device that runs a network.
    Device,
    /// A finite number between two ends.
    Number(f64, f64),
    /// A whole number between two ends.
    Integer(u64, u64),
    /// Either `true` or `false`.
    Flag,
    /// A duration like `10s`, of at least the given number of milliseconds.
    Duration(u64),
    /// A size like `128MiB`, of at least the given number of bytes.
    Size(u64),
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Texts, separated by commas on one line.
    List,
    /// An RFC 3339 time.
    Time,
    /// A log level or a list of directives.
    LogFilter,
    /// A text that is never shown.
    Secret,
    /// The path of a file that holds the value of the key of the same name without `_file`.
    SecretFile,
    /// A URL with one of these schemes and a host, without a user; and the keys that credentials go into instead.
    Url(&'static [&'static str], &'static str),
    /// An IP address and a port, to listen on.
    Address,
    /// A list of zones and lines.
    Zones(ZonesOf),
    /// A list of alerts for people in the shop.
    Alerts,
    /// The name of a time zone of the IANA database.
    TimeZone,
    /// A span of the day like 09:00-20:00.
    DaySpan,
    /// Days of the week like mon-sat.
    Days,
}

/// A configuration key.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Key {
    /// The dotted path in the file: `detector.conf`.
    pub path: &'static str,
    /// The values that it takes.
    pub kind: Kind,
    /// The default as text; `None` where it has none.
    pub default: Option<&'static str>,
    /// The environment names besides `RVA_DETECTOR_CONF`; the first that is set wins, the `RVA_` name before them.
    pub env: &'static [&'static str],
    /// The meaning of the key.
    pub doc: &'static str,
}

impl Key {
    /// Returns the environment name that every key has: `RVA_` and the path with underscores.
    pub fn env_name(&self) -> String {
        format!("RVA_{}", self.path.replace('.', "_").to_uppercase())
    }
}

fn within<T: PartialOrd + std::fmt::Display>(value: T, min: T, max: T, found: &str, what: &str) -> Result<T, String> {
    if value >= min && value <= max {
        return Ok(value);
    }
    Err(format!("found {found}, wanted {what} from {min} to {max}"))
}

/// Returns as much of a wrong value as is repeated: hidden first, then cut, so that no cut leaves half a secret.
fn short(text: &str) -> String {
    shown_source(text).chars().take(80).collect()
}

impl Kind {
    /// Parses a text to its value, in its normal form.
    ///
    /// # Errors
    /// Returns a text that names found and wanted.
    pub fn parse(self, text: &str) -> Result<Value, String> {
        let found = short(text);
        match self {
            Self::Text | Self::Path | Self::SecretFile if text.is_empty() => {
                Err("found an empty text, wanted at least one character".into())
            }
            Self::Secret | Self::Text | Self::Path | Self::SecretFile => Ok(Value::from(text)),
            Self::StoreId => StoreId::parse(text).map(|id| Value::from(id.as_str())).map_err(|e| e.to_string()),
            Self::CameraId => CameraId::parse(text).map(|id| Value::from(id.as_str())).map_err(|e| e.to_string()),
            Self::StreamId => StreamId::parse(text).map(|id| Value::from(id.as_str())).map_err(|e| e.to_string()),
            Self::JobName => text.parse::<JobName>().map(|name| Value::from(name.as_str())).map_err(|e| e.to_string()),
            Self::Device => text.parse::<Device>().map(|it| Value::from(it.to_string())).map_err(|e| e.to_string()),
            Self::Number(min, max) => {
                let wanted = || format!("found {found:?}, wanted a number from {min} to {max}");
                let value: f64 = text.trim().parse().map_err(|_| wanted())?;
                within(value, min, max, &found, "a number").map(Value::from)
            }
            Self::Integer(min, max) => {
                let wanted = || format!("found {found:?}, wanted a whole number from {min} to {max}");
                let value: u64 = text.trim().parse().map_err(|_| wanted())?;
                within(value, min, max, &found, "a whole number").map(Value::from)
            }
            Self::Flag => match text.trim().to_ascii_lowercase().as_str() {
                "true" | "1" | "yes" | "on" => Ok(Value::Bool(true)),
                "false" | "0" | "no" | "off" => Ok(Value::Bool(false)),
                _ => Err(format!("found {found:?}, wanted true or false")),
            },
            Self::Duration(millis_min) => {
                let value = parse_duration(text).map_err(|e| e.to_string())?;
                if value.as_millis() < u128::from(millis_min) {
                    let least = crate::format_duration(std::time::Duration::from_millis(millis_min));
                    return Err(format!("found {found}, wanted at least {least}"));
                }
                Ok(Value::from(text.trim()))
            }
            Self::Size(bytes_min) => {
                if parse_bytes(text).map_err(|e| e.to_string())? < bytes_min {
                    return Err(format!("found {found}, wanted at least {}", crate::format_bytes(bytes_min)));
                }
                Ok(Value::from(text.trim()))
            }
            Self::Choice(words) => match words.iter().find(|word| **word == text.trim()) {
                Some(word) => Ok(Value::from(*word)),
                None => Err(format!("found {found:?}, wanted one of {}", words.join(", "))),
            },
            Self::List => Ok(list(text)),
            Self::Time => Timestamp::parse(text).map(|time| Value::from(time.to_string())).map_err(|e| e.to_string()),
            Self::Url(schemes, instead) => url(text.trim(), schemes, instead),
            Self::Address => match text.trim().parse::<std::net::SocketAddr>() {
                Ok(address) => Ok(Value::from(address.to_string())),
                Err(_) => Err(format!("found {found:?}, wanted IP:PORT like 0.0.0.0:8080 or [::]:8080")),
            },
            Self::Zones(_) => self.list_of_text(text, "zones and lines"),
            Self::Alerts => self.list_of_text(text, "alerts"),
            Self::DaySpan => alerts::day_span(text.trim()).map(|_| Value::from(text.trim())),
            Self::Days => alerts::days(text.trim()).map(|_| Value::from(text.trim())),
            Self::TimeZone => match text.trim().parse::<chrono_tz::Tz>() {
                Ok(zone) => Ok(Value::from(zone.name())),
                Err(_) => Err(format!("found {found:?}, wanted the name of a time zone like Europe/Berlin or UTC")),
            },
            Self::LogFilter => check_filter(text).map(|()| Value::from(text.trim())).map_err(|e| e.to_string()),
        }
    }

    /// Parses a list of named things to its normal form; `None` for a key that isn't one.
    pub(crate) fn parse_list(self, list: &Yaml) -> Option<Result<Value, Vec<Wrong>>> {
        match self {
            Self::Zones(of) => Some(zones::parse(list, of)),
            Self::Alerts => Some(alerts::parse(list)),
            _ => None,
        }
    }

    /// Reads such a list that is written as one text, in YAML or JSON.
    fn list_of_text(self, text: &str, what: &str) -> Result<Value, String> {
        if let Some(text) = yaml_bounds::too_much(text) {
            return Err(text);
        }
        let list = serde_yaml_ng::from_str(text).map_err(|error| format!("found no list of {what}: {error}"))?;
        let told = |wrong: &Wrong| format!("{} {}", wrong.place, wrong.text).trim_start().to_owned();
        match self.parse_list(&list) {
            Some(parsed) => parsed.map_err(|wrong| wrong.iter().map(told).collect::<Vec<_>>().join("; ")),
            None => Err(format!("found a list, wanted {what}")),
        }
    }
}

fn url(text: &str, schemes: &[&str], instead: &str) -> Result<Value, String> {
    let wanted: Vec<_> = schemes.iter().map(|scheme| format!("{scheme}://HOST")).collect();
    let wanted = wanted.join(" or ");
    let of = |scheme: &&str| {
        let (begin, rest) = text.split_at_checked(scheme.len())?;
        begin.eq_ignore_ascii_case(scheme).then_some(rest)?.strip_prefix("://")
    };
    match schemes.iter().find_map(of) {
        Some(host) if host.contains('@') => {
            Err(format!("found user information in it, wanted {wanted} alone: credentials go into {instead}"))
        }
        Some(host) if !host.is_empty() && !host.starts_with(['/', ':', '?', '#']) => Ok(Value::from(text)),
        _ => Err(format!("found {:?}, wanted {wanted}", short(text))),
    }
}

/// Splits a text at commas, since class names hold spaces. Brackets and quotes around are accepted: `[0, 2]`,
/// `["person"]`.
fn list(text: &str) -> Value {
    let inner = text.trim().trim_start_matches('[').trim_end_matches(']');
    if ["", "none", "null"].contains(&inner.trim().to_ascii_lowercase().as_str()) {
        return Value::Null;
    }
    inner.split(',').map(|item| item.trim().trim_matches(['"', '\''])).filter(|item| !item.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_name_found_and_wanted() {
        let error = Kind::Number(0.0, 1.0).parse("1.5").unwrap_err();
        assert_eq!(error, "found 1.5, wanted a number from 0 to 1");
        assert!(Kind::Number(0.0, 1.0).parse("NaN").is_err());
        assert!(Kind::Number(0.0, 1.0).parse("inf").is_err());
        assert_eq!(Kind::Integer(1, 9).parse("0").unwrap_err(), "found 0, wanted a whole number from 1 to 9");
        assert_eq!(Kind::Duration(100).parse("5ms").unwrap_err(), "found 5ms, wanted at least 100ms");
    }

    #[test]
    fn urls_and_addresses_name_what_is_wanted() {
        let url = Kind::Url(&["pulsar", "pulsar+ssl"], "pulsar.token");
        for good in ["pulsar://localhost:6650", " pulsar+ssl://[::1]:6651 "] {
            assert_eq!(url.parse(good).unwrap(), good.trim());
        }
        for bad in ["localhost:6650", "http://localhost", "pulsar://", "pulsar://:6650", ""] {
            let error = url.parse(bad).unwrap_err();
            assert!(error.contains(&format!("{bad:?}")) && error.contains("pulsar+ssl://HOST"), "{error}");
        }
        for bad in
            ["http://me:hush@host", "pulsar://hush", "pulsar://me:hush@h:1", "pulsar://h,me:hush@i", "http:/me:hush@h"]
        {
            let error = url.parse(bad);
            assert!(bad == "pulsar://hush" || !error.unwrap_err().contains("hush"), "{bad}");
        }
        let error = url.parse("pulsar://me:hush@host:6650").unwrap_err();
        assert!(error.contains("user information") && error.contains("pulsar.token"), "{error}");
        assert_eq!(Kind::Address.parse("127.0.0.1:0").unwrap(), "127.0.0.1:0");
        assert!(Kind::Address.parse("8080").unwrap_err().contains("0.0.0.0:8080"));
    }

    #[test]
    fn lists_are_split_at_commas_and_keep_spaces() {
        assert_eq!(Kind::List.parse("person, traffic light").unwrap(), serde_json::json!(["person", "traffic light"]));
        assert_eq!(Kind::List.parse("[0, 2]").unwrap(), serde_json::json!(["0", "2"]));
        assert_eq!(Kind::List.parse("None").unwrap(), Value::Null);
    }

    #[test]
    fn an_id_of_100_bytes_says_how_many_it_has() {
        let error = Kind::JobName.parse("a b").unwrap_err();
        assert_eq!(error, "job name holds ' ', wanted letters, digits, - and _");
        let error = Kind::StoreId.parse(&"x".repeat(100)).unwrap_err();
        assert!(error.contains("100 bytes") && error.contains("64"), "{error}");
    }
}
