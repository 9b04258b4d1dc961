-- gold_minute_by_cam: people of a camera in a minute. A row for each minute in which the camera looked, also where nobody was seen.
-- Averages are made of whole numbers, so that every engine gets the same bits.
WITH people AS (
    SELECT
        store_id, camera_id, date_trunc('minute', capture_ts) AS ts_minute,
        CASE WHEN track_id IS NOT NULL THEN pipeline_run_id || '/' || CAST(track_id AS varchar) END AS track,
        CAST(round(conf * 10000) AS bigint) AS conf_units,
        CAST(bbox_x2 - bbox_x1 AS bigint) * (bbox_y2 - bbox_y1) * 1000000000 / (CAST(img_w AS bigint) * img_h) AS area_units
    FROM silver_detections
    WHERE class_name = 'person'
),
minutes AS (
    SELECT DISTINCT store_id, camera_id, date_trunc('minute', capture_ts) AS ts_minute
    FROM silver_frames
)
SELECT
    store_id, camera_id, ts_minute,
    count(conf_units) AS detection_count,
    count(DISTINCT track) AS unique_tracks,
    CAST(sum(conf_units) AS double) / count(conf_units) / 10000 AS avg_conf,
    CAST(sum(area_units) AS double) / count(area_units) / 1000000000 AS bbox_area_ratio_avg
FROM minutes
LEFT JOIN people USING (store_id, camera_id, ts_minute)
GROUP BY store_id, camera_id, ts_minute
ORDER BY store_id, camera_id, ts_minute
