-- One row per detection of bronze_raw.
-- A capture time that is none, or not of the years 2000 to 2199, is null: tables may hold such records from before they
-- were refused.
WITH records AS (
    -- DuckDB's JSON functions refuse a text that is no JSON.
    SELECT *, CASE WHEN json_valid(payload) THEN payload END AS record
    FROM bronze_raw
),
timed AS (
    SELECT
        store_id, camera_id, pipeline_run_id, frame_index, record,
        CASE
            WHEN (record->>'$.capture_ts') LIKE '____-__-_____:__:__%'
            THEN TRY_CAST(record->>'$.capture_ts' AS timestamptz)
        END AS ts
    FROM records
),
detections AS (
    SELECT
        store_id, camera_id, pipeline_run_id, frame_index,
        CASE WHEN ts >= TIMESTAMPTZ '2000-01-01 00:00:00+00' AND ts < TIMESTAMPTZ '2200-01-01 00:00:00+00' THEN ts END AS capture_ts,
        unnest(TRY_CAST(record->'$.detections' AS json[])) AS detection
    FROM timed
)
SELECT
    store_id,
    camera_id,
    pipeline_run_id,
    frame_index,
    capture_ts,
    detection->>'$.det_id' AS det_id,
    detection->>'$.class' AS class,
    TRY_CAST(detection->>'$.class_id' AS bigint) AS class_id,
    TRY_CAST(detection->>'$.conf' AS double) AS conf,
    TRY_CAST(detection->>'$.bbox.x1' AS double) AS x1,
    TRY_CAST(detection->>'$.bbox.y1' AS double) AS y1,
    TRY_CAST(detection->>'$.bbox.x2' AS double) AS x2,
    TRY_CAST(detection->>'$.bbox.y2' AS double) AS y2,
    TRY_CAST(detection->>'$.track_id' AS bigint) AS track_id
FROM detections
ORDER BY store_id, camera_id, pipeline_run_id, frame_index, det_id
