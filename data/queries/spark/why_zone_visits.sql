-- Why gold_zone_visits says what it says: the detections of the visit's track while it lasts, and those of the 2 s before
-- and after it, each with the record in bronze (`payload`, run, frame index) and the zone that was valid then.
-- `part` says where a detection stands: before the visit, during it (from `entered_at` to `left_at`), or after it. A zone
-- that was crossed between two frames has a visit without detections during it. `x` and `y` are where the person stood,
-- the bottom centre of the box in shares of the picture, and `points` are the zone's corners in the same.
-- Asked of one visit: SELECT * FROM (this text) AS why WHERE zone = ... AND track_id = ... AND visit = ...
WITH people AS (
    SELECT
        store_id, camera_id, pipeline_run_id, track_id, frame_index, det_id, capture_ts, conf,
        least((CAST(bbox_x1 AS double) + bbox_x2) / 2 / img_w, 0.9999999999999999) AS x,
        least(CAST(bbox_y2 AS double) / img_h, 0.9999999999999999) AS y
    FROM lakehouse.rva.silver_detections
    WHERE class_name = 'person' AND track_id IS NOT NULL
)
SELECT
    g.store_id, g.camera_id, g.pipeline_run_id, g.track_id, g.zone, g.visit,
    g.entered_at, g.left_at, g.dwell_seconds,
    z.points, z.valid_from, z.valid_to,
    p.frame_index, p.det_id, p.capture_ts, p.conf, p.x, p.y,
    CASE
        WHEN p.capture_ts < g.entered_at THEN 'before'
        WHEN p.capture_ts > g.left_at THEN 'after'
        ELSE 'during'
    END AS part,
    b.ingest_ts, b.payload
FROM lakehouse.rva.gold_zone_visits g
JOIN lakehouse.rva.zones z
    ON z.store_id = g.store_id AND z.camera_id = g.camera_id AND z.name = g.zone AND z.kind = 'zone'
        AND g.entered_at >= z.valid_from AND (z.valid_to IS NULL OR g.entered_at < z.valid_to)
JOIN people p
    ON p.store_id = g.store_id AND p.camera_id = g.camera_id AND p.pipeline_run_id = g.pipeline_run_id
        AND p.track_id = g.track_id
        AND p.capture_ts >= g.entered_at - INTERVAL '2' SECOND AND p.capture_ts <= g.left_at + INTERVAL '2' SECOND
LEFT JOIN lakehouse.rva.bronze_raw b
    ON b.store_id = p.store_id AND b.camera_id = p.camera_id AND b.pipeline_run_id = p.pipeline_run_id
        AND b.frame_index = p.frame_index
ORDER BY g.store_id, g.camera_id, g.pipeline_run_id, g.track_id, g.zone, g.visit, p.frame_index, p.det_id
