-- Why gold_people_per_minute says what it says: a row for each frame of the minute and each person in it, from gold down
-- to silver and to the record in bronze (`payload`, run, frame index).
-- The columns `adds_...` add up, over the rows of a minute, to gold's `frames`, `detections` and `unique_people`: a frame
-- with nobody is a row too, and a track counts where it is first seen in the minute.
-- Asked of one minute: SELECT * FROM (this text) AS why WHERE camera_id = ... AND ts_minute = ...
WITH people AS (
    SELECT
        store_id, camera_id, pipeline_run_id, frame_index, det_id, track_id, conf, bbox_x1, bbox_y1, bbox_x2, bbox_y2,
        row_number() OVER (
            PARTITION BY store_id, camera_id, pipeline_run_id, frame_index ORDER BY det_id
        ) AS number_in_frame,
        row_number() OVER (
            PARTITION BY store_id, camera_id, pipeline_run_id, track_id, date_trunc('minute', capture_ts)
            ORDER BY frame_index, det_id
        ) AS number_in_track
    FROM lakehouse.rva.silver_detections
    WHERE class_name = 'person'
)
SELECT
    g.store_id, g.camera_id, g.ts_minute,
    g.frames, g.detections, g.unique_people, g.people_max, g.people_avg,
    f.pipeline_run_id, f.frame_index, f.capture_ts, f.people AS people_in_frame,
    p.det_id, p.track_id, p.conf, p.bbox_x1, p.bbox_y1, p.bbox_x2, p.bbox_y2,
    CASE WHEN coalesce(p.number_in_frame, 1) = 1 THEN 1 ELSE 0 END AS adds_frames,
    CASE WHEN p.det_id IS NOT NULL THEN 1 ELSE 0 END AS adds_detections,
    CASE WHEN p.track_id IS NOT NULL AND p.number_in_track = 1 THEN 1 ELSE 0 END AS adds_unique_people,
    b.ingest_ts, b.payload
FROM lakehouse.rva.gold_people_per_minute g
JOIN lakehouse.rva.silver_frames f
    ON f.store_id = g.store_id AND f.camera_id = g.camera_id AND date_trunc('minute', f.capture_ts) = g.ts_minute
LEFT JOIN people p
    ON p.store_id = f.store_id AND p.camera_id = f.camera_id AND p.pipeline_run_id = f.pipeline_run_id
        AND p.frame_index = f.frame_index
LEFT JOIN lakehouse.rva.bronze_raw b
    ON b.store_id = f.store_id AND b.camera_id = f.camera_id AND b.pipeline_run_id = f.pipeline_run_id
        AND b.frame_index = f.frame_index
ORDER BY g.store_id, g.camera_id, g.ts_minute, f.pipeline_run_id, f.frame_index, p.det_id
