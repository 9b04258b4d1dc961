//! `rva forget`: records out of the tables, and their bytes with them.

pub mod args;
mod say;

use crate::{
    commands::backup,
    exit::{Exit, Refusal},
    folder::{absolute, table_settings, table_settings_to_write},
    output::to_stdout,
    terminal::Terminal,
};
use anyhow::Context;
use args::ForgetArgs;
use rva_bus::{EventSource, LogForgotten, LogReader, forget_records};
use rva_lake::{BackupStore, Lake};
use rva_refine::{service::bring_up, whole_of_gold};
use rva_service::{
    BusKind, Config, Loaded, stop_on_signals, stopped,
    tables::{TableSettings, Tables},
};
use rva_types::{DataFolder, OffsetMap, RecordChoice, Timestamp};
use say::Holding;
use std::io::{self, IsTerminal, Write};

/// The table whose positions say which records of the log are in the tables.
const BRONZE: &str = "bronze_raw";

/// Forgets records, or says which ones it would.
///
/// # Errors
/// Returns why tables, log or backups can't be used, or what of the arguments is refused.
pub async fn run(args: ForgetArgs, loaded: Loaded, terminal: &Terminal) -> anyhow::Result<Exit> {
    let given = |text: &Option<String>| text.clone();
    let (store, camera, from, to) = (given(&args.store), given(&args.camera), given(&args.from), given(&args.to));
    let choice = RecordChoice::parse(store.as_deref(), camera.as_deref(), from.as_deref(), to.as_deref());
    let choice = choice.map_err(Refusal::usage)?;
    let mut places = Vec::new();
    for place in &args.backups {
        let store = backup::store(&loaded, place)?;
        // Found out before anything goes.
        store.backups().await?;
        places.push((place.clone(), store));
    }
    if let Some(place) = loaded.config.backup.to.clone().filter(|_| places.is_empty()) {
        let store = backup::store(&loaded, &place)?;
        if store.newest_made_ms().await?.is_some() {
            store.backups().await?;
            places.push((place, store));
        }
    }
    let is_asking = !args.dry_run && !args.yes;
    if is_asking && !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
        return Err(Refusal::usage("found no terminal to ask at, wanted --yes, or --dry-run").into());
    }
    let settings = if args.dry_run { table_settings(&loaded)? } else { table_settings_to_write(&loaded)? };
    let forget = Forget { choice, settings, folder: absolute(&loaded.config.data_dir)?, loaded, places };
    let stop = stop_on_signals()?;
    let work = async {
        if args.dry_run {
            forget.plan().await?;
            return Ok(Exit::Done);
        }
        if is_asking && !forget.is_wanted(terminal).await? {
            terminal.say("nothing was changed");
            return Ok(Exit::Failure);
        }
        forget.carry_out(terminal).await
    };
    tokio::select! {
        done = work => done,
        // Each step can be repeated: the same command goes on.
        () = stopped(&stop) => Ok(Exit::Interrupted),
    }
}

/// A request to forget.
struct Forget {
    choice: RecordChoice,
    settings: TableSettings,
    folder: DataFolder,
    loaded: Loaded,
    places: Vec<(String, BackupStore)>,
}

impl Forget {
    fn config(&self) -> &Config {
        &self.loaded.config
    }

    /// Says on stdout what is chosen.
    async fn plan(&self) -> anyhow::Result<()> {
        let lake = self.settings.open_to_read().await.context("open the tables")?;
        let tables = lake.forgetting(&self.choice).await?.chosen().await?;
        let log = self.log(&lake, false).await?;
        to_stdout(&say::chosen(&tables, &log))?;
        to_stdout(&say::holding(&self.holding().await?))?;
        Ok(())
    }

    /// Asks on the terminal, after it said what is chosen.
    async fn is_wanted(&self, terminal: &Terminal) -> anyhow::Result<bool> {
        self.plan().await?;
        terminal.bars().suspend(|| eprint!("forget {} for good? [y/N] ", self.choice));
        io::stderr().flush()?;
        let answer = tokio::task::spawn_blocking(|| {
            let mut answer = String::new();
            io::stdin().read_line(&mut answer).map(|_| answer)
        });
        let answer = answer.await??;
        Ok(["y", "yes"].contains(&answer.trim().to_ascii_lowercase().as_str()))
    }

    async fn carry_out(&self, terminal: &Terminal) -> anyhow::Result<Exit> {
        let lake = self.settings.open().await.context("open the tables")?;
        let mut forgetting = lake.forgetting(&self.choice).await?;
        let taken = forgetting.take_events().await.context("take rows out of bronze")?;
        say::taken(&taken, terminal);
        let mut is_nothing = taken.iter().all(|taken| taken.rows == 0);
        let log = self.log(&lake, true).await?;
        say::of_log(&log, terminal);
        // What an ingest brought in before the log was looked at: its records are written over already.
        let taken = forgetting.take_events().await.context("take rows out of bronze")?;
        say::taken(&taken, terminal);
        is_nothing &= taken.iter().all(|taken| taken.rows == 0);
        if forgetting.has_followers() {
            self.follow(terminal).await?;
            let taken = forgetting.take_silver().await.context("take rows out of silver")?;
            is_nothing &= taken.iter().all(|taken| taken.rows == 0);
            if taken.iter().any(|taken| taken.rows > 0) {
                say::taken(&taken, terminal);
                self.follow(terminal).await?;
            }
        }
        if let Some((since, _)) = whole_of_gold(&lake, None).await? {
            let taken = forgetting.take_gold(Timestamp::from_micros(since)).await.context("take rows out of gold")?;
            is_nothing &= taken.iter().all(|taken| taken.rows == 0);
            say::taken(&taken, terminal);
        }
        let cleaned = forgetting.clean().await.context("clean the tables")?;
        if cleaned > 0 && forgetting.has_followers() {
            self.follow(terminal).await?;
        }
        let erased = forgetting.erase().await.context("erase the past of the tables")?;
        say::erased(&erased, terminal);
        if is_nothing && erased.is_empty() && log.is_nothing() {
            terminal.say("nothing of it is there");
        }
        self.say_elsewhere(terminal).await?;
        let left = say::left(&erased, &log);
        for line in &left {
            to_stdout(&format!("stays: {line}\n"))?;
        }
        Ok(if left.is_empty() { Exit::Done } else { Exit::Failure })
    }

    /// Brings silver and gold to bronze, beside whoever else does.
    async fn follow(&self, terminal: &Terminal) -> anyhow::Result<()> {
        let last = bring_up(&self.settings, self.config()).await?;
        if last.hours > 0 {
            terminal.say(&format!("silver and gold: {} hours of cameras worked out again", last.hours));
        }
        Ok(())
    }

    /// Forgets the records of the log, or says which ones.
    async fn log(&self, lake: &Lake, writes: bool) -> anyhow::Result<LogForgotten> {
        let folder = match &self.settings.tables {
            Tables::Embedded(root) => DataFolder::at(root).log(),
            Tables::Rest(_) => self.folder.log(),
        };
        if !folder.is_dir() {
            return Ok(LogForgotten::default());
        }
        let committed = self.committed(lake, &folder).await?;
        let choice = self.choice.clone();
        let work = move || forget_records(&folder, &committed, &choice, writes);
        tokio::task::spawn_blocking(work).await?.context("forget records of the log")
    }

    /// Returns how far the table has this very log.
    async fn committed(&self, lake: &Lake, folder: &std::path::Path) -> anyhow::Result<OffsetMap> {
        let Ok(reader) = LogReader::open(folder) else { return Ok(OffsetMap::new()) };
        let Some(bronze) = lake.view(BRONZE).await? else { return Ok(OffsetMap::new()) };
        let point = lake.position_of(&bronze).await?;
        Ok(if point.source.as_deref() == Some(reader.identity()) { point.offsets } else { OffsetMap::new() })
    }

    async fn holding(&self) -> anyhow::Result<Vec<Holding>> {
        let mut found = Vec::new();
        for (place, store) in &self.places {
            let backups =
                store.holding(&self.choice).await.with_context(|| format!("look into the backups in {place}"))?;
            found.push(Holding { place: place.clone(), backups });
        }
        Ok(found)
    }

    /// Says where else such records lie, which this program doesn't touch.
    async fn say_elsewhere(&self, terminal: &Terminal) -> anyhow::Result<()> {
        to_stdout(&say::holding(&self.holding().await?))?;
        if self.places.is_empty() {
            terminal.say("backups weren't looked through: --backups names a place of them");
        }
        let config = self.config();
        if config.bus.kind == BusKind::Pulsar || matches!(self.settings.tables, Tables::Rest(_)) {
            terminal
                .say(&format!("the broker keeps messages of {} as long as its retention says", config.pulsar.topic));
        }
        let annotated = self.folder.annotated();
        if std::fs::read_dir(&annotated).is_ok_and(|mut entries| entries.next().is_some()) {
            terminal.say(&format!("pictures and videos in {} are left as they are", annotated.display()));
        }
        Ok(())
    }
}
