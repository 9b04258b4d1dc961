-- People per minute and camera, from the frame records in bronze_raw.
-- frames: records of that minute; unique_people: different tracks (an id of one run counts once a minute);
-- most_at_once: the largest number of people in one frame; average: people in a frame, over all frames of the minute,
-- those with nobody too.
-- Records without a capture time, or with one that is not of the years 2000 to 2199, are in no minute.
WITH timed AS (
    SELECT
        store_id, camera_id, pipeline_run_id, frame_index, payload,
        CASE
            WHEN json_extract_scalar(payload, '$.capture_ts') LIKE '____-__-_____:__:__%'
            THEN TRY(CAST(from_iso8601_timestamp_nanos(replace(upper(json_extract_scalar(payload, '$.capture_ts')), ' ', 'T')) AS timestamp(6) with time zone))
        END AS ts
    FROM lakehouse.rva.bronze_raw
),
frames AS (
    SELECT store_id, camera_id, pipeline_run_id, frame_index, payload, date_trunc('minute', ts) AS minute
    FROM timed
    WHERE ts >= TIMESTAMP '2000-01-01 00:00:00 UTC' AND ts < TIMESTAMP '2200-01-01 00:00:00 UTC'
),
detections AS (
    SELECT store_id, camera_id, pipeline_run_id, frame_index, minute, seen.detection
    FROM frames
    CROSS JOIN UNNEST(TRY_CAST(json_extract(payload, '$.detections') AS array(json))) AS seen (detection)
),
people AS (
    SELECT
        store_id, camera_id, pipeline_run_id, frame_index, minute,
        TRY_CAST(json_extract_scalar(detection, '$.track_id') AS bigint) AS track_id
    FROM detections
    WHERE json_extract_scalar(detection, '$.class') = 'person'
),
per_frame AS (
    SELECT store_id, camera_id, pipeline_run_id, frame_index, count(*) AS people
    FROM people
    GROUP BY store_id, camera_id, pipeline_run_id, frame_index
),
tracks AS (
    SELECT DISTINCT store_id, camera_id, minute, pipeline_run_id, track_id
    FROM people
    WHERE track_id IS NOT NULL
),
per_minute AS (
    SELECT store_id, camera_id, minute, count(*) AS unique_people
    FROM tracks
    GROUP BY store_id, camera_id, minute
)
SELECT
    store_id,
    camera_id,
    minute,
    count(*) AS frames,
    max(coalesce(per_minute.unique_people, 0)) AS unique_people,
    max(coalesce(per_frame.people, 0)) AS most_at_once,
    -- Whole numbers, so that every engine rounds a half up alike.
    (200 * sum(coalesce(per_frame.people, 0)) + count(*)) / (2 * count(*)) / 1e2 AS average
FROM frames
LEFT JOIN per_frame USING (store_id, camera_id, pipeline_run_id, frame_index)
LEFT JOIN per_minute USING (store_id, camera_id, minute)
GROUP BY store_id, camera_id, minute
ORDER BY minute, store_id, camera_id
