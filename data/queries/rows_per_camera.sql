-- How many frames bronze_raw holds of each camera, and from when to when.
SELECT
    store_id,
    camera_id,
    count(*) AS frames,
    min(to_timestamp(payload->>'capture_ts')) AS first_ts,
    max(to_timestamp(payload->>'capture_ts')) AS last_ts
FROM bronze_raw
GROUP BY store_id, camera_id
ORDER BY store_id, camera_id
