-- People per minute and camera, from the frame records in bronze_raw.
-- frames: records of that minute; unique_people: different tracks (an id of one run counts once a minute);
-- most_at_once: the largest number of people in one frame; average: people in a frame, over all frames of the minute,
-- those with nobody too.
-- Records without a capture time, or with one that is not of the years 2000 to 2199, are in no minute.
WITH records AS (
    -- DuckDB's JSON functions refuse a text that is no JSON.
    SELECT *, CASE WHEN json_valid(payload) THEN payload END AS record
    FROM bronze_raw
),
timed AS (
    SELECT
        store_id, camera_id, pipeline_run_id, frame_index, record,
        CASE
            WHEN (record->>'$.capture_ts') LIKE '____-__-_____:__:__%'
            THEN TRY_CAST(record->>'$.capture_ts' AS timestamptz)
        END AS ts
    FROM records
),
frames AS (
    SELECT store_id, camera_id, pipeline_run_id, frame_index, record, date_trunc('minute', ts) AS minute
    FROM timed
    WHERE ts >= TIMESTAMPTZ '2000-01-01 00:00:00+00' AND ts < TIMESTAMPTZ '2200-01-01 00:00:00+00'
),
detections AS (
    SELECT
        store_id, camera_id, pipeline_run_id, frame_index, minute,
        unnest(TRY_CAST(record->'$.detections' AS json[])) AS detection
    FROM frames
),
people AS (
    SELECT
        store_id, camera_id, pipeline_run_id, frame_index, minute,
        TRY_CAST(detection->>'$.track_id' AS bigint) AS track_id
    FROM detections
    WHERE (detection->>'$.class') = 'person'
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
    frames.store_id,
    frames.camera_id,
    frames.minute,
    count(*) AS frames,
    max(coalesce(per_minute.unique_people, 0)) AS unique_people,
    max(coalesce(per_frame.people, 0)) AS most_at_once,
    -- Whole numbers, so that every engine rounds a half up alike.
    (200 * sum(coalesce(per_frame.people, 0)) + count(*)) // (2 * count(*)) / 100.0 AS average
FROM frames
LEFT JOIN per_frame USING (store_id, camera_id, pipeline_run_id, frame_index)
LEFT JOIN per_minute USING (store_id, camera_id, minute)
GROUP BY frames.store_id, frames.camera_id, frames.minute
ORDER BY frames.minute, frames.store_id, frames.camera_id
