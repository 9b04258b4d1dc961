-- How many frames bronze_raw holds of each camera, and from when to when.
-- A capture time that is none, or an absurd one (before 2000, a day after the ingest), is null: tables may hold such
-- records from before they were refused.
WITH timed AS (
    SELECT
        store_id, camera_id, ingest_ts,
        TRY_CAST(payload->>'capture_ts' AS timestamp) AS ts
    FROM bronze_raw
)
SELECT
    store_id,
    camera_id,
    count(*) AS frames,
    min(ts) FILTER (WHERE ts >= TIMESTAMP '2000-01-01' AND ts <= ingest_ts + INTERVAL '1 day') AS first_ts,
    max(ts) FILTER (WHERE ts >= TIMESTAMP '2000-01-01' AND ts <= ingest_ts + INTERVAL '1 day') AS last_ts
FROM timed
GROUP BY store_id, camera_id
ORDER BY store_id, camera_id
