//! The tables that a lake may hold, in one list for whoever does the same with each of them.

use crate::cells::{Shape, ShapedRow};
use crate::medallion::{
    CameraMinute, HourByCam, LineCrossings, MinuteByCam, PeoplePerMinute, SilverDetections, SilverFrames,
    SilverRejects, TrackSummary, ZoneDwell, ZoneHeatmap, ZoneMinute, ZoneVisits,
};
use crate::rows::{BronzeRow, TableRow};
use rva_types::DeadLetter;

/// Something that is made for a table.
pub(crate) trait OfTable {
    type Made;

    /// Makes it for the table of such rows, whose column of a record's time is named where there is one.
    fn of_table<R: TableRow>(&self, time: Option<&'static str>) -> Self::Made;
}

fn shaped<T: Shape, W: OfTable>(what: &W) -> W::Made {
    what.of_table::<ShapedRow<T>>(T::SPAN.get(1).copied())
}

/// Makes something for each table: bronze, dead letters, silver, gold.
pub(crate) fn of_every_table<W: OfTable>(what: &W) -> Vec<W::Made> {
    vec![
        what.of_table::<BronzeRow>(None),
        what.of_table::<DeadLetter>(None),
        shaped::<SilverDetections, W>(what),
        shaped::<SilverFrames, W>(what),
        shaped::<SilverRejects, W>(what),
        shaped::<MinuteByCam, W>(what),
        shaped::<HourByCam, W>(what),
        shaped::<PeoplePerMinute, W>(what),
        shaped::<CameraMinute, W>(what),
        shaped::<ZoneHeatmap, W>(what),
        shaped::<ZoneDwell, W>(what),
        shaped::<TrackSummary, W>(what),
        shaped::<ZoneVisits, W>(what),
        shaped::<ZoneMinute, W>(what),
        shaped::<LineCrossings, W>(what),
    ]
}
