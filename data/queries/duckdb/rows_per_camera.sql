-- How many frames bronze_raw holds of each camera, and from when to when.
SELECT
    store_id,
    camera_id,
    count(*) AS frames,
    min(CAST(payload->>'$.capture_ts' AS timestamptz)) AS first_ts,
    max(CAST(payload->>'$.capture_ts' AS timestamptz)) AS last_ts
FROM bronze_raw
GROUP BY store_id, camera_id
ORDER BY store_id, camera_id
