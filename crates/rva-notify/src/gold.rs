//! The people of each minute at each place that an alert watches, read off gold.

use crate::judge::MinutePeople;
use crate::notification::Place;
use glob::Pattern;
use rva_lake::{CellKind, Cells, Columns, Lake, LakeError, PeoplePerMinute, RowFilter, Shape, ZoneMinute};
use rva_service::{AlertConfig, AlertOf};
use std::collections::BTreeMap;

/// The columns of people in the picture.
const PICTURE: &Columns = ZONE.split_at(5).0;

/// The same of people in a zone, and its name.
const ZONE: &Columns = &[
    ("store_id", CellKind::Text),
    ("camera_id", CellKind::Text),
    ("ts_minute", CellKind::Time),
    ("people_max", CellKind::Int),
    ("people_avg", CellKind::Double),
    ("zone", CellKind::Text),
];

/// The minutes of each place, in their order.
pub(crate) type Minutes = BTreeMap<Place, Vec<MinutePeople>>;

/// A row of gold.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct GoldMinute {
    pub store: String,
    pub camera: String,
    /// `None`: the whole picture.
    pub zone: Option<String>,
    pub people: MinutePeople,
}

impl GoldMinute {
    /// Reads a row; `None` for one that lacks what every row has.
    fn of(row: &Cells) -> Option<Self> {
        let text = |at: usize| row.get(at)?.text().map(|text| text.to_string());
        let average = row.get(4)?.number();
        let people = MinutePeople {
            minute_us: row.get(2)?.whole()?,
            average: average.unwrap_or_default(),
            peak: row.get(3)?.whole()? as f64,
        };
        Some(Self { store: text(0)?, camera: text(1)?, zone: text(5), people })
    }
}

/// Reads the rows of a span of time, `to_us` no part of it: of pictures, and of zones where an alert is about one.
///
/// # Errors
/// Fails as the catalog and the storage do.
pub(crate) async fn rows(
    lake: &Lake,
    alerts: &[AlertConfig],
    from_us: i64,
    to_us: i64,
) -> Result<Vec<GoldMinute>, LakeError> {
    let mut found = Vec::new();
    let filter = RowFilter { time: Some(("ts_minute", from_us, to_us)), ..RowFilter::default() };
    for (table, columns, is_zones) in [(PeoplePerMinute::TABLE, PICTURE, false), (ZoneMinute::TABLE, ZONE, true)] {
        if is_zones && !alerts.iter().any(|alert| alert.zone.is_some()) {
            continue;
        }
        // Refining makes the tables; before that there is nobody.
        let Some(view) = lake.view(table).await? else { continue };
        found.extend(view.rows(columns, &filter).await?.iter().filter_map(GoldMinute::of));
    }
    Ok(found)
}

/// Returns the minutes of the places that an alert watches: of each camera, or added up for each shop.
pub(crate) fn minutes_of(alert: &AlertConfig, rows: &[GoldMinute]) -> Minutes {
    let pattern = |text: &Option<String>| text.as_deref().and_then(|text| Pattern::new(text).ok());
    let (stores, cameras) = (pattern(&alert.store), pattern(&alert.camera));
    let is_within = |pattern: &Option<Pattern>, id: &str| pattern.as_ref().is_none_or(|pattern| pattern.matches(id));
    let mut found: BTreeMap<Place, BTreeMap<i64, MinutePeople>> = BTreeMap::new();
    for row in rows {
        if row.zone != alert.zone || !is_within(&stores, &row.store) || !is_within(&cameras, &row.camera) {
            continue;
        }
        let camera = (alert.of == AlertOf::Camera).then(|| row.camera.clone());
        let minutes = found.entry(Place { store: row.store.clone(), camera }).or_default();
        let minute_us = row.people.minute_us;
        let sum = minutes.entry(minute_us).or_insert(MinutePeople { minute_us, average: 0.0, peak: 0.0 });
        sum.average += row.people.average;
        sum.peak += row.people.peak;
    }
    found.into_iter().map(|(place, minutes)| (place, minutes.into_values().collect())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::tests::alert;

    fn row(store: &str, camera: &str, zone: Option<&str>, minute: i64, average: f64) -> GoldMinute {
        let people = MinutePeople { minute_us: minute * 60_000_000, average, peak: average + 1.0 };
        GoldMinute { store: store.into(), camera: camera.into(), zone: zone.map(str::to_owned), people }
    }

    /// A minute, and its people on average and at most.
    type Told = (i64, f64, f64);

    fn found(alert: &AlertConfig) -> Vec<(String, Vec<Told>)> {
        let rows = [
            row("a", "door", None, 2, 1.0),
            row("a", "door", None, 1, 2.0),
            row("a", "aisle", None, 1, 4.0),
            row("b", "door", None, 1, 8.0),
            row("a", "door", Some("till"), 1, 16.0),
            row("a", "door", Some("shelf"), 1, 32.0),
        ];
        let all = minutes_of(alert, &rows).into_iter();
        all.map(|(place, minutes)| {
            let minutes = minutes.iter().map(|people| (people.minute_us / 60_000_000, people.average, people.peak));
            (format!("{} {:?}", place.store, place.camera), minutes.collect())
        })
        .collect()
    }

    #[test]
    fn an_alert_counts_whom_its_place_and_patterns_say() {
        let in_zone = AlertConfig { zone: Some("till".into()), ..alert(5.0, 1) };
        assert_eq!(found(&in_zone), [("a Some(\"door\")".to_owned(), vec![(1, 16.0, 17.0)])]);
        let doors = AlertConfig { camera: Some("d*".into()), store: Some("a".into()), ..alert(5.0, 1) };
        assert_eq!(found(&doors), [("a Some(\"door\")".to_owned(), vec![(1, 2.0, 3.0), (2, 1.0, 2.0)])]);
        let shops = AlertConfig { of: AlertOf::Store, ..alert(5.0, 1) };
        let wanted =
            [("a None".to_owned(), vec![(1, 6.0, 8.0), (2, 1.0, 2.0)]), ("b None".to_owned(), vec![(1, 8.0, 9.0)])];
        assert_eq!(found(&shops), wanted);
    }
}
