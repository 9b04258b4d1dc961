//! The tables of silver and gold; names, columns and partitions are the contract's (sections 4 and 5).

use crate::cells::CellKind::{self, Double, Int, Long, Text, Time};
use crate::cells::Shape;
use iceberg::spec::Transform;

/// The shape of `rva.silver_detections`.
#[derive(Debug)]
pub struct SilverDetections;

impl Shape for SilverDetections {
    const TABLE: &'static str = "silver_detections";
    const COLUMNS: &'static [(&'static str, CellKind)] = &[
        ("schema_version", Text),
        ("pipeline_run_id", Text),
        ("store_id", Text),
        ("camera_id", Text),
        ("frame_index", Long),
        ("capture_ts", Time),
        ("img_w", Int),
        ("img_h", Int),
        ("det_id", Text),
        ("class_name", Text),
        ("class_id", Int),
        ("conf", Double),
        ("bbox_x1", Int),
        ("bbox_y1", Int),
        ("bbox_x2", Int),
        ("bbox_y2", Int),
        ("track_id", Long),
        ("processing_ts", Time),
    ];
    const PARTITION: &'static [(&'static str, Transform)] =
        &[("store_id", Transform::Identity), ("capture_ts", Transform::Day)];
    const SPAN: &'static [&'static str] = &["store_id", "capture_ts"];
    const BLOOM: &'static str = "pipeline_run_id";
}

/// The shape of `rva.silver_frames`.
#[derive(Debug)]
pub struct SilverFrames;

impl Shape for SilverFrames {
    const TABLE: &'static str = "silver_frames";
    const COLUMNS: &'static [(&'static str, CellKind)] = &[
        ("pipeline_run_id", Text),
        ("store_id", Text),
        ("camera_id", Text),
        ("frame_index", Long),
        ("capture_ts", Time),
        ("img_w", Int),
        ("img_h", Int),
        ("people", Int),
        ("detections", Int),
        ("processing_ts", Time),
    ];
    const PARTITION: &'static [(&'static str, Transform)] =
        &[("store_id", Transform::Identity), ("capture_ts", Transform::Day)];
    const SPAN: &'static [&'static str] = &["store_id", "capture_ts"];
    const BLOOM: &'static str = "pipeline_run_id";
}

/// The shape of `rva.silver_rejects`.
#[derive(Debug)]
pub struct SilverRejects;

impl Shape for SilverRejects {
    const TABLE: &'static str = "silver_rejects";
    const COLUMNS: &'static [(&'static str, CellKind)] = &[
        ("pipeline_run_id", Text),
        ("store_id", Text),
        ("camera_id", Text),
        ("frame_index", Long),
        ("det_id", Text),
        ("reason", Text),
        ("detail", Text),
        ("processing_ts", Time),
    ];
    const PARTITION: &'static [(&'static str, Transform)] = &[("store_id", Transform::Identity)];
    const SPAN: &'static [&'static str] = &["store_id"];
    const BLOOM: &'static str = "pipeline_run_id";
}

/// The shape of `rva.gold_minute_by_cam`.
#[derive(Debug)]
pub struct MinuteByCam;

impl Shape for MinuteByCam {
    const TABLE: &'static str = "gold_minute_by_cam";
    const COLUMNS: &'static [(&'static str, CellKind)] = &[
        ("store_id", Text),
        ("camera_id", Text),
        ("ts_minute", Time),
        ("detection_count", Long),
        ("unique_tracks", Long),
        ("avg_conf", Double),
        ("bbox_area_ratio_avg", Double),
    ];
    const PARTITION: &'static [(&'static str, Transform)] =
        &[("store_id", Transform::Identity), ("ts_minute", Transform::Day)];
    const SPAN: &'static [&'static str] = &["store_id", "ts_minute"];
    const BLOOM: &'static str = "camera_id";
}

/// The shape of `rva.gold_hour_by_cam`.
#[derive(Debug)]
pub struct HourByCam;

impl Shape for HourByCam {
    const TABLE: &'static str = "gold_hour_by_cam";
    const COLUMNS: &'static [(&'static str, CellKind)] = &[
        ("store_id", Text),
        ("camera_id", Text),
        ("ts_hour", Time),
        ("detection_count", Long),
        ("unique_tracks", Long),
        ("avg_conf", Double),
    ];
    const PARTITION: &'static [(&'static str, Transform)] =
        &[("store_id", Transform::Identity), ("ts_hour", Transform::Day)];
    const SPAN: &'static [&'static str] = &["store_id", "ts_hour"];
    const BLOOM: &'static str = "camera_id";
}

/// The shape of `rva.gold_people_per_minute`.
#[derive(Debug)]
pub struct PeoplePerMinute;

impl Shape for PeoplePerMinute {
    const TABLE: &'static str = "gold_people_per_minute";
    const COLUMNS: &'static [(&'static str, CellKind)] = &[
        ("store_id", Text),
        ("camera_id", Text),
        ("ts_minute", Time),
        ("detections", Long),
        ("unique_people", Long),
        ("frames", Long),
        ("people_max", Int),
        ("people_avg", Double),
    ];
    const PARTITION: &'static [(&'static str, Transform)] =
        &[("store_id", Transform::Identity), ("ts_minute", Transform::Day)];
    const SPAN: &'static [&'static str] = &["store_id", "ts_minute"];
    const BLOOM: &'static str = "camera_id";
}

/// The shape of `rva.gold_camera_minute`.
#[derive(Debug)]
pub struct CameraMinute;

impl Shape for CameraMinute {
    const TABLE: &'static str = "gold_camera_minute";
    const COLUMNS: &'static [(&'static str, CellKind)] = &[
        ("store_id", Text),
        ("camera_id", Text),
        ("ts_minute", Time),
        ("frames", Long),
        ("first_ts", Time),
        ("last_ts", Time),
        ("longest_gap_seconds", Double),
        ("runs", Long),
    ];
    const PARTITION: &'static [(&'static str, Transform)] =
        &[("store_id", Transform::Identity), ("ts_minute", Transform::Day)];
    const SPAN: &'static [&'static str] = &["store_id", "ts_minute"];
    const BLOOM: &'static str = "camera_id";
}

/// The shape of `rva.gold_zone_heatmap`.
#[derive(Debug)]
pub struct ZoneHeatmap;

impl Shape for ZoneHeatmap {
    const TABLE: &'static str = "gold_zone_heatmap";
    const COLUMNS: &'static [(&'static str, CellKind)] = &[
        ("store_id", Text),
        ("camera_id", Text),
        ("ts_hour", Time),
        ("zone_x", Int),
        ("zone_y", Int),
        ("hits", Long),
        ("unique_tracks", Long),
    ];
    const PARTITION: &'static [(&'static str, Transform)] =
        &[("store_id", Transform::Identity), ("ts_hour", Transform::Day)];
    const SPAN: &'static [&'static str] = &["store_id", "ts_hour"];
    const BLOOM: &'static str = "camera_id";
}

/// The shape of `rva.gold_zone_dwell`.
#[derive(Debug)]
pub struct ZoneDwell;

impl Shape for ZoneDwell {
    const TABLE: &'static str = "gold_zone_dwell";
    const COLUMNS: &'static [(&'static str, CellKind)] = &[
        ("store_id", Text),
        ("camera_id", Text),
        ("ts_hour", Time),
        ("zone_x", Int),
        ("zone_y", Int),
        ("visits", Long),
        ("total_dwell_seconds", Double),
        ("avg_dwell_seconds", Double),
    ];
    const PARTITION: &'static [(&'static str, Transform)] =
        &[("store_id", Transform::Identity), ("ts_hour", Transform::Day)];
    const SPAN: &'static [&'static str] = &["store_id", "ts_hour"];
    const BLOOM: &'static str = "camera_id";
}

/// The shape of `rva.gold_track_summary`.
#[derive(Debug)]
pub struct TrackSummary;

impl Shape for TrackSummary {
    const TABLE: &'static str = "gold_track_summary";
    const COLUMNS: &'static [(&'static str, CellKind)] = &[
        ("store_id", Text),
        ("camera_id", Text),
        ("pipeline_run_id", Text),
        ("track_id", Long),
        ("frames", Long),
        ("start_time", Time),
        ("end_time", Time),
        ("duration_seconds", Double),
        ("min_x", Double),
        ("max_x", Double),
        ("delta_x", Double),
        ("min_y", Double),
        ("max_y", Double),
        ("delta_y", Double),
        ("avg_x", Double),
        ("avg_y", Double),
        ("avg_conf", Double),
    ];
    const PARTITION: &'static [(&'static str, Transform)] =
        &[("store_id", Transform::Identity), ("start_time", Transform::Day)];
    const SPAN: &'static [&'static str] = &["store_id", "start_time"];
    const BLOOM: &'static str = "pipeline_run_id";
}

/// The shape of `rva.gold_zone_visits`.
#[derive(Debug)]
pub struct ZoneVisits;

impl Shape for ZoneVisits {
    const TABLE: &'static str = "gold_zone_visits";
    const COLUMNS: &'static [(&'static str, CellKind)] = &[
        ("store_id", Text),
        ("camera_id", Text),
        ("pipeline_run_id", Text),
        ("track_id", Long),
        ("zone", Text),
        ("visit", Int),
        ("entered_at", Time),
        ("left_at", Time),
        ("dwell_seconds", Double),
    ];
    const PARTITION: &'static [(&'static str, Transform)] =
        &[("store_id", Transform::Identity), ("entered_at", Transform::Day)];
    const SPAN: &'static [&'static str] = &["store_id", "entered_at"];
    const BLOOM: &'static str = "pipeline_run_id";
}

/// The shape of `rva.gold_zone_minute`.
#[derive(Debug)]
pub struct ZoneMinute;

impl Shape for ZoneMinute {
    const TABLE: &'static str = "gold_zone_minute";
    const COLUMNS: &'static [(&'static str, CellKind)] = &[
        ("store_id", Text),
        ("camera_id", Text),
        ("zone", Text),
        ("ts_minute", Time),
        ("frames", Long),
        ("people_max", Int),
        ("people_avg", Double),
        ("entered", Long),
        ("left", Long),
        ("dwell_seconds", Double),
    ];
    const PARTITION: &'static [(&'static str, Transform)] =
        &[("store_id", Transform::Identity), ("ts_minute", Transform::Day)];
    const SPAN: &'static [&'static str] = &["store_id", "ts_minute"];
    const BLOOM: &'static str = "camera_id";
}

/// The shape of `rva.gold_line_crossings`.
#[derive(Debug)]
pub struct LineCrossings;

impl Shape for LineCrossings {
    const TABLE: &'static str = "gold_line_crossings";
    const COLUMNS: &'static [(&'static str, CellKind)] = &[
        ("store_id", Text),
        ("camera_id", Text),
        ("pipeline_run_id", Text),
        ("track_id", Long),
        ("line", Text),
        ("crossing", Int),
        ("crossed_at", Time),
        ("direction", Text),
        ("x", Double),
        ("y", Double),
    ];
    const PARTITION: &'static [(&'static str, Transform)] =
        &[("store_id", Transform::Identity), ("crossed_at", Transform::Day)];
    const SPAN: &'static [&'static str] = &["store_id", "crossed_at"];
    const BLOOM: &'static str = "pipeline_run_id";
}

/// `rva.zones`: what the polygons and lines of cameras were, when.
#[derive(Debug)]
pub struct ZoneTable;

impl Shape for ZoneTable {
    const TABLE: &'static str = "zones";
    const COLUMNS: &'static [(&'static str, CellKind)] = &[
        ("store_id", Text),
        ("camera_id", Text),
        ("name", Text),
        ("kind", Text),
        ("points", Text),
        ("valid_from", Time),
        ("valid_to", Time),
    ];
    const PARTITION: &'static [(&'static str, Transform)] = &[];
    const SPAN: &'static [&'static str] = &["store_id"];
    const BLOOM: &'static str = "name";
}
