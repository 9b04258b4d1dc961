-- People per minute and camera, from the frame records in bronze_raw.
-- frames: records of that minute; unique_people: different tracks (an id of one run counts once a minute);
-- most_at_once: the largest number of people in one frame; average: people in a frame, over all frames of the minute,
-- those with nobody too.
-- The arrow binds weaker than "=", so a comparison needs the brackets.
-- Records without a capture time, or with one that is not of the years 2000 to 2199, are in no minute.
WITH timed AS (
    SELECT
        store_id, camera_id, pipeline_run_id, frame_index, payload,
        CASE
            WHEN (payload->>'capture_ts') LIKE '____-__-_____:__:__%'
            THEN TRY_CAST(payload->>'capture_ts' AS timestamp)
        END AS ts
    FROM bronze_raw
),
frames AS (
    SELECT store_id, camera_id, pipeline_run_id, frame_index, payload, date_trunc('minute', ts) AS minute
    FROM timed
    WHERE ts >= TIMESTAMP '2000-01-01' AND ts < TIMESTAMP '2200-01-01'
),
detections AS (
    SELECT
        store_id, camera_id, pipeline_run_id, frame_index, minute,
        unnest(json_get_array(payload, 'detections')) AS detection
    FROM frames
),
people AS (
    SELECT
        store_id, camera_id, pipeline_run_id, frame_index, minute,
        json_get_int(detection, 'track_id') AS track_id
    FROM detections
    WHERE (detection->>'class') = 'person'
),
-- A frame without anybody is a row too. No join of frames with people: a sum needs no second copy of every frame.
counted AS (
    SELECT store_id, camera_id, minute, pipeline_run_id, frame_index, 1 AS frames, 0 AS people FROM frames
    UNION ALL
    SELECT store_id, camera_id, minute, pipeline_run_id, frame_index, 0 AS frames, 1 AS people FROM people
),
per_frame AS (
    SELECT store_id, camera_id, minute, sum(frames) AS frames, sum(people) AS people
    FROM counted
    GROUP BY store_id, camera_id, minute, pipeline_run_id, frame_index
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
    per_frame.store_id,
    per_frame.camera_id,
    per_frame.minute,
    sum(per_frame.frames) AS frames,
    max(coalesce(per_minute.unique_people, 0)) AS unique_people,
    max(per_frame.people) AS most_at_once,
    -- Whole numbers, so that every engine rounds a half up alike.
    (200 * sum(per_frame.people) + sum(per_frame.frames)) / (2 * sum(per_frame.frames)) / 100.0 AS average
FROM per_frame
LEFT JOIN per_minute USING (store_id, camera_id, minute)
GROUP BY per_frame.store_id, per_frame.camera_id, per_frame.minute
ORDER BY per_frame.minute, per_frame.store_id, per_frame.camera_id
