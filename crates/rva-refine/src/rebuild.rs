//! Requests to work tables out again although their rows stand there.

use crate::gold::rows::NAMES;
use rva_types::Timestamp;

/// A request to work tables out again although their rows stand there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rebuild {
    /// The tables.
    pub tables: RebuildTables,
    /// The first moment and the end, in microseconds since 1970; `None`: all of time.
    pub span: Option<(i64, i64)>,
}

impl Rebuild {
    /// Parses a name, a first and a last day; no first day is all of time, no last day the first one.
    ///
    /// # Errors
    /// Returns found and wanted, with the flag that `rva refine` has for it.
    pub fn parse(table: &str, from: Option<&str>, to: Option<&str>) -> Result<Self, String> {
        let tables = RebuildTables::parse(table).ok_or_else(|| {
            format!("--rebuild: found {table:?}, wanted one of {}", RebuildTables::names().join(", "))
        })?;
        let Some(from) = from else { return Ok(Self { tables, span: None }) };
        let first = day("--from", from)?;
        let last = to.map_or(Ok(first), |to| day("--to", to))?;
        if last.1 <= first.0 {
            let to = to.unwrap_or_default();
            return Err(format!("--to: found {to}, wanted a day that isn't before {from}"));
        }
        Ok(Self { tables, span: Some((first.0, last.1)) })
    }
}

/// Returns a day's first moment and its end, in microseconds since 1970.
///
/// # Errors
/// Returns found and wanted, with the flag, where the text isn't a day like 2026-01-31.
pub fn day(flag: &str, text: &str) -> Result<(i64, i64), String> {
    const DAY_US: i64 = 86_400_000_000;
    let start = Timestamp::parse(&format!("{text}T00:00:00Z"));
    let start = start.map_err(|_| format!("{flag}: found {text:?}, wanted a day like 2026-01-31"))?;
    Ok((start.as_micros(), start.as_micros() + DAY_US))
}

/// The tables that are worked out again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RebuildTables {
    /// All of silver, and then all of gold.
    Silver,
    /// All of gold.
    Gold,
    /// One table of gold, by its name.
    One(String),
}

impl RebuildTables {
    /// Parses `silver`, `gold`, or the name of a table of gold; `None`: it is none of them.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "silver" => Some(Self::Silver),
            "gold" => Some(Self::Gold),
            name => {
                let name = name.strip_prefix("rva.").unwrap_or(name);
                NAMES.contains(&name).then(|| Self::One(name.to_owned()))
            }
        }
    }

    /// Returns the names that can be asked for.
    pub fn names() -> Vec<&'static str> {
        ["silver", "gold"].into_iter().chain(NAMES).collect()
    }

    pub(crate) fn holds(&self, gold: &str) -> bool {
        match self {
            Self::Silver | Self::Gold => true,
            Self::One(name) => name == gold,
        }
    }
}
