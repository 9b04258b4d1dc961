-- How many frames bronze_raw holds of each camera, and from when to when.
-- A capture time that is none, or not of the years 2000 to 2199, is null: tables may hold such records from before they
-- were refused.
WITH timed AS (
    SELECT
        store_id, camera_id,
        CASE
            WHEN get_json_object(payload, '$.capture_ts') LIKE '____-__-_____:__:__%'
            THEN TRY_CAST(get_json_object(payload, '$.capture_ts') AS timestamp)
        END AS ts
    FROM lakehouse.rva.bronze_raw
)
SELECT
    store_id,
    camera_id,
    count(*) AS frames,
    min(ts) FILTER (WHERE ts >= TIMESTAMP '2000-01-01 00:00:00 UTC' AND ts < TIMESTAMP '2200-01-01 00:00:00 UTC') AS first_ts,
    max(ts) FILTER (WHERE ts >= TIMESTAMP '2000-01-01 00:00:00 UTC' AND ts < TIMESTAMP '2200-01-01 00:00:00 UTC') AS last_ts
FROM timed
GROUP BY store_id, camera_id
ORDER BY store_id, camera_id
