-- gold_zone_dwell: how long people stayed in the cells of the grid. The time from one detection of a track to the next belongs to the
-- cell of the first and to the hour in which it begins, if it is at most 2 s. A visit is a run of detections in one cell whose steps are
-- at most 2 s; it counts in the hour in which it begins.
WITH points AS (
    SELECT
        store_id, camera_id, pipeline_run_id, track_id, frame_index, det_id,
        date_trunc('hour', capture_ts) AS ts_hour,
        CAST(capture_ts AS bigint) AS micros,
        CAST(floor(least((CAST(bbox_x1 AS double) + bbox_x2) / 2 / img_w, 0.9999999999999999) * 10) AS int) AS zone_x,
        CAST(floor(least(CAST(bbox_y2 AS double) / img_h, 0.9999999999999999) * 10) AS int) AS zone_y
    FROM silver_detections
    WHERE class_name = 'person' AND track_id IS NOT NULL
),
neighbours AS (
    SELECT
        store_id, camera_id, ts_hour, zone_x, zone_y,
        lead(micros) OVER track - micros AS step,
        micros - lag(micros) OVER track AS step_before,
        lag(zone_x) OVER track AS x_before,
        lag(zone_y) OVER track AS y_before
    FROM points
    WINDOW track AS (PARTITION BY store_id, camera_id, pipeline_run_id, track_id ORDER BY frame_index, det_id)
),
steps AS (
    SELECT
        store_id, camera_id, ts_hour, zone_x, zone_y,
        CASE WHEN step BETWEEN 0 AND 2000000 THEN step ELSE 0 END AS dwell,
        CASE
            WHEN step_before BETWEEN 0 AND 2000000 AND x_before = zone_x AND y_before = zone_y THEN 0
            ELSE 1
        END AS visit
    FROM neighbours
)
SELECT
    store_id, camera_id, ts_hour, zone_x, zone_y,
    sum(visit) AS visits,
    CAST(sum(dwell) AS double) / 1000000 AS total_dwell_seconds,
    CASE WHEN sum(visit) > 0 THEN CAST(sum(dwell) AS double) / sum(visit) / 1000000 END AS avg_dwell_seconds
FROM steps
GROUP BY store_id, camera_id, ts_hour, zone_x, zone_y
ORDER BY store_id, camera_id, ts_hour, zone_x, zone_y
