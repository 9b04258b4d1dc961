//! What the tables must hold, from bronze alone: the pure definition over every row.

use rva_analytics::{BronzeRow, FrameRows, Rules, ZoneDefinition, Zones, explode, gold};
use rva_lake::{
    CameraMinute, Cell, CellKind, Cells, Columns, HourByCam, Lake, LineCrossings, MinuteByCam, PeoplePerMinute,
    RowFilter, Shape, TrackSummary, ZoneDwell, ZoneHeatmap, ZoneMinute, ZoneTable, ZoneVisits,
};
use rva_refine::{check_silver, gold_cells};
use rva_types::{CameraId, RunId, StoreId, Timestamp};

const BRONZE: &Columns = &[
    ("schema_version", CellKind::Text),
    ("pipeline_run_id", CellKind::Text),
    ("frame_index", CellKind::Long),
    ("payload", CellKind::Text),
    ("camera_id", CellKind::Text),
    ("store_id", CellKind::Text),
    ("ingest_ts", CellKind::Time),
];

const GOLD: [(&str, &Columns); 10] = [
    (TrackSummary::TABLE, TrackSummary::COLUMNS),
    (MinuteByCam::TABLE, MinuteByCam::COLUMNS),
    (HourByCam::TABLE, HourByCam::COLUMNS),
    (PeoplePerMinute::TABLE, PeoplePerMinute::COLUMNS),
    (CameraMinute::TABLE, CameraMinute::COLUMNS),
    (ZoneHeatmap::TABLE, ZoneHeatmap::COLUMNS),
    (ZoneDwell::TABLE, ZoneDwell::COLUMNS),
    (ZoneVisits::TABLE, ZoneVisits::COLUMNS),
    (ZoneMinute::TABLE, ZoneMinute::COLUMNS),
    (LineCrossings::TABLE, LineCrossings::COLUMNS),
];

fn exploded(row: &Cells) -> Option<FrameRows> {
    let text = |at: usize| row[at].text().unwrap();
    let bronze = BronzeRow {
        schema_version: text(0),
        run: &RunId::parse(&**text(1)).unwrap(),
        frame_index: row[2].whole().unwrap(),
        payload: text(3),
        camera: &CameraId::parse(&**text(4)).unwrap(),
        store: &StoreId::parse(&**text(5)).unwrap(),
        ingest_ts: Timestamp::from_micros(row[6].whole().unwrap()),
    };
    explode(&bronze, &Rules::default()).rows
}

fn definition(row: &Cells) -> ZoneDefinition {
    let text = |at: usize| row[at].text().unwrap();
    ZoneDefinition {
        store: StoreId::parse(&**text(0)).unwrap(),
        camera: CameraId::parse(&**text(1)).unwrap(),
        name: text(2).clone(),
        shape: rva_analytics::Shape::parse(text(3), text(4)).unwrap(),
        valid_from_us: row[5].whole().unwrap(),
        valid_to_us: row[6].whole(),
    }
}

fn is_same(one: &Cell, other: &Cell) -> bool {
    match (one, other) {
        (Cell::Double(a), Cell::Double(b)) => (a - b).abs() <= 1e-9 * a.abs().max(1.0),
        _ => one == other,
    }
}

fn sorted(mut rows: Vec<Cells>) -> Vec<Cells> {
    rows.sort_by(|one, other| one.partial_cmp(other).unwrap());
    rows
}

/// How many rows of gold are as they must be; what isn't.
pub async fn differences(lake: &Lake) -> Result<usize, String> {
    let silver = check_silver(lake, &Rules::default(), None).await.map_err(|error| error.to_string())?;
    if let Some(first) = silver.first() {
        return Err(format!("{} rows of silver differ, the first: {first}", silver.len()));
    }
    let bronze = lake.view("bronze_raw").await.unwrap().unwrap().rows(BRONZE, &RowFilter::default()).await.unwrap();
    let frames: Vec<FrameRows> = bronze.iter().filter_map(exploded).collect();
    let drawn =
        lake.view("zones").await.unwrap().unwrap().rows(ZoneTable::COLUMNS, &RowFilter::default()).await.unwrap();
    let zones = Zones::new(drawn.iter().map(definition));
    let wanted = gold_cells(&gold(&frames, &zones, &Rules::default()));
    let mut rows = 0;
    for (name, wanted) in wanted {
        let (_, columns) = GOLD.iter().find(|(table, _)| *table == name).unwrap();
        let found = lake.view(name).await.unwrap().unwrap().rows(columns, &RowFilter::default()).await.unwrap();
        let (wanted, found) = (sorted(wanted), sorted(found));
        if wanted.len() != found.len() {
            return Err(format!("{name}: found {} rows, wanted {}", found.len(), wanted.len()));
        }
        for (wanted, found) in wanted.iter().zip(&found) {
            if !wanted.iter().zip(found).all(|(one, other)| is_same(one, other)) {
                return Err(format!("{name}: found {found:?}, wanted {wanted:?}"));
            }
        }
        rows += wanted.len();
    }
    Ok(rows)
}
