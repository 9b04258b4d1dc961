//! `rva maintain`: the small files of tables merged into large ones.

use crate::{
    exit::{Exit, Refusal},
    folder::{table_settings, table_settings_to_write},
    output::to_stdout,
    shared_args::{FolderArgs, RowFormat},
    terminal::Terminal,
};
use clap::Args;
use rva_lake::{Aged, Lake, LakeErrorKind, Merged, Orphan, TablePlan};
use rva_service::{Loaded, format_bytes, stop_on_signals, stopped, tables::merge_limits};
use serde_json::json;
use std::time::SystemTime;

/// Text below its help.
pub const HELP: &str = "\
Looks every maintain.interval until it is stopped. Can run beside `rva run`, `rva ingest` and `rva refine`: writers go on,
and the rows stay the same. Tables are those of `rva tables`, in a data folder.";

/// `rva maintain`
#[derive(Debug, Args)]
pub struct MaintainArgs {
    /// The one table whose files are merged, like bronze_raw [default: all]
    #[arg(value_name = "TABLE")]
    pub table: Option<String>,
    /// Merge what there is to merge now, and stop
    #[arg(long, conflicts_with = "plan")]
    pub once: bool,
    /// Say which files would be merged, and change nothing
    #[arg(long)]
    pub plan: bool,
    /// How the plan is written
    #[arg(long, value_enum, default_value_t = RowFormat::Table, requires = "plan")]
    pub format: RowFormat,
    /// Where the tables are
    #[command(flatten)]
    pub folder: FolderArgs,
}

/// Merges small files until it is stopped, or once with `--once`; with `--plan` it says what it would do.
///
/// # Errors
/// Returns why folder or tables can't be used, or what of the arguments is refused.
pub async fn run(args: MaintainArgs, loaded: Loaded, terminal: &Terminal) -> anyhow::Result<Exit> {
    let table = args.table.as_deref().map(known).transpose()?;
    let config = &loaded.config;
    if args.plan {
        let settings = table_settings(&loaded)?;
        let limits = merge_limits(&config.maintain, settings.spill_dir(config));
        let lake = settings.open_to_read().await?;
        let plans = lake.plan_merges(table, &limits, SystemTime::now()).await?;
        to_stdout(&match args.format {
            RowFormat::Table => as_text(&plans),
            RowFormat::Csv => as_csv(&plans),
            RowFormat::Json => plans.iter().map(|plan| format!("{}\n", as_json(plan))).collect(),
        })?;
        return Ok(Exit::Done);
    }
    let settings = table_settings_to_write(&loaded)?;
    let limits = merge_limits(&config.maintain, settings.spill_dir(config));
    let stop = stop_on_signals()?;
    let lake = settings.open().await?;
    let mut maintenance = lake.maintenance(table, &limits)?;
    loop {
        let merging = maintenance.merge(SystemTime::now());
        let merged = tokio::select! {
            merged = merging => merged,
            // What was written and isn't committed is an orphan, and goes when it is old.
            () = stopped(&stop) => return Ok(Exit::Interrupted),
        };
        match merged {
            Ok(merged) => say(&merged, terminal),
            Err(error) if !args.once && error.kind() == LakeErrorKind::Transient => {
                tracing::warn!(%error, "could not merge files, tries again at the next look");
            }
            Err(error) => return Err(error.into()),
        }
        if args.once {
            return Ok(Exit::Done);
        }
        tokio::select! {
            () = tokio::time::sleep(config.maintain.interval) => {}
            () = stopped(&stop) => return Ok(Exit::Done),
        }
    }
}

/// Returns a table's name without the namespace.
fn known(name: &str) -> Result<&'static str, Refusal> {
    Lake::maintained_name(name).map_err(|error| Refusal::usage(error.to_string()))
}

fn say(merged: &[Merged], terminal: &Terminal) {
    for table in merged.iter().filter(|table| table.commits > 0) {
        terminal.say(&format!(
            "rva.{}: {} files of {} rows are {} now, {} were {}",
            table.table,
            table.files,
            table.rows,
            table.files_written,
            format_bytes(table.bytes_written),
            format_bytes(table.bytes),
        ));
    }
    for table in merged.iter().filter(|table| table.aged > 0) {
        terminal.say(&format!("rva.{}: {} old rows are gone", table.table, table.aged));
    }
    for table in merged {
        if let Some(why) = &table.left {
            terminal.say(&format!("rva.{}: {why}", table.table));
        }
    }
    if merged.iter().all(|table| table.commits == 0) {
        terminal.say("nothing to merge");
    }
}

fn as_text(plans: &[TablePlan]) -> String {
    let mut text = String::new();
    for plan in plans {
        text.push_str(&format!("rva.{}\n", plan.table));
        text.push_str(&format!("  files  {} ({})\n", plan.files, format_bytes(plan.bytes)));
        if plan.merges.is_empty() {
            text.push_str("  after  the same\n");
        } else {
            let (files, bytes) =
                plan.merges.iter().fold((0, 0), |(files, bytes), merge| (files + merge.files, bytes + merge.bytes));
            let written = format_bytes(bytes);
            text.push_str(&format!("  after  {}: {files} of them ({written}) are written again\n", plan.files_after()));
        }
        for merge in &plan.merges {
            let partition = if merge.partition.is_empty() { "whole table" } else { &merge.partition };
            text.push_str(&format!(
                "  merge  {partition}: {} files, {} rows, {} -> {}\n",
                merge.files,
                merge.rows,
                format_bytes(merge.bytes),
                merge.files_after
            ));
        }
        if let Some(Aged { before, rows, files }) = &plan.ageing {
            text.push_str(&format!("  old    {rows} rows of {files} files go: those before {before}\n"));
        }
        if let Some(why) = &plan.left {
            text.push_str(&format!("  left   {why}\n"));
        }
        if plan.snapshots_expiring > 0 {
            text.push_str(&format!("  expire {} of {} snapshots\n", plan.snapshots_expiring, plan.snapshots));
        }
        for Orphan { location, bytes, age } in &plan.orphans {
            let (bytes, hours) = (format_bytes(*bytes), age.as_secs() / 3600);
            text.push_str(&format!("  orphan {location} ({bytes}, {hours} h old)\n"));
        }
        if let Some(why) = &plan.orphans_left {
            text.push_str(&format!("  orphans stay: {why}\n"));
        }
    }
    text
}

/// Returns CSV, a line a merge.
fn as_csv(plans: &[TablePlan]) -> String {
    let mut text = String::from("table,partition,files,rows,bytes,files_after\n");
    for plan in plans {
        for merge in &plan.merges {
            text.push_str(&format!(
                "rva.{},\"{}\",{},{},{},{}\n",
                plan.table,
                merge.partition.replace('"', "\"\""),
                merge.files,
                merge.rows,
                merge.bytes,
                merge.files_after
            ));
        }
    }
    text
}

fn as_json(plan: &TablePlan) -> serde_json::Value {
    let merge = |merge: &rva_lake::MergePlan| {
        json!({
            "partition": merge.partition,
            "files": merge.files,
            "rows": merge.rows,
            "bytes": merge.bytes,
            "files_after": merge.files_after,
        })
    };
    let orphan = |orphan: &Orphan| json!({"location": orphan.location, "bytes": orphan.bytes, "age_seconds": orphan.age.as_secs()});
    json!({
        "table": format!("rva.{}", plan.table),
        "files": plan.files,
        "bytes": plan.bytes,
        "files_after": plan.files_after(),
        "merges": plan.merges.iter().map(merge).collect::<Vec<_>>(),
        "left": plan.left,
        "old": plan.ageing.as_ref().map(|aged| json!({"before": aged.before.to_string(), "rows": aged.rows, "files": aged.files})),
        "snapshots": plan.snapshots,
        "snapshots_expiring": plan.snapshots_expiring,
        "orphans": plan.orphans.iter().map(orphan).collect::<Vec<_>>(),
        "orphans_left": plan.orphans_left,
    })
}
