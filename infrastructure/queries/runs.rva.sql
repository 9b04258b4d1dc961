-- Each run's frames: a gap between frames and last_frame is what a policy left out, or what hasn't come yet.
SELECT store_id, camera_id, pipeline_run_id, count(*) AS frames, min(frame_index) AS first_frame, max(frame_index) AS last_frame
FROM bronze_raw
GROUP BY store_id, camera_id, pipeline_run_id
ORDER BY store_id, camera_id, pipeline_run_id
