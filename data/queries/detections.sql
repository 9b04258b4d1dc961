-- One row per detection of bronze_raw.
-- A capture time that is none, or not of the years 2000 to 2199, is null: tables may hold such records from before they
-- were refused.
WITH timed AS (
    SELECT
        store_id, camera_id, pipeline_run_id, frame_index, payload,
        CASE
            WHEN (payload->>'capture_ts') LIKE '____-__-_____:__:__%'
            THEN TRY_CAST(payload->>'capture_ts' AS timestamp)
        END AS ts
    FROM bronze_raw
),
detections AS (
    SELECT
        store_id, camera_id, pipeline_run_id, frame_index,
        CASE WHEN ts >= TIMESTAMP '2000-01-01' AND ts < TIMESTAMP '2200-01-01' THEN ts END AS capture_ts,
        unnest(json_get_array(payload, 'detections')) AS detection
    FROM timed
)
SELECT
    store_id,
    camera_id,
    pipeline_run_id,
    frame_index,
    capture_ts,
    detection->>'det_id' AS det_id,
    detection->>'class' AS class,
    json_get_int(detection, 'class_id') AS class_id,
    json_get_float(detection, 'conf') AS conf,
    json_get_float(detection, 'bbox', 'x1') AS x1,
    json_get_float(detection, 'bbox', 'y1') AS y1,
    json_get_float(detection, 'bbox', 'x2') AS x2,
    json_get_float(detection, 'bbox', 'y2') AS y2,
    json_get_int(detection, 'track_id') AS track_id
FROM detections
ORDER BY store_id, camera_id, pipeline_run_id, frame_index, det_id
