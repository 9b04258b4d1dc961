-- A row a detection.
SELECT pipeline_run_id, camera_id, frame_index, json_get_str(detection, 'det_id') AS det_id,
  json_get_str(detection, 'class') AS class_name, json_get_float(detection, 'conf') AS conf,
  json_get_int(detection, 'track_id') AS track_id, json_get_float(detection, 'bbox', 'x1') AS x1,
  json_get_float(detection, 'bbox', 'y1') AS y1, json_get_float(detection, 'bbox', 'x2') AS x2,
  json_get_float(detection, 'bbox', 'y2') AS y2
FROM (
  SELECT pipeline_run_id, camera_id, frame_index, unnest(json_get_array(payload, 'detections')) AS detection
  FROM bronze_raw
)
ORDER BY 1, 2, 3, 4
