-- People per minute and camera, from the frame records in bronze_raw.
-- frames: records of that minute; most_at_once: the largest number of people in one frame;
-- average: people in a frame, over all frames of the minute, those with nobody too.
-- The arrow binds weaker than "=", so a comparison needs the brackets.
WITH detections AS (
    SELECT
        store_id, camera_id, pipeline_run_id, frame_index,
        unnest(json_get_array(payload, 'detections')) AS detection
    FROM bronze_raw
),
people AS (
    SELECT store_id, camera_id, pipeline_run_id, frame_index, count(*) AS people
    FROM detections
    WHERE (detection->>'class') = 'person'
    GROUP BY store_id, camera_id, pipeline_run_id, frame_index
),
frames AS (
    SELECT
        store_id, camera_id, pipeline_run_id, frame_index,
        date_trunc('minute', to_timestamp(payload->>'capture_ts')) AS minute
    FROM bronze_raw
)
SELECT
    frames.store_id,
    frames.camera_id,
    frames.minute,
    count(*) AS frames,
    max(coalesce(people.people, 0)) AS most_at_once,
    round(avg(coalesce(people.people, 0)), 2) AS average
FROM frames
LEFT JOIN people USING (store_id, camera_id, pipeline_run_id, frame_index)
GROUP BY frames.store_id, frames.camera_id, frames.minute
ORDER BY frames.minute, frames.store_id, frames.camera_id
