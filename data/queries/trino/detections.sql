-- One row per detection of bronze_raw.
-- A capture time that is none, or not of the years 2000 to 2199, is null: tables may hold such records from before they
-- were refused.
WITH timed AS (
    SELECT
        store_id, camera_id, pipeline_run_id, frame_index, payload,
        CASE
            WHEN json_extract_scalar(payload, '$.capture_ts') LIKE '____-__-_____:__:__%'
            THEN TRY(CAST(from_iso8601_timestamp_nanos(replace(upper(json_extract_scalar(payload, '$.capture_ts')), ' ', 'T')) AS timestamp(6) with time zone))
        END AS ts
    FROM lakehouse.rva.bronze_raw
)
SELECT
    frame.store_id,
    frame.camera_id,
    frame.pipeline_run_id,
    frame.frame_index,
    CASE WHEN frame.ts >= TIMESTAMP '2000-01-01 00:00:00 UTC' AND frame.ts < TIMESTAMP '2200-01-01 00:00:00 UTC' THEN frame.ts END AS capture_ts,
    json_extract_scalar(seen.detection, '$.det_id') AS det_id,
    json_extract_scalar(seen.detection, '$.class') AS class,
    TRY_CAST(json_extract_scalar(seen.detection, '$.class_id') AS bigint) AS class_id,
    TRY_CAST(json_extract_scalar(seen.detection, '$.conf') AS double) AS conf,
    TRY_CAST(json_extract_scalar(seen.detection, '$.bbox.x1') AS double) AS x1,
    TRY_CAST(json_extract_scalar(seen.detection, '$.bbox.y1') AS double) AS y1,
    TRY_CAST(json_extract_scalar(seen.detection, '$.bbox.x2') AS double) AS x2,
    TRY_CAST(json_extract_scalar(seen.detection, '$.bbox.y2') AS double) AS y2,
    TRY_CAST(json_extract_scalar(seen.detection, '$.track_id') AS bigint) AS track_id
FROM timed AS frame
CROSS JOIN UNNEST(TRY_CAST(json_extract(frame.payload, '$.detections') AS array(json))) AS seen (detection)
ORDER BY store_id, camera_id, pipeline_run_id, frame_index, det_id
