//! `rva query`: SQL over the committed rows.

use crate::{
    cli::QueryArgs,
    exit::{Exit, Refusal},
    rows::RowWriter,
    spill::SpillFolder,
    terminal::Terminal,
};
use futures::StreamExt;
use rva_lake::{AsOf, SqlOptions};
use rva_service::{Loaded, stop_on_signals};
use rva_types::Timestamp;

/// The query of people per minute of each camera: tracks of class `person`, an id of one run counted once a minute.
pub const PEOPLE_PER_MINUTE: &str = "SELECT minute, camera_id, count(DISTINCT person) AS people FROM (\
    SELECT date_trunc('minute', TRY_CAST(payload->>'capture_ts' AS timestamp)) AS minute, camera_id, \
    pipeline_run_id || '/' || (seen->>'track_id') AS person FROM (\
    SELECT payload, camera_id, pipeline_run_id, unnest(json_get_array(payload, 'detections')) AS seen FROM bronze_raw) \
    WHERE (seen->>'class') = 'person') GROUP BY minute, camera_id ORDER BY minute, camera_id";

/// Runs one SELECT and writes its rows to stdout as they come. A signal ends it at once, also where it waits for the
/// reader of stdout.
///
/// # Errors
/// Returns an error where there are no tables, the query is wrong, or stdout can't be written.
pub async fn run(args: QueryArgs, loaded: Loaded, terminal: &Terminal) -> anyhow::Result<Exit> {
    let as_of = moment(&args)?;
    let (_spill, options) = bounds(&loaded, as_of, terminal)?;
    let lake = crate::folder::lake_to_read(&loaded).await?;
    let mut answer = lake.sql_with(&args.sql, &options).await?;
    let mut rows = RowWriter::new(args.format, &answer.schema)?;
    while let Some(batch) = answer.batches.next().await {
        rows.write(&batch?)?;
    }
    rows.finish()?;
    Ok(Exit::Done)
}

/// Returns the bounds of a query as they are configured, and its folder, which is there as long as it is held. A signal
/// removes it and ends the process.
///
/// # Errors
/// Returns an error where the folder can't be made.
pub fn bounds(loaded: &Loaded, as_of: Option<AsOf>, terminal: &Terminal) -> anyhow::Result<(SpillFolder, SqlOptions)> {
    let spill = SpillFolder::make(loaded.config.query.spill_dir.as_deref())?;
    spill.ends_with(stop_on_signals()?, terminal)?;
    let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    let options = SqlOptions {
        memory_max_bytes: size(loaded.config.query.memory_max),
        spill_dir: Some(spill.path().to_owned()),
        spill_max_bytes: loaded.config.query.spill_max,
        as_of,
    };
    Ok((spill, options))
}

/// Returns a text as SQL writes it.
pub fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Returns a moment, in microseconds since 1970, as SQL writes it.
pub fn at(micros: i64) -> String {
    format!("CAST('{}' AS timestamp with time zone)", Timestamp::from_micros(micros))
}

/// Returns the moment that the tables are read as of.
fn moment(args: &QueryArgs) -> anyhow::Result<Option<AsOf>> {
    let time = |text: &String| {
        Timestamp::parse(text).map(AsOf::Time).map_err(|error| Refusal::usage(format!("--as-of: {error}")))
    };
    Ok(match (&args.snapshot, &args.as_of) {
        (Some(id), _) => Some(AsOf::Snapshot(*id)),
        (None, text) => text.as_ref().map(time).transpose()?,
    })
}
