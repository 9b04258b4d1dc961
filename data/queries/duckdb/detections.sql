-- One row per detection of bronze_raw.
WITH detections AS (
    SELECT
        store_id, camera_id, pipeline_run_id, frame_index,
        CAST(payload->>'$.capture_ts' AS timestamptz) AS capture_ts,
        unnest(CAST(payload->'$.detections' AS json[])) AS detection
    FROM bronze_raw
)
SELECT
    store_id,
    camera_id,
    pipeline_run_id,
    frame_index,
    capture_ts,
    detection->>'$.det_id' AS det_id,
    detection->>'$.class' AS class,
    CAST(detection->>'$.class_id' AS bigint) AS class_id,
    CAST(detection->>'$.conf' AS double) AS conf,
    CAST(detection->>'$.bbox.x1' AS double) AS x1,
    CAST(detection->>'$.bbox.y1' AS double) AS y1,
    CAST(detection->>'$.bbox.x2' AS double) AS x2,
    CAST(detection->>'$.bbox.y2' AS double) AS y2,
    CAST(detection->>'$.track_id' AS bigint) AS track_id
FROM detections
ORDER BY store_id, camera_id, pipeline_run_id, frame_index, det_id
