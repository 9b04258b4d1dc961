-- gold_track_summary: a track from its first detection to its last. Positions are of its boxes' centres, in pixels.
WITH points AS (
    SELECT
        store_id, camera_id, pipeline_run_id, track_id, frame_index, capture_ts,
        CAST(bbox_x1 AS bigint) + bbox_x2 AS twice_x,
        CAST(bbox_y1 AS bigint) + bbox_y2 AS twice_y,
        CAST(round(conf * 10000) AS bigint) AS conf_units
    FROM silver_detections
    WHERE class_name = 'person' AND track_id IS NOT NULL
)
SELECT
    store_id, camera_id, pipeline_run_id, track_id,
    count(DISTINCT frame_index) AS frames,
    min(capture_ts) AS start_time,
    max(capture_ts) AS end_time,
    CAST(CAST(max(capture_ts) AS bigint) - CAST(min(capture_ts) AS bigint) AS double) / 1000000 AS duration_seconds,
    CAST(min(twice_x) AS double) / 2 AS min_x,
    CAST(max(twice_x) AS double) / 2 AS max_x,
    CAST(max(twice_x) - min(twice_x) AS double) / 2 AS delta_x,
    CAST(min(twice_y) AS double) / 2 AS min_y,
    CAST(max(twice_y) AS double) / 2 AS max_y,
    CAST(max(twice_y) - min(twice_y) AS double) / 2 AS delta_y,
    CAST(sum(twice_x) AS double) / count(*) / 2 AS avg_x,
    CAST(sum(twice_y) AS double) / count(*) / 2 AS avg_y,
    CAST(sum(conf_units) AS double) / count(*) / 10000 AS avg_conf
FROM points
GROUP BY store_id, camera_id, pipeline_run_id, track_id
ORDER BY store_id, camera_id, pipeline_run_id, track_id
