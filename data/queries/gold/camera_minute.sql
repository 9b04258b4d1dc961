-- gold_camera_minute: when a camera looked. `longest_gap_seconds` is the longest time between neighbouring frames of the minute, of any
-- run; 0 where there is one frame.
WITH frames AS (
    SELECT
        store_id, camera_id, pipeline_run_id, capture_ts, date_trunc('minute', capture_ts) AS ts_minute,
        CAST(capture_ts AS bigint) - lag(CAST(capture_ts AS bigint)) OVER (
            PARTITION BY store_id, camera_id, date_trunc('minute', capture_ts) ORDER BY capture_ts
        ) AS gap_micros
    FROM silver_frames
)
SELECT
    store_id, camera_id, ts_minute,
    count(*) AS frames,
    min(capture_ts) AS first_ts,
    max(capture_ts) AS last_ts,
    CAST(coalesce(max(gap_micros), 0) AS double) / 1000000 AS longest_gap_seconds,
    count(DISTINCT pipeline_run_id) AS runs
FROM frames
GROUP BY store_id, camera_id, ts_minute
ORDER BY store_id, camera_id, ts_minute
