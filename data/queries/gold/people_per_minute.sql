-- gold_people_per_minute: how many people a camera saw in a minute. `unique_people` are different tracks of different runs, so it is no
-- sum over minutes; `people_max` and `people_avg` are over the frames of the minute, empty ones too.
WITH tracks AS (
    SELECT
        store_id, camera_id, date_trunc('minute', capture_ts) AS ts_minute,
        count(DISTINCT pipeline_run_id || '/' || CAST(track_id AS varchar)) AS unique_people
    FROM silver_detections
    WHERE class_name = 'person' AND track_id IS NOT NULL
    GROUP BY store_id, camera_id, date_trunc('minute', capture_ts)
),
minutes AS (
    SELECT
        store_id, camera_id, date_trunc('minute', capture_ts) AS ts_minute,
        sum(CAST(people AS bigint)) AS detections,
        count(*) AS frames,
        max(people) AS people_max
    FROM silver_frames
    GROUP BY store_id, camera_id, date_trunc('minute', capture_ts)
)
SELECT
    store_id, camera_id, ts_minute,
    detections,
    coalesce(unique_people, 0) AS unique_people,
    frames,
    people_max,
    CAST(detections AS double) / frames AS people_avg
FROM minutes
LEFT JOIN tracks USING (store_id, camera_id, ts_minute)
ORDER BY store_id, camera_id, ts_minute
