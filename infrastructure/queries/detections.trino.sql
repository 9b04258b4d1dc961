-- A row a detection.
SELECT pipeline_run_id, camera_id, frame_index, json_extract_scalar(detection, '$.det_id') AS det_id,
  json_extract_scalar(detection, '$.class') AS class_name, CAST(json_extract_scalar(detection, '$.conf') AS double) AS conf,
  CAST(json_extract_scalar(detection, '$.track_id') AS bigint) AS track_id, CAST(json_extract_scalar(detection, '$.bbox.x1') AS double) AS x1,
  CAST(json_extract_scalar(detection, '$.bbox.y1') AS double) AS y1, CAST(json_extract_scalar(detection, '$.bbox.x2') AS double) AS x2,
  CAST(json_extract_scalar(detection, '$.bbox.y2') AS double) AS y2
FROM lakehouse.rva.bronze_raw
  CROSS JOIN UNNEST(CAST(json_extract(payload, '$.detections') AS array(json))) AS t (detection)
ORDER BY 1, 2, 3, 4
