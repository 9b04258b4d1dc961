//! Rows, positions and options that tests of the lake share.

use rva_lake::{Batch, BronzeRow, Cells, Lake, LakeOptions, Replaced, RowChange, Shape, Staged};
use rva_types::{BronzeEvent, CameraId, EventKey, OffsetMap, Position, RunId, StoreId, Timestamp};
use std::time::Duration;

/// The source of every [`batch`].
pub const SOURCE: &str = "embedded|test";

/// Returns a row of bronze.
pub fn row_of(store: &str, camera: &str, run: &str, frame_index: i64) -> BronzeRow {
    let key = EventKey { run: RunId::parse(run).unwrap(), camera: CameraId::parse(camera).unwrap(), frame_index };
    BronzeRow {
        event: BronzeEvent {
            schema_version: "1.0".into(),
            key,
            payload: format!(r#"{{"frame_index":{frame_index},"pad":"{}"}}"#, "x".repeat(64)).into(),
            store: StoreId::parse(store).unwrap(),
        },
        ingest_ts: Timestamp::from_micros(1_700_000_000_000_000 + frame_index % 1000),
    }
}

/// Returns a row of bronze of one camera.
pub fn row(run: &str, frame_index: i64) -> BronzeRow {
    row_of("store_01", "cam_01", run, frame_index)
}

/// Returns the offsets behind these records.
pub fn at(pairs: &[(&str, u64)]) -> OffsetMap {
    let mut map = OffsetMap::new();
    for (partition, number) in pairs {
        map.advance(*partition, Position::of_record(*number));
    }
    map
}

/// Returns a batch of [`SOURCE`].
pub fn batch(from: OffsetMap, to: OffsetMap, rows: Vec<BronzeRow>) -> Batch<BronzeRow> {
    Batch { source: SOURCE.into(), from, to, rows }
}

/// Returns options whose retries don't make a test of failures wait.
pub fn quick() -> LakeOptions {
    let mut options = LakeOptions::default();
    options.retry.wait_first = Duration::from_millis(1);
    options.retry.wait_max = Duration::from_millis(2);
    options
}

/// Adds rows to a table of silver or gold as its job would, which is made where it is missing.
pub async fn put_rows<T: Shape>(lake: &Lake, rows: Vec<Cells>) {
    let mut table = lake.refined::<T>().await.unwrap();
    if rows.is_empty() {
        return;
    }
    let resume = table.resume_point().await.unwrap();
    let view = table.view().await.unwrap();
    let mut staged = Staged::default();
    table.stage(&view, rows, &mut staged).await.unwrap();
    let to = at(&[("hand", resume.sequence + 1)]);
    let replaced = Replaced::default();
    let change = RowChange { source: "hand".into(), from: resume.offsets, to, staged, replaced };
    table.commit(&view, &change).await.unwrap();
}
