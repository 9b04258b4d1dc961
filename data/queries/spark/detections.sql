-- One row per detection of bronze_raw.
-- A capture time that is none, or not of the years 2000 to 2199, is null: tables may hold such records from before they
-- were refused.
WITH timed AS (
    SELECT
        store_id, camera_id, pipeline_run_id, frame_index, payload,
        CASE
            WHEN get_json_object(payload, '$.capture_ts') LIKE '____-__-_____:__:__%'
            THEN TRY_CAST(get_json_object(payload, '$.capture_ts') AS timestamp)
        END AS ts
    FROM lakehouse.rva.bronze_raw
),
detections AS (
    SELECT
        store_id, camera_id, pipeline_run_id, frame_index,
        CASE WHEN ts >= TIMESTAMP '2000-01-01 00:00:00 UTC' AND ts < TIMESTAMP '2200-01-01 00:00:00 UTC' THEN ts END AS capture_ts,
        explode(from_json(
            get_json_object(payload, '$.detections'),
            'array<struct<det_id:string,class:string,class_id:bigint,conf:double,bbox:struct<x1:double,y1:double,x2:double,y2:double>,track_id:bigint>>'
        )) AS detection
    FROM timed
)
SELECT
    store_id,
    camera_id,
    pipeline_run_id,
    frame_index,
    capture_ts,
    detection.det_id AS det_id,
    detection.class AS class,
    detection.class_id AS class_id,
    detection.conf AS conf,
    detection.bbox.x1 AS x1,
    detection.bbox.y1 AS y1,
    detection.bbox.x2 AS x2,
    detection.bbox.y2 AS y2,
    detection.track_id AS track_id
FROM detections
ORDER BY store_id, camera_id, pipeline_run_id, frame_index, det_id
