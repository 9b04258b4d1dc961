-- How many frames bronze_raw holds of each camera, and from when to when.
SELECT
    store_id,
    camera_id,
    count(*) AS frames,
    min(CAST(get_json_object(payload, '$.capture_ts') AS timestamp)) AS first_ts,
    max(CAST(get_json_object(payload, '$.capture_ts') AS timestamp)) AS last_ts
FROM lakehouse.rva.bronze_raw
GROUP BY store_id, camera_id
ORDER BY store_id, camera_id
