//! `rva verify`: checks that silver and gold are what their definitions say.

use crate::{
    cli::VerifyArgs,
    commands::query::bounds,
    exit::{Exit, Refusal},
    output::to_stdout,
    terminal::Terminal,
};
use anyhow::bail;
use arrow::{
    array::RecordBatch,
    util::display::{ArrayFormatter, FormatOptions},
};
use rva_lake::{Lake, SqlOptions, TableSummary};
use rva_refine::{check_silver, day, service::rules_of, whole_of_gold};
use rva_service::Loaded;
use rva_types::Timestamp;
use std::collections::BTreeMap;

/// The most differing rows that are shown of a table.
const SHOWN_MAX: usize = 20;

/// A table of gold with the number of columns of its key (the first ones), its column of time and its defining SQL.
struct Defined {
    table: &'static str,
    key: usize,
    time: &'static str,
    sql: &'static str,
}

macro_rules! defined {
    ($name:literal, $key:literal, $time:literal) => {
        Defined {
            table: concat!("gold_", $name),
            key: $key,
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
    defined!("track_summary", 4, "start_time"),
    defined!("line_crossings", 6, "crossed_at"),
    defined!("zone_visits", 6, "entered_at"),
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
    for defined in DEFINED {
        let compared = compare(&lake, defined, span, &options).await?;
        rows += compared.rows;
        differences += compared.differences.len();
        to_stdout(&compared.differences.iter().take(SHOWN_MAX).map(|line| format!("{line}\n")).collect::<String>())?;
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

struct Compared {
    rows: usize,
    differences: Vec<String>,
}

async fn compare(
    lake: &Lake,
    defined: &Defined,
    span: Option<(i64, i64)>,
    options: &SqlOptions,
) -> anyhow::Result<Compared> {
    let Defined { table, key, time, sql } = defined;
    let condition = span.map_or_else(String::new, |(from, to)| {
        let at = |micros| format!("CAST('{}' AS timestamp with time zone)", Timestamp::from_micros(micros));
        format!(" WHERE {time} >= {} AND {time} < {}", at(from), at(to))
    });
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
