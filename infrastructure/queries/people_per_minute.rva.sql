-- People by minute of capture (UTC): frames, different people (track ids within their run), and the most in one frame.
WITH frames AS (
  SELECT store_id, camera_id, pipeline_run_id, frame_index, substr(json_get_str(payload, 'capture_ts'), 1, 16) AS minute,
    unnest(json_get_array(payload, 'detections')) AS detection
  FROM bronze_raw
), people AS (
  SELECT store_id, camera_id, minute, pipeline_run_id, frame_index, count(*) AS in_frame
  FROM frames
  WHERE json_get_str(detection, 'class') = 'person'
  GROUP BY store_id, camera_id, minute, pipeline_run_id, frame_index
), ids AS (
  SELECT store_id, camera_id, minute, count(DISTINCT pipeline_run_id || '/' || json_get_int(detection, 'track_id')) AS unique_people
  FROM frames
  WHERE json_get_str(detection, 'class') = 'person' AND json_get_int(detection, 'track_id') IS NOT NULL
  GROUP BY store_id, camera_id, minute
)
SELECT people.store_id, people.camera_id, people.minute, count(*) AS frames_with_people,
  coalesce(max(ids.unique_people), 0) AS unique_people, max(people.in_frame) AS most_at_once
FROM people LEFT JOIN ids
  ON ids.store_id = people.store_id AND ids.camera_id = people.camera_id AND ids.minute = people.minute
GROUP BY people.store_id, people.camera_id, people.minute
ORDER BY 1, 2, 3
