-- How many frames bronze_raw holds of each camera, and from when to when.
SELECT
    store_id,
    camera_id,
    count(*) AS frames,
    min(CAST(from_iso8601_timestamp_nanos(json_extract_scalar(payload, '$.capture_ts')) AS timestamp(6) with time zone)) AS first_ts,
    max(CAST(from_iso8601_timestamp_nanos(json_extract_scalar(payload, '$.capture_ts')) AS timestamp(6) with time zone)) AS last_ts
FROM lakehouse.rva.bronze_raw
GROUP BY store_id, camera_id
ORDER BY store_id, camera_id
