-- Why gold_line_crossings says what it says: the detections of the crossing's track from the crossing of that line before
-- it to the one after it, each with the record in bronze (`payload`, run, frame index) and the line that was valid then.
-- `distance` is that from the line as a share of the picture's diagonal, positive to the right hand of somebody who looks
-- from the line's first point to its second; nearer than 0.01 is on neither `side`. `adds_crossings` is 1 at the detection
-- that dates the crossing: the first on the new side, once the track stayed there for 0.2 s or ended.
-- Asked of one crossing: SELECT * FROM (this text) AS why WHERE line = ... AND track_id = ... AND crossing = ...
WITH lines AS (
    SELECT
        store_id, camera_id, name, points, valid_from, valid_to,
        CAST(get_json_object(points, '$[0][0]') AS double) AS x1, CAST(get_json_object(points, '$[0][1]') AS double) AS y1,
        CAST(get_json_object(points, '$[1][0]') AS double) AS x2, CAST(get_json_object(points, '$[1][1]') AS double) AS y2
    FROM lakehouse.rva.zones
    WHERE kind = 'line'
),
crossings AS (
    SELECT
        store_id, camera_id, pipeline_run_id, track_id, line, crossing, crossed_at, direction,
        x AS crossed_x, y AS crossed_y,
        lag(crossed_at) OVER (
            PARTITION BY store_id, camera_id, pipeline_run_id, track_id, line ORDER BY crossing
        ) AS crossed_before,
        lead(crossed_at) OVER (
            PARTITION BY store_id, camera_id, pipeline_run_id, track_id, line ORDER BY crossing
        ) AS crossed_after
    FROM lakehouse.rva.gold_line_crossings
),
people AS (
    SELECT
        store_id, camera_id, pipeline_run_id, track_id, frame_index, det_id, capture_ts, conf,
        CAST(img_w AS double) AS w, CAST(img_h AS double) AS h,
        least((CAST(bbox_x1 AS double) + bbox_x2) / 2 / img_w, 0.9999999999999999) AS x,
        least(CAST(bbox_y2 AS double) / img_h, 0.9999999999999999) AS y
    FROM lakehouse.rva.silver_detections
    WHERE class_name = 'person' AND track_id IS NOT NULL
),
steps AS (
    SELECT
        g.store_id, g.camera_id, g.pipeline_run_id, g.track_id, g.line, g.crossing, g.crossed_at, g.direction,
        l.points, l.valid_from, l.valid_to,
        p.frame_index, p.det_id, p.capture_ts, p.conf, p.x, p.y,
        ((x2 - x1) * (p.y - y1) - (y2 - y1) * (p.x - x1)) * w * h
            / sqrt(w * w + h * h)
            / sqrt(((x2 - x1) * w) * ((x2 - x1) * w) + ((y2 - y1) * h) * ((y2 - y1) * h)) AS distance,
        CASE
            WHEN p.capture_ts = crossed_at AND abs(p.x - crossed_x) < 1e-9 AND abs(p.y - crossed_y) < 1e-9 THEN 1 ELSE 0
        END AS is_it
    FROM crossings g
    JOIN lines l
        ON l.store_id = g.store_id AND l.camera_id = g.camera_id AND l.name = g.line
            AND g.crossed_at >= l.valid_from AND (l.valid_to IS NULL OR g.crossed_at < l.valid_to)
    JOIN people p
        ON p.store_id = g.store_id AND p.camera_id = g.camera_id AND p.pipeline_run_id = g.pipeline_run_id
            AND p.track_id = g.track_id
            AND p.capture_ts >= l.valid_from AND (l.valid_to IS NULL OR p.capture_ts < l.valid_to)
            AND (g.crossed_before IS NULL OR p.capture_ts >= g.crossed_before)
            AND (g.crossed_after IS NULL OR p.capture_ts <= g.crossed_after)
),
numbered AS (
    SELECT
        *,
        sum(is_it) OVER (
            PARTITION BY store_id, camera_id, pipeline_run_id, track_id, line, crossing ORDER BY frame_index, det_id
        ) AS number
    FROM steps
)
SELECT
    s.store_id, s.camera_id, s.pipeline_run_id, s.track_id, s.line, s.crossing, s.crossed_at, s.direction,
    s.points, s.valid_from, s.valid_to,
    s.frame_index, s.det_id, s.capture_ts, s.conf, s.x, s.y, s.distance,
    CASE WHEN abs(s.distance) < 0.01 THEN 'neither' WHEN s.distance > 0 THEN 'in' ELSE 'out' END AS side,
    CASE WHEN s.is_it = 1 AND s.number = 1 THEN 1 ELSE 0 END AS adds_crossings,
    b.ingest_ts, b.payload
FROM numbered s
LEFT JOIN lakehouse.rva.bronze_raw b
    ON b.store_id = s.store_id AND b.camera_id = s.camera_id AND b.pipeline_run_id = s.pipeline_run_id
        AND b.frame_index = s.frame_index
ORDER BY s.store_id, s.camera_id, s.pipeline_run_id, s.track_id, s.line, s.crossing, s.frame_index, s.det_id
