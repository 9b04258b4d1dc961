-- How many frames bronze_raw holds of each camera, and from when to when.
-- A capture time that is none, or not of the years 2000 to 2199, is null: tables may hold such records from before they
-- were refused.
WITH records AS (
    -- DuckDB's JSON functions refuse a text that is no JSON.
    SELECT *, CASE WHEN json_valid(payload) THEN payload END AS record
    FROM bronze_raw
),
timed AS (
    SELECT
        store_id, camera_id,
        CASE
            WHEN (record->>'$.capture_ts') LIKE '____-__-_____:__:__%'
            THEN TRY_CAST(record->>'$.capture_ts' AS timestamptz)
        END AS ts
    FROM records
)
SELECT
    store_id,
    camera_id,
    count(*) AS frames,
    min(ts) FILTER (WHERE ts >= TIMESTAMPTZ '2000-01-01 00:00:00+00' AND ts < TIMESTAMPTZ '2200-01-01 00:00:00+00') AS first_ts,
    max(ts) FILTER (WHERE ts >= TIMESTAMPTZ '2000-01-01 00:00:00+00' AND ts < TIMESTAMPTZ '2200-01-01 00:00:00+00') AS last_ts
FROM timed
GROUP BY store_id, camera_id
ORDER BY store_id, camera_id
