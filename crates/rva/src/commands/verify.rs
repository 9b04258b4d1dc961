//! `rva verify`: checks that silver and gold are what their definitions say.

use crate::{
    cli::VerifyArgs,
    commands::query::{at, bounds, quoted},
    exit::{Exit, Refusal},
    output::to_stdout,
    terminal::Terminal,
};
use anyhow::{Context, bail};
use arrow::{
    array::RecordBatch,
    util::display::{ArrayFormatter, FormatOptions},
};
use rva_lake::{Lake, SqlOptions, TableSummary};
use rva_refine::{check_silver, day, service::rules_of, whole_of_gold};
use rva_service::Loaded;
use std::collections::BTreeMap;

/// The most differing rows that are shown of a table.
const SHOWN_MAX: usize = 20;

/// The rows of silver from which on cameras are compared apart: the query of crossings holds some hundred bytes for each
/// of them, several times.
const GROUP_ROWS: u64 = 500_000;

/// The rows of silver from which on the tracks of a camera are compared in several parts, where a row is of one track:
/// what joins each detection with a zone's edges is many times as large.
const PART_ROWS: u64 = 100_000;

/// A table of gold with the number of columns of its key (the first ones), whether a row is of one track, its column of
/// time and its defining SQL.
struct Defined {
    table: &'static str,
    key: usize,
    is_by_track: bool,
    time: &'static str,
    sql: &'static str,
}

macro_rules! defined {
    ($name:literal, $key:literal, $time:literal) => {
        defined!($name, $key, $time, false)
    };
    ($name:literal, $key:literal, $time:literal, $is_by_track:literal) => {
        Defined {
            table: concat!("gold_", $name),
            key: $key,
            is_by_track: $is_by_track,
            time: $time,
            sql: include_str!(concat!("../../../../data/queries/gold/", $name, ".sql")),
        }
    };
}

const DEFINED: &[Defined] = &[
    defined!("minute_by_cam", 3, "ts_minute"),
    defined!("hour_by_cam", 3, "ts_hour"),
    defined!("people_per_minute", 3, "ts_minute"),
    defined!("camera_minute", 3, "ts_minute"),
    defined!("zone_heatmap", 5, "ts_hour"),
    defined!("zone_dwell", 5, "ts_hour"),
    defined!("track_summary", 4, "start_time", true),
    defined!("line_crossings", 6, "crossed_at", true),
    defined!("zone_visits", 6, "entered_at", true),
    defined!("zone_minute", 4, "ts_minute"),
];

/// Compares silver with bronze, and gold with its defining SQL over silver. The rows that differ go to stdout.
///
/// # Errors
/// Returns why nothing was compared: there are no tables, they can't be read, or they aren't at the end of bronze.
pub async fn run(args: VerifyArgs, loaded: Loaded, terminal: &Terminal) -> anyhow::Result<Exit> {
    let span = args.day.as_ref().map(|text| day("--day", text)).transpose().map_err(Refusal::usage)?;
    let (_spill, options) = bounds(&loaded, None, terminal)?;
    let lake = crate::folder::lake_to_read(&loaded).await?;
    check_current(&lake.tables().await?)?;
    let mut differences = 0;
    for difference in check_silver(&lake, &rules_of(&loaded.config), span).await? {
        differences += 1;
        to_stdout(&format!("{difference}\n"))?;
    }
    let mut rows = 0;
    let span = whole_of_gold(&lake, span).await?;
    let groups = groups(&silver_rows(&lake, &options).await?);
    for defined in DEFINED {
        let mut shown = 0;
        for condition in groups.iter().flat_map(|cameras| conditions(defined, cameras, span)) {
            let compared = compare(&lake, defined, &condition, &options).await?;
            rows += compared.rows;
            differences += compared.differences.len();
            let lines = compared.differences.iter().take(SHOWN_MAX - shown);
            shown += lines.len();
            to_stdout(&lines.map(|line| format!("{line}\n")).collect::<String>())?;
        }
    }
    if differences > 0 {
        terminal.say(&format!(
            "{differences} rows differ; `rva refine --rebuild silver` or `--rebuild gold` works the tables out again"
        ));
        return Ok(Exit::Failure);
    }
    let tables = DEFINED.len();
    terminal
        .say(&format!("silver is what bronze says, and {rows} rows of {tables} tables of gold are what silver says"));
    Ok(Exit::Done)
}

/// Refuses tables that are behind their input: they differ from their definition, and are right all the same.
///
/// # Errors
/// Returns which table is behind which, or that there is no gold.
pub fn check_current(tables: &[TableSummary]) -> anyhow::Result<()> {
    let sequences: BTreeMap<&str, u64> =
        tables.iter().filter_map(|table| Some((table.name.strip_prefix("rva.")?, table.sequence))).collect();
    for table in tables {
        let name = table.name.strip_prefix("rva.").unwrap_or(&table.name);
        if !name.starts_with("gold_") && !name.starts_with("silver_") {
            continue;
        }
        let inputs = if name.starts_with("silver_") {
            ["bronze_raw"].as_slice()
        } else {
            &["silver_frames", "silver_detections", "zones"]
        };
        for input in inputs {
            let at = table.offsets.get(input).map_or(0, |position| position.entry);
            let newest = sequences.get(input).copied().unwrap_or(0);
            if at != newest {
                bail!(
                    "found rva.{name} at snapshot {at} of rva.{input}, wanted {newest}, the newest: bring the tables up \
                     with `rva refine --drain` first"
                );
            }
        }
    }
    if !sequences.keys().any(|name| name.starts_with("gold_")) {
        bail!("found no table of gold, wanted some to compare: `rva refine --drain` makes them");
    }
    Ok(())
}

/// Cameras that follow each other by store and name: from one on, and before another; and their rows of silver.
#[derive(Debug, Clone, Default, PartialEq)]
struct Cameras {
    from: Option<Camera>,
    before: Option<Camera>,
    rows: u64,
}

/// A store and the name of a camera in it.
type Camera = (String, String);

/// Returns the rows of silver that each camera has.
async fn silver_rows(lake: &Lake, options: &SqlOptions) -> anyhow::Result<BTreeMap<Camera, u64>> {
    let sql = "SELECT store_id, camera_id, count(*) FROM (SELECT store_id, camera_id FROM silver_frames UNION ALL \
               SELECT store_id, camera_id FROM silver_detections) AS silver GROUP BY store_id, camera_id";
    let counted = rows(lake, sql, 2, options).await?.into_iter();
    let of_camera = counted.map(|(mut camera, counts)| {
        let name = (std::mem::take(&mut camera[0]), std::mem::take(&mut camera[1]));
        Ok((name, counts[0][0].parse().context("count the rows of silver")?))
    });
    of_camera.collect()
}

/// Parts all cameras that there are or could be into groups of about [`GROUP_ROWS`], so that the memory of a comparison
/// is that of a group: each table of gold says what it says of one camera.
fn groups(rows: &BTreeMap<Camera, u64>) -> Vec<Cameras> {
    let (mut groups, mut group) = (Vec::new(), Cameras::default());
    for (camera, &rows) in rows {
        if group.rows > 0 && group.rows + rows > GROUP_ROWS {
            let next = Cameras { from: Some(camera.clone()), ..Cameras::default() };
            groups.push(Cameras { before: Some(camera.clone()), ..std::mem::replace(&mut group, next) });
        }
        group.rows += rows;
    }
    groups.push(group);
    groups
}

/// Returns the conditions that leave rows of these cameras and of that span in microseconds, each row by one of them.
fn conditions(defined: &Defined, cameras: &Cameras, span: Option<(i64, i64)>) -> Vec<String> {
    let beyond = |camera: &Camera, than: &str, than_name: &str| {
        let (store, camera) = (quoted(&camera.0), quoted(&camera.1));
        format!("(store_id {than} {store} OR (store_id = {store} AND camera_id {than_name} {camera}))")
    };
    let within = span.map(|(from, to)| {
        let time = defined.time;
        format!("{time} >= {} AND {time} < {}", at(from), at(to))
    });
    let from = cameras.from.as_ref().map(|camera| beyond(camera, ">", ">="));
    let before = cameras.before.as_ref().map(|camera| beyond(camera, "<", "<"));
    let common: Vec<String> = [from, before, within].into_iter().flatten().collect();
    let parts = if defined.is_by_track { cameras.rows.div_ceil(PART_ROWS).max(1) } else { 1 };
    let of_part = |part| {
        let tracks = (parts > 1).then(|| format!("abs(coalesce(track_id, 0) % {parts}) = {part}"));
        let all: Vec<&str> = common.iter().chain(&tracks).map(String::as_str).collect();
        if all.is_empty() { String::new() } else { format!(" WHERE {}", all.join(" AND ")) }
    };
    (0..parts).map(of_part).collect()
}

struct Compared {
    rows: usize,
    differences: Vec<String>,
}

async fn compare(lake: &Lake, defined: &Defined, condition: &str, options: &SqlOptions) -> anyhow::Result<Compared> {
    let Defined { table, key, sql, .. } = defined;
    let wanted = rows(lake, &format!("SELECT * FROM (\n{sql}\n) AS wanted{condition}"), *key, options).await?;
    let mut found = rows(lake, &format!("SELECT * FROM {table}{condition}"), *key, options).await?;
    let mut differences = Vec::new();
    let count = wanted.len();
    for (key, wanted) in wanted {
        match found.remove(&key) {
            None => differences.push(format!("missing rva.{table}: {} {}", key.join(" "), wanted[0].join(" "))),
            Some(rows) if rows.len() > 1 => {
                differences.push(format!("{} times rva.{table}: {}", rows.len(), key.join(" ")));
            }
            Some(rows) if !rows[0].iter().zip(&wanted[0]).all(|(one, other)| is_same(one, other)) => {
                differences.push(format!(
                    "other   rva.{table}: {} found {} wanted {}",
                    key.join(" "),
                    rows[0].join(" "),
                    wanted[0].join(" ")
                ));
            }
            Some(_) => {}
        }
    }
    differences.extend(found.into_iter().map(|(key, rows)| {
        format!("extra   rva.{table}: {} {}", key.join(" "), rows.first().map(|row| row.join(" ")).unwrap_or_default())
    }));
    Ok(Compared { rows: count, differences })
}

/// The values behind the key of each row that has it, by the key.
type Keyed = BTreeMap<Vec<String>, Vec<Vec<String>>>;

async fn rows(lake: &Lake, sql: &str, key: usize, options: &SqlOptions) -> anyhow::Result<Keyed> {
    let batches = lake.sql_with(sql, options).await?.collect().await?;
    let mut keyed = Keyed::new();
    for batch in &batches {
        for mut row in cells(batch)? {
            let rest = row.split_off(key.min(row.len()));
            keyed.entry(row).or_default().push(rest);
        }
    }
    Ok(keyed)
}

fn cells(batch: &RecordBatch) -> anyhow::Result<Vec<Vec<String>>> {
    let options = FormatOptions::default().with_null("null");
    let columns: Vec<_> = batch
        .columns()
        .iter()
        .map(|column| ArrayFormatter::try_new(column.as_ref(), &options))
        .collect::<Result<_, _>>()?;
    Ok((0..batch.num_rows()).map(|row| columns.iter().map(|column| column.value(row).to_string()).collect()).collect())
}

/// Returns whether two values are the same: as text, or as doubles up to a relative error of 1e-9.
fn is_same(one: &str, other: &str) -> bool {
    let close = |one: f64, other: f64| (one - other).abs() <= 1e-9 * one.abs().max(1.0);
    one == other || matches!((one.parse(), other.parse()), (Ok(one), Ok(other)) if close(one, other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_hold_every_camera_once_and_none_of_them_too_much() {
        let camera = |store: &str, name: &str| (store.to_owned(), name.to_owned());
        let rows = BTreeMap::from([
            (camera("a", "1"), GROUP_ROWS / 2),
            (camera("a", "2"), GROUP_ROWS / 2),
            (camera("a", "3"), 10 * GROUP_ROWS),
            (camera("b", "it's"), 1),
            (camera("c", "1"), 1),
        ]);
        let groups = groups(&rows);
        let names = |camera: &Option<Camera>| camera.as_ref().map(|(store, name)| format!("{store}{name}"));
        let bounds: Vec<_> =
            groups.iter().map(|group| (names(&group.from), names(&group.before), group.rows)).collect();
        let named = |name: &str| Some(name.to_owned());
        assert_eq!(
            bounds,
            [
                (None, named("a3"), GROUP_ROWS),
                (named("a3"), named("bit's"), 10 * GROUP_ROWS),
                (named("bit's"), None, 2)
            ]
        );
        assert_eq!(super::groups(&BTreeMap::new()), [Cameras::default()]);

        let minutes = &DEFINED[0];
        assert_eq!(conditions(minutes, &Cameras::default(), None), [""]);
        let last = " WHERE (store_id > 'b' OR (store_id = 'b' AND camera_id >= 'it''s'))";
        assert_eq!(conditions(minutes, &groups[2], None), [last]);
        let first = " WHERE (store_id < 'a' OR (store_id = 'a' AND camera_id < '3')) AND ts_minute >= ";
        let of_span = conditions(minutes, &groups[0], Some((0, 60_000_000)));
        assert!(of_span.len() == 1 && of_span[0].starts_with(first), "{of_span:?}");

        let tracks = DEFINED.iter().find(|defined| defined.table == "gold_track_summary").unwrap();
        assert_eq!(conditions(tracks, &groups[2], None), [last]);
        let parts = conditions(tracks, &groups[0], None);
        assert_eq!(parts.len() as u64, GROUP_ROWS / PART_ROWS);
        assert!(parts[3].ends_with(" AND abs(coalesce(track_id, 0) % 5) = 3"), "{parts:?}");
    }
}
