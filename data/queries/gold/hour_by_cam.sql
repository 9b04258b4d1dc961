-- gold_hour_by_cam: people of a camera in an hour. A row for each hour in which the camera looked, also where nobody was seen.
WITH people AS (
    SELECT
        store_id, camera_id, date_trunc('hour', capture_ts) AS ts_hour,
        CASE WHEN track_id IS NOT NULL THEN pipeline_run_id || '/' || CAST(track_id AS varchar) END AS track,
        CAST(round(conf * 10000) AS bigint) AS conf_units
    FROM silver_detections
    WHERE class_name = 'person'
),
hours AS (
    SELECT DISTINCT store_id, camera_id, date_trunc('hour', capture_ts) AS ts_hour
    FROM silver_frames
)
SELECT
    store_id, camera_id, ts_hour,
    count(conf_units) AS detection_count,
    count(DISTINCT track) AS unique_tracks,
    CAST(sum(conf_units) AS double) / count(conf_units) / 10000 AS avg_conf
FROM hours
LEFT JOIN people USING (store_id, camera_id, ts_hour)
GROUP BY store_id, camera_id, ts_hour
ORDER BY store_id, camera_id, ts_hour
