-- A row a detection.
SELECT pipeline_run_id, camera_id, frame_index, detection ->> '$.det_id' AS det_id,
  detection ->> '$.class' AS class_name, (detection ->> '$.conf')::double AS conf,
  (detection ->> '$.track_id')::bigint AS track_id, (detection ->> '$.bbox.x1')::double AS x1,
  (detection ->> '$.bbox.y1')::double AS y1, (detection ->> '$.bbox.x2')::double AS x2,
  (detection ->> '$.bbox.y2')::double AS y2
FROM (
  SELECT pipeline_run_id, camera_id, frame_index, unnest(from_json(payload -> '$.detections', '["JSON"]')) AS detection
  FROM bronze_raw
)
ORDER BY 1, 2, 3, 4
