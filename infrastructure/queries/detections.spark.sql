-- A row a detection.
SELECT pipeline_run_id, camera_id, frame_index, detection.det_id, detection.class AS class_name, detection.conf, detection.track_id,
  detection.bbox.x1, detection.bbox.y1, detection.bbox.x2, detection.bbox.y2
FROM (
  SELECT pipeline_run_id, camera_id, frame_index, explode(from_json(payload,
    'detections array<struct<det_id: string, class: string, conf: double, track_id: bigint, bbox: struct<x1: double, y1: double, x2: double, y2: double>>>'
  ).detections) AS detection
  FROM lakehouse.rva.bronze_raw
)
ORDER BY 1, 2, 3, 4
