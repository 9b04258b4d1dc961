-- gold_zone_visits: who was in a zone, from when to when. Between two detections of a track at most 2 s apart somebody
-- is on the straight way, so a zone that is jumped over between two frames is visited, too. A visit begins with a stay
-- inside of at least 0.3 s and ends before a stay outside of at least 1 s, a gap of more than 2 s, or with the track.
-- It lasts from the first detection inside to the last; if none fell inside, the way itself says when. Inside is the
-- even-odd rule at the bottom centre of the box; a point on an edge is inside.
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
points AS (
    SELECT
        p.store_id, p.camera_id, p.pipeline_run_id, p.track_id, z.zone, z.valid_from,
        CAST(p.capture_ts AS bigint) AS micros,
        least((CAST(bbox_x1 AS double) + bbox_x2) / 2 / img_w, 0.9999999999999999) AS x,
        least(CAST(bbox_y2 AS double) / img_h, 0.9999999999999999) AS y,
        row_number() OVER (
            PARTITION BY p.store_id, p.camera_id, p.pipeline_run_id, p.track_id, z.zone, z.valid_from
            ORDER BY frame_index, det_id
        ) AS n
    FROM silver_detections p
    JOIN (SELECT store_id, camera_id, name AS zone, valid_from, valid_to FROM zones WHERE kind = 'zone') z
        ON p.store_id = z.store_id AND p.camera_id = z.camera_id
    WHERE class_name = 'person' AND track_id IS NOT NULL
        AND p.capture_ts >= z.valid_from AND (z.valid_to IS NULL OR p.capture_ts < z.valid_to)
),
steps AS (
    SELECT
        *,
        lead(micros) OVER track - micros AS span, lead(x) OVER track AS next_x, lead(y) OVER track AS next_y,
        CASE WHEN micros - lag(micros) OVER track BETWEEN 0 AND 2000000 THEN 0 ELSE 1 END AS is_first
    FROM points
    WINDOW track AS (PARTITION BY store_id, camera_id, pipeline_run_id, track_id, zone, valid_from ORDER BY n)
),
parted AS (
    SELECT *, sum(is_first) OVER track AS part
    FROM steps
    WINDOW track AS (PARTITION BY store_id, camera_id, pipeline_run_id, track_id, zone, valid_from ORDER BY n)
),
ways AS (
    SELECT * FROM parted WHERE span BETWEEN 0 AND 2000000
),
-- The places where a way meets an edge, as shares of the way and of the edge.
met AS (
    SELECT
        w.store_id, w.camera_id, w.pipeline_run_id, w.track_id, w.zone, w.valid_from, w.n,
        ((ax - x) * (by - ay) - (ay - y) * (bx - ax))
            / ((next_x - x) * (by - ay) - (next_y - y) * (bx - ax)) AS share,
        ((ax - x) * (next_y - y) - (ay - y) * (next_x - x))
            / ((next_x - x) * (by - ay) - (next_y - y) * (bx - ax)) AS of_edge
    FROM ways w
    JOIN edges e
        ON w.store_id = e.store_id AND w.camera_id = e.camera_id AND w.zone = e.zone AND w.valid_from = e.valid_from
    WHERE (next_x - x) * (by - ay) - (next_y - y) * (bx - ax) <> 0
),
cuts AS (
    SELECT store_id, camera_id, pipeline_run_id, track_id, zone, valid_from, n, share
    FROM met
    WHERE share > 0 AND share < 1 AND of_edge BETWEEN 0 AND 1
    UNION
    SELECT store_id, camera_id, pipeline_run_id, track_id, zone, valid_from, n, CAST(0 AS double) FROM ways
    UNION
    SELECT store_id, camera_id, pipeline_run_id, track_id, zone, valid_from, n, CAST(1 AS double) FROM ways
),
pieces AS (
    SELECT
        *,
        lead(share) OVER (
            PARTITION BY store_id, camera_id, pipeline_run_id, track_id, zone, valid_from, n ORDER BY share
        ) AS next_share
    FROM cuts
),
-- What may be inside: each detection, and each piece of a way by its middle.
probes AS (
    SELECT
        store_id, camera_id, pipeline_run_id, track_id, zone, valid_from, part, n, CAST(-1 AS double) AS share,
        x, y, micros AS from_us, micros AS to_us, micros AS seen
    FROM parted
    UNION ALL
    SELECT
        w.store_id, w.camera_id, w.pipeline_run_id, w.track_id, w.zone, w.valid_from, part, w.n, share,
        x + (next_x - x) * ((share + next_share) / 2), y + (next_y - y) * ((share + next_share) / 2),
        micros + CAST(round(share * span) AS bigint), micros + CAST(round(next_share * span) AS bigint), NULL
    FROM ways w
    JOIN pieces p
        ON w.store_id = p.store_id AND w.camera_id = p.camera_id AND w.pipeline_run_id = p.pipeline_run_id
            AND w.track_id = p.track_id AND w.zone = p.zone AND w.valid_from = p.valid_from AND w.n = p.n
    WHERE next_share IS NOT NULL
),
judged AS (
    SELECT
        p.store_id, p.camera_id, p.pipeline_run_id, p.track_id, p.zone, p.valid_from, part, n, share, from_us, to_us, seen,
        max(CASE
            WHEN (bx - ax) * (y - ay) - (by - ay) * (x - ax) = 0
                AND x BETWEEN least(ax, bx) AND greatest(ax, bx) AND y BETWEEN least(ay, by) AND greatest(ay, by)
            THEN 1 ELSE 0
        END) AS is_on_edge,
        sum(CASE WHEN (ay > y) <> (by > y) AND x < (bx - ax) * (y - ay) / (by - ay) + ax THEN 1 ELSE 0 END) AS crossed
    FROM probes p
    JOIN edges e
        ON p.store_id = e.store_id AND p.camera_id = e.camera_id AND p.zone = e.zone AND p.valid_from = e.valid_from
    GROUP BY
        p.store_id, p.camera_id, p.pipeline_run_id, p.track_id, p.zone, p.valid_from, part, n, share, from_us, to_us, seen
),
inside AS (
    SELECT
        *,
        CASE WHEN from_us <= lag(to_us) OVER part THEN 0 ELSE 1 END AS is_first
    FROM judged
    WHERE is_on_edge = 1 OR crossed % 2 = 1
    WINDOW part AS (
        PARTITION BY store_id, camera_id, pipeline_run_id, track_id, zone, valid_from, part ORDER BY n, share
    )
),
numbered AS (
    SELECT *, sum(is_first) OVER part AS stay
    FROM inside
    WINDOW part AS (
        PARTITION BY store_id, camera_id, pipeline_run_id, track_id, zone, valid_from, part ORDER BY n, share
    )
),
stays AS (
    SELECT
        store_id, camera_id, pipeline_run_id, track_id, zone, valid_from, part, stay,
        min(from_us) AS from_us, max(to_us) AS to_us, min(seen) AS first_seen, max(seen) AS last_seen
    FROM numbered
    GROUP BY store_id, camera_id, pipeline_run_id, track_id, zone, valid_from, part, stay
),
-- Stays that are less than 1 s apart belong together; the first of them of at least 0.3 s begins the visit.
apart AS (
    SELECT *, CASE WHEN from_us - lag(to_us) OVER part < 1000000 THEN 0 ELSE 1 END AS is_apart
    FROM stays
    WINDOW part AS (PARTITION BY store_id, camera_id, pipeline_run_id, track_id, zone, valid_from, part ORDER BY stay)
),
chained AS (
    SELECT *, sum(is_apart) OVER part AS chain
    FROM apart
    WINDOW part AS (PARTITION BY store_id, camera_id, pipeline_run_id, track_id, zone, valid_from, part ORDER BY stay)
),
begun AS (
    SELECT
        *,
        min(CASE WHEN to_us - from_us >= 300000 THEN stay END) OVER (
            PARTITION BY store_id, camera_id, pipeline_run_id, track_id, zone, valid_from, part, chain
        ) AS first_stay
    FROM chained
),
visits AS (
    SELECT
        store_id, camera_id, pipeline_run_id, track_id, zone, valid_from, part, chain,
        coalesce(min(first_seen), min(from_us)) AS entered_us,
        coalesce(max(last_seen), max(to_us)) AS left_us
    FROM begun
    WHERE stay >= first_stay
    GROUP BY store_id, camera_id, pipeline_run_id, track_id, zone, valid_from, part, chain
)
SELECT
    store_id, camera_id, pipeline_run_id, track_id, zone,
    row_number() OVER (
        PARTITION BY store_id, camera_id, pipeline_run_id, track_id, zone ORDER BY valid_from, part, chain
    ) AS visit,
    arrow_cast(entered_us, 'Timestamp(Microsecond, Some("+00:00"))') AS entered_at,
    arrow_cast(left_us, 'Timestamp(Microsecond, Some("+00:00"))') AS left_at,
    CAST(left_us - entered_us AS double) / 1000000 AS dwell_seconds
FROM visits
ORDER BY store_id, camera_id, pipeline_run_id, track_id, zone, visit
