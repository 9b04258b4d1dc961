-- gold_zone_heatmap: where people stood in an hour, in a grid of 10 x 10 cells of the picture. A detection's place is the bottom centre of its
-- box, clamped into the picture (0.9999999999999999 is the largest number below 1).
WITH people AS (
    SELECT
        store_id, camera_id, date_trunc('hour', capture_ts) AS ts_hour,
        CAST(floor(least((CAST(bbox_x1 AS double) + bbox_x2) / 2 / img_w, 0.9999999999999999) * 10) AS int) AS zone_x,
        CAST(floor(least(CAST(bbox_y2 AS double) / img_h, 0.9999999999999999) * 10) AS int) AS zone_y,
        CASE WHEN track_id IS NOT NULL THEN pipeline_run_id || '/' || CAST(track_id AS varchar) END AS track
    FROM silver_detections
    WHERE class_name = 'person'
)
SELECT store_id, camera_id, ts_hour, zone_x, zone_y, count(*) AS hits, count(DISTINCT track) AS unique_tracks
FROM people
GROUP BY store_id, camera_id, ts_hour, zone_x, zone_y
ORDER BY store_id, camera_id, ts_hour, zone_x, zone_y
