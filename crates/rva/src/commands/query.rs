//! `rva query`: SQL over the committed rows.

use crate::{cli::QueryArgs, exit::Exit, rows::RowWriter};
use futures::StreamExt;
use rva_service::Loaded;

/// People per minute of each camera: tracks of class `person`, an id of one run counted once a minute.
pub const PEOPLE_PER_MINUTE: &str = "SELECT minute, camera_id, count(DISTINCT person) AS people FROM (\
    SELECT date_trunc('minute', to_timestamp(payload->>'capture_ts')) AS minute, camera_id, \
    pipeline_run_id || '/' || (seen->>'track_id') AS person FROM (\
    SELECT payload, camera_id, pipeline_run_id, unnest(json_get_array(payload, 'detections')) AS seen FROM bronze_raw) \
    WHERE (seen->>'class') = 'person') GROUP BY minute, camera_id ORDER BY minute, camera_id";

/// Runs one SELECT and writes its rows to stdout as they come.
///
/// # Errors
/// There are no tables, the query is wrong, or stdout can't be written.
pub async fn run(args: QueryArgs, loaded: Loaded) -> anyhow::Result<Exit> {
    let lake = crate::folder::lake_to_read(&loaded).await?;
    let mut answer = lake.sql(&args.sql).await?;
    let mut rows = RowWriter::new(args.format, &answer.schema)?;
    while let Some(batch) = answer.batches.next().await {
        rows.write(batch?)?;
    }
    rows.finish()?;
    Ok(Exit::Done)
}
