-- gold_line_crossings: who crossed a line, when, which way. `in` is to the right hand of somebody who looks from the first point to the
-- second. Detections nearer to the line than 1 % of the picture's diagonal are on neither side. A side counts once the track has been on
-- it for 0.2 s, or ends there; the path from the last detection on the other side must pass between the line's ends.
WITH lines AS (
    SELECT
        store_id, camera_id, name AS line, valid_from, valid_to,
        json_get_float(points, 0, 0) AS x1, json_get_float(points, 0, 1) AS y1,
        json_get_float(points, 1, 0) AS x2, json_get_float(points, 1, 1) AS y2
    FROM zones
    WHERE kind = 'line'
),
points AS (
    SELECT
        p.store_id, p.camera_id, p.pipeline_run_id, p.track_id, line, valid_from, x1, y1, x2, y2, p.capture_ts,
        CAST(p.capture_ts AS bigint) AS micros,
        CAST(img_w AS double) AS w, CAST(img_h AS double) AS h,
        least((CAST(bbox_x1 AS double) + bbox_x2) / 2 / img_w, 0.9999999999999999) AS x,
        least(CAST(bbox_y2 AS double) / img_h, 0.9999999999999999) AS y,
        row_number() OVER (
            PARTITION BY p.store_id, p.camera_id, p.pipeline_run_id, p.track_id, line, valid_from
            ORDER BY frame_index, det_id
        ) AS n
    FROM silver_detections p
    JOIN lines ON p.store_id = lines.store_id AND p.camera_id = lines.camera_id
    WHERE class_name = 'person' AND track_id IS NOT NULL
        AND p.capture_ts >= valid_from AND (valid_to IS NULL OR p.capture_ts < valid_to)
),
areas AS (
    SELECT
        *,
        ((x2 - x1) * (y - y1) - (y2 - y1) * (x - x1)) * w * h AS area,
        0.01 * sqrt(w * w + h * h)
            * sqrt(((x2 - x1) * w) * ((x2 - x1) * w) + ((y2 - y1) * h) * ((y2 - y1) * h)) AS band
    FROM points
),
sided AS (
    SELECT *, CASE WHEN area > 0 THEN 'in' ELSE 'out' END AS side
    FROM areas
    WHERE NOT abs(area) < band
),
changes AS (
    SELECT *, CASE WHEN lag(side) OVER track = side THEN 0 ELSE 1 END AS is_change
    FROM sided
    WINDOW track AS (PARTITION BY store_id, camera_id, pipeline_run_id, track_id, line, valid_from ORDER BY n)
),
numbered AS (
    SELECT *, sum(is_change) OVER track AS run
    FROM changes
    WINDOW track AS (PARTITION BY store_id, camera_id, pipeline_run_id, track_id, line, valid_from ORDER BY n)
),
bounds AS (
    SELECT
        store_id, camera_id, pipeline_run_id, track_id, line, valid_from, run, side,
        min(n) AS first_n, max(n) AS last_n
    FROM numbered
    GROUP BY store_id, camera_id, pipeline_run_id, track_id, line, valid_from, run, side
),
runs AS (
    SELECT
        b.*,
        lag(last_n) OVER track AS before_n,
        lead(run) OVER track IS NULL AS is_last
    FROM bounds b
    WINDOW track AS (PARTITION BY store_id, camera_id, pipeline_run_id, track_id, line, valid_from ORDER BY run)
),
dated AS (
    SELECT r.*, f.capture_ts AS crossed_at, f.x, f.y, l.micros - f.micros AS stay
    FROM runs r
    JOIN points f USING (store_id, camera_id, pipeline_run_id, track_id, line, valid_from)
    JOIN points l USING (store_id, camera_id, pipeline_run_id, track_id, line, valid_from)
    WHERE f.n = r.first_n AND l.n = r.last_n
),
counted AS (
    SELECT *, lag(side) OVER track AS side_before
    FROM dated
    WHERE stay >= 200000 OR is_last
    WINDOW track AS (PARTITION BY store_id, camera_id, pipeline_run_id, track_id, line, valid_from ORDER BY run)
),
pieces AS (
    SELECT
        store_id, camera_id, pipeline_run_id, track_id, line, valid_from, n, x1, y1, x2, y2, x, y,
        lead(x) OVER track - x AS dx, lead(y) OVER track - y AS dy, x2 - x1 AS ex, y2 - y1 AS ey
    FROM points
    WINDOW track AS (PARTITION BY store_id, camera_id, pipeline_run_id, track_id, line, valid_from ORDER BY n)
),
passing AS (
    SELECT store_id, camera_id, pipeline_run_id, track_id, line, valid_from, n AS piece
    FROM pieces
    WHERE dx * ey - dy * ex <> 0
        AND ((x1 - x) * ey - (y1 - y) * ex) / (dx * ey - dy * ex) BETWEEN 0 AND 1
        AND ((x1 - x) * dy - (y1 - y) * dx) / (dx * ey - dy * ex) BETWEEN 0 AND 1
),
crossings AS (
    SELECT DISTINCT store_id, camera_id, pipeline_run_id, track_id, line, valid_from, run, crossed_at, side, x, y
    FROM counted
    JOIN passing USING (store_id, camera_id, pipeline_run_id, track_id, line, valid_from)
    WHERE side_before <> side AND piece >= before_n AND piece < first_n
)
SELECT
    store_id, camera_id, pipeline_run_id, track_id, line,
    row_number() OVER (
        PARTITION BY store_id, camera_id, pipeline_run_id, track_id, line ORDER BY valid_from, run
    ) AS crossing,
    crossed_at, side AS direction, x, y
FROM crossings
ORDER BY store_id, camera_id, pipeline_run_id, track_id, line, crossing
