-- One row per detection of bronze_raw.
SELECT
    frame.store_id,
    frame.camera_id,
    frame.pipeline_run_id,
    frame.frame_index,
    CAST(from_iso8601_timestamp_nanos(json_extract_scalar(frame.payload, '$.capture_ts')) AS timestamp(6) with time zone) AS capture_ts,
    json_extract_scalar(seen.detection, '$.det_id') AS det_id,
    json_extract_scalar(seen.detection, '$.class') AS class,
    CAST(json_extract_scalar(seen.detection, '$.class_id') AS bigint) AS class_id,
    CAST(json_extract_scalar(seen.detection, '$.conf') AS double) AS conf,
    CAST(json_extract_scalar(seen.detection, '$.bbox.x1') AS double) AS x1,
    CAST(json_extract_scalar(seen.detection, '$.bbox.y1') AS double) AS y1,
    CAST(json_extract_scalar(seen.detection, '$.bbox.x2') AS double) AS x2,
    CAST(json_extract_scalar(seen.detection, '$.bbox.y2') AS double) AS y2,
    CAST(json_extract_scalar(seen.detection, '$.track_id') AS bigint) AS track_id
FROM lakehouse.rva.bronze_raw AS frame
CROSS JOIN UNNEST(CAST(json_extract(frame.payload, '$.detections') AS array(json))) AS seen (detection)
ORDER BY store_id, camera_id, pipeline_run_id, frame_index, det_id
