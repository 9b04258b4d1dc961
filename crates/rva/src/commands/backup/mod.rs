//! `rva backup` and `rva restore`: the tables in another place, and back.

pub mod args;

use crate::{
    exit::{Exit, Refusal},
    folder::{absolute, table_settings},
    output::to_stdout,
    shared_args::RowFormat,
    terminal::Terminal,
};
use args::{BackupAction, BackupArgs, RestoreArgs};
use rva_lake::{Backup, BackupMade, BackupStore, LakeError, LakeErrorKind, RestoreTarget, Verified};
use rva_service::{
    Loaded, format_bytes, stop_on_signals, stopped,
    tables::{TableSettings, Tables, storage_of},
};
use rva_types::Timestamp;
use serde_json::json;
use std::path::PathBuf;

/// Makes a backup, lists the backups that there are, or reads them through.
///
/// # Errors
/// Returns why tables or place can't be used, or what of the arguments is refused.
pub async fn run(args: BackupArgs, loaded: Loaded, terminal: &Terminal) -> anyhow::Result<Exit> {
    let stop = stop_on_signals()?;
    let work = async {
        match args.action {
            Some(BackupAction::List { from, format }) => list(&place_of(&loaded, from.as_deref())?, format).await,
            Some(BackupAction::Verify { from, backup }) => {
                let verified = place_of(&loaded, from.as_deref())?.verify(backup.as_deref()).await.map_err(once)?;
                told(&verified, terminal)
            }
            None => {
                let store = place_of(&loaded, args.to.as_deref())?;
                let lake = table_settings(&loaded)?.open_to_read().await?;
                let made = lake.back_up(&store, args.keep.map(Into::into)).await.map_err(once)?;
                say(&made, &store, terminal);
                Ok(Exit::Done)
            }
        }
    };
    tokio::select! {
        done = work => done,
        // Files that were copied are there for the next backup; no record names them.
        () = stopped(&stop) => Ok(Exit::Interrupted),
    }
}

/// Makes the tables of a backup anew.
///
/// # Errors
/// Returns why backup or target can't be used.
pub async fn restore(args: RestoreArgs, loaded: Loaded, terminal: &Terminal) -> anyhow::Result<Exit> {
    let store = store(&loaded, &args.from)?;
    let backup = store.backup(args.backup.as_deref()).await?;
    let settings = TableSettings::of(&loaded)?;
    let (target, place) = match &settings.tables {
        Tables::Embedded(folder) => {
            let folder = absolute(&args.to.map_or_else(|| folder.clone(), PathBuf::from))?;
            let place = folder.root().display().to_string();
            (RestoreTarget::Folder(folder.root().to_owned()), place)
        }
        Tables::Rest(rest) => {
            let namespace = args.to.unwrap_or_else(|| backup.namespace.clone());
            let place = format!("namespace {namespace} of {}", rest.uri);
            (RestoreTarget::Rest { rest: Box::new(rest.clone()), namespace }, place)
        }
    };
    let stop = stop_on_signals()?;
    let restored = tokio::select! {
        restored = store.restore(&backup, &target, &settings.lake) => restored.map_err(once)?,
        () = stopped(&stop) => return Ok(Exit::Interrupted),
    };
    terminal.say(&format!(
        "backup {} of {} restored into {place}: {} tables, {} files of {}",
        backup.id,
        time_of(&backup),
        restored.tables.len(),
        restored.files,
        format_bytes(restored.bytes)
    ));
    if matches!(target, RestoreTarget::Folder(_)) {
        terminal.say(
            "the log isn't part of a backup: put the old log/ beside the tables, or take another ingest.job where it is \
             lost (docs/backup.md)",
        );
    }
    Ok(Exit::Done)
}

/// Adds the way out of a trouble that a service would wait for; a command is asked again.
fn once(error: LakeError) -> anyhow::Error {
    match error.way_out().filter(|_| error.kind() == LakeErrorKind::Transient) {
        Some(way_out) => {
            let way_out = way_out.replace("it goes on by itself", "then ask again");
            anyhow::anyhow!("{error}: {way_out}")
        }
        None => error.into(),
    }
}

/// Returns a place of backups, which is reached with the keys of the configuration. Nothing is looked at.
///
/// # Errors
/// Returns what of keys or place is wrong.
pub fn store(loaded: &Loaded, place: &str) -> anyhow::Result<BackupStore> {
    Ok(BackupStore::at(storage_of(loaded, place)?, place)?)
}

/// Returns the place that was named, or that of the configuration.
fn place_of(loaded: &Loaded, named: Option<&str>) -> anyhow::Result<BackupStore> {
    match named.or(loaded.config.backup.to.as_deref()) {
        Some(place) => store(loaded, place),
        None => Err(Refusal::usage(
            "found no place of backups, wanted one on the command line, or backup.to in the configuration",
        )
        .into()),
    }
}

fn time_of(backup: &Backup) -> String {
    Timestamp::from_micros(backup.made_ms.saturating_mul(1000)).to_string()
}

fn say(made: &BackupMade, store: &BackupStore, terminal: &Terminal) {
    let (files, bytes) = made.backup.size();
    terminal.say(&format!(
        "backup {} in {}: {} tables, {files} files of {}, {} of them new ({})",
        made.backup.id,
        store.location(),
        made.backup.tables.len(),
        format_bytes(bytes),
        made.files_copied,
        format_bytes(made.bytes_copied)
    ));
    if !made.backup.left_out.is_empty() {
        terminal.say(&format!("left out, since they can't be read: {}", made.backup.left_out.join(", ")));
    }
    if let Some(pruned) = made.pruned.as_ref().filter(|pruned| !pruned.backups.is_empty() || pruned.files > 0) {
        terminal.say(&format!(
            "removed {} backups and {} files of {}",
            pruned.backups.len(),
            pruned.files,
            format_bytes(pruned.bytes)
        ));
    }
}

async fn list(store: &BackupStore, format: RowFormat) -> anyhow::Result<Exit> {
    let mut text = match format {
        RowFormat::Csv => "id,made,tables,files,bytes\n".to_owned(),
        RowFormat::Table | RowFormat::Json => String::new(),
    };
    for backup in store.backups().await? {
        let (time, tables, (files, bytes)) = (time_of(&backup), backup.tables.len(), backup.size());
        text.push_str(&match format {
            RowFormat::Table => {
                format!("{}  {time}  {tables} tables  {files} files  {}\n", backup.id, format_bytes(bytes))
            }
            RowFormat::Csv => format!("{},{time},{tables},{files},{bytes}\n", backup.id),
            RowFormat::Json => {
                let names: Vec<_> = backup.tables.iter().map(|table| (&table.name, table.sequence)).collect();
                let tables: serde_json::Map<_, _> =
                    names.into_iter().map(|(name, sequence)| (name.clone(), json!(sequence))).collect();
                format!(
                    "{}\n",
                    json!({"id": backup.id, "made": time, "tables": tables, "files": files, "bytes": bytes})
                )
            }
        });
    }
    to_stdout(&text)?;
    Ok(Exit::Done)
}

/// Writes what is wrong to stdout, a line each, and says how it is.
fn told(verified: &Verified, terminal: &Terminal) -> anyhow::Result<Exit> {
    for finding in &verified.findings {
        to_stdout(&format!("{}: {} ({})\n", finding.place, finding.text, finding.of))?;
    }
    for place in &verified.foreign {
        terminal.say(&format!("{place} is no file of a backup, and is left alone"));
    }
    if verified.unnamed > 0 {
        terminal.say(&format!("{} files are named by no backup yet: one was cut off, or runs", verified.unnamed));
    }
    let read = format!(
        "{} backups, {} files of {} read",
        verified.backups.len(),
        verified.files,
        format_bytes(verified.bytes)
    );
    if verified.findings.is_empty() {
        terminal.say(&format!("{read}: all are what they were"));
        return Ok(Exit::Done);
    }
    terminal.say(&format!(
        "{read}: {} are not what they were; what is lost of immutable files the next backup copies anew while the \
         tables still have them",
        verified.findings.len()
    ));
    Ok(Exit::Failure)
}
