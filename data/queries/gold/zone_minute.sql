-- gold_zone_minute: how many people were in a zone in a minute. `frames`, `people_max` and `people_avg` are over the
-- frames of the camera while the zone was valid, and of all people in them, with a track or without. `entered` and
-- `left` are the visits that begin and end in the minute, `dwell_seconds` is the time of visits in it; the visits are
-- those of gold_zone_visits (zone_visits.sql).
WITH polygons AS (
    SELECT
        store_id, camera_id, name AS zone, valid_from, valid_to, points, json_length(points) AS corners,
        unnest(generate_series(0, CAST(json_length(points) AS bigint) - 1)) AS corner
    FROM zones
    WHERE kind = 'zone'
),
corners AS (
    SELECT
        store_id, camera_id, zone, valid_from, valid_to,
        json_get_json(points, corner) AS a,
        json_get_json(points, (corner + 1) % CAST(corners AS bigint)) AS b
    FROM polygons
),
edges AS (
    SELECT
        store_id, camera_id, zone, valid_from, valid_to,
        json_get_float(a, 0) AS ax, json_get_float(a, 1) AS ay,
        json_get_float(b, 0) AS bx, json_get_float(b, 1) AS by
    FROM corners
),
looked AS (
    SELECT f.store_id, f.camera_id, pipeline_run_id, frame_index, zone, date_trunc('minute', capture_ts) AS ts_minute
    FROM silver_frames f
    JOIN (SELECT store_id, camera_id, name AS zone, valid_from, valid_to FROM zones WHERE kind = 'zone') z
        ON f.store_id = z.store_id AND f.camera_id = z.camera_id
    WHERE capture_ts >= valid_from AND (valid_to IS NULL OR capture_ts < valid_to)
),
people AS (
    SELECT
        store_id, camera_id, pipeline_run_id, frame_index, det_id, capture_ts,
        least((CAST(bbox_x1 AS double) + bbox_x2) / 2 / img_w, 0.9999999999999999) AS x,
        least(CAST(bbox_y2 AS double) / img_h, 0.9999999999999999) AS y
    FROM silver_detections
    WHERE class_name = 'person'
),
judged AS (
    SELECT
        p.store_id, p.camera_id, pipeline_run_id, frame_index, det_id, zone,
        max(CASE
            WHEN (bx - ax) * (y - ay) - (by - ay) * (x - ax) = 0
                AND x BETWEEN least(ax, bx) AND greatest(ax, bx) AND y BETWEEN least(ay, by) AND greatest(ay, by)
            THEN 1 ELSE 0
        END) AS is_on_edge,
        sum(CASE WHEN (ay > y) <> (by > y) AND x < (bx - ax) * (y - ay) / (by - ay) + ax THEN 1 ELSE 0 END) AS crossed
    FROM people p
    JOIN edges e ON p.store_id = e.store_id AND p.camera_id = e.camera_id
    WHERE capture_ts >= valid_from AND (valid_to IS NULL OR capture_ts < valid_to)
    GROUP BY p.store_id, p.camera_id, pipeline_run_id, frame_index, det_id, zone
),
inside AS (
    SELECT store_id, camera_id, pipeline_run_id, frame_index, zone, count(*) AS people
    FROM judged
    WHERE is_on_edge = 1 OR crossed % 2 = 1
    GROUP BY store_id, camera_id, pipeline_run_id, frame_index, zone
),
minutes AS (
    SELECT
        store_id, camera_id, zone, ts_minute,
        count(*) AS frames,
        max(coalesce(people, 0)) AS people_max,
        sum(coalesce(people, 0)) AS people
    FROM looked
    LEFT JOIN inside USING (store_id, camera_id, pipeline_run_id, frame_index, zone)
    GROUP BY store_id, camera_id, zone, ts_minute
),
visits AS (
    SELECT
        store_id, camera_id, zone, CAST(entered_at AS bigint) AS entered_us, CAST(left_at AS bigint) AS left_us,
        unnest(generate_series(CAST(entered_at AS bigint) / 60000000, CAST(left_at AS bigint) / 60000000)) AS minute
    FROM gold_zone_visits
),
stayed AS (
    SELECT
        store_id, camera_id, zone, arrow_cast(minute * 60000000, 'Timestamp(Microsecond, Some("+00:00"))') AS ts_minute,
        sum(CASE WHEN entered_us / 60000000 = minute THEN 1 ELSE 0 END) AS entered,
        sum(CASE WHEN left_us / 60000000 = minute THEN 1 ELSE 0 END) AS "left",
        sum(least(left_us, (minute + 1) * 60000000) - greatest(entered_us, minute * 60000000)) AS dwell_us
    FROM visits
    GROUP BY store_id, camera_id, zone, minute
)
SELECT
    m.store_id, m.camera_id, m.zone, m.ts_minute,
    frames,
    people_max,
    CAST(people AS double) / frames AS people_avg,
    coalesce(entered, 0) AS entered,
    coalesce("left", 0) AS "left",
    CAST(coalesce(dwell_us, 0) AS double) / 1000000 AS dwell_seconds
FROM minutes m
LEFT JOIN stayed s
    ON m.store_id = s.store_id AND m.camera_id = s.camera_id AND m.zone = s.zone AND m.ts_minute = s.ts_minute
ORDER BY store_id, camera_id, zone, ts_minute
