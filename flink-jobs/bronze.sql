-- The bronze job for Flink SQL: from the topic into a table with the columns of rva.bronze_raw, each event once, however often it was
-- sent. README.md says what it doesn't guarantee. Values come from the environment (stack.py run flink-sql -f flink-jobs/bronze.sql).
SET 'pipeline.name' = '${FLINK_JOB_NAME:-bronze}';
SET 'table.local-time-zone' = 'UTC';
SET 'parallelism.default' = '2';
-- A commit with each checkpoint.
SET 'execution.checkpointing.interval' = '${FLINK_CHECKPOINT_INTERVAL:-10 s}';
-- Every key that was ever seen is state: too much for the heap before long (hashmap holds it there).
SET 'state.backend.type' = '${FLINK_STATE_BACKEND:-rocksdb}';
SET 'execution.checkpointing.incremental' = 'true';

CREATE TEMPORARY TABLE events (
    schema_version STRING,
    pipeline_run_id STRING,
    frame_index BIGINT,
    payload STRING,
    properties MAP<STRING, STRING> METADATA FROM 'properties' VIRTUAL,
    read_ts AS PROCTIME()
) WITH (
    'connector' = 'pulsar',
    'topics' = '${PULSAR_TOPIC:-persistent://retail/metadata/events}',
    'service-url' = '${PULSAR_SERVICE_URL}',
    'source.start.message-id' = 'earliest',
    'source.subscription-name' = '${FLINK_SUBSCRIPTION:-flink-bronze}',
    'source.subscription-type' = 'Exclusive',
    'format' = 'json',
    -- A message that is no JSON would end the job, at every try.
    'json.ignore-parse-errors' = 'true'
);

-- As they come: an event that was sent twice twice, payloads unread.
CREATE TEMPORARY VIEW records AS
SELECT
    schema_version,
    pipeline_run_id,
    frame_index,
    payload,
    CASE WHEN properties['camera_id'] <> '' THEN properties['camera_id']
         ELSE JSON_VALUE(payload, '$.source.camera_id') END AS camera_id,
    CASE WHEN properties['store_id'] <> '' THEN properties['store_id']
         ELSE JSON_VALUE(payload, '$.source.store_id') END AS store_id,
    read_ts
FROM events;

-- Each event once, and only those whose payload is a JSON object.
CREATE TEMPORARY VIEW records_once AS
SELECT schema_version, pipeline_run_id, frame_index, payload, camera_id, store_id, read_ts
FROM (
    SELECT *, ROW_NUMBER() OVER (PARTITION BY pipeline_run_id, camera_id, frame_index ORDER BY read_ts) AS nth
    FROM records
    WHERE payload IS JSON OBJECT
)
WHERE nth = 1;

CREATE CATALOG lakehouse WITH (
    'type' = 'iceberg',
    'catalog-type' = 'rest',
    'uri' = '${ICEBERG_CATALOG_URI}',
    'warehouse' = '${ICEBERG_WAREHOUSE}',
    'io-impl' = 'org.apache.iceberg.aws.s3.S3FileIO',
    's3.endpoint' = '${S3_ENDPOINT}',
    's3.path-style-access' = '${S3_PATH_STYLE}',
    's3.access-key-id' = '${S3_ACCESS_KEY}',
    's3.secret-access-key' = '${S3_SECRET_KEY}',
    'client.region' = '${S3_REGION}'
);

CREATE DATABASE IF NOT EXISTS lakehouse.rva;

-- Codec, level, row group and file size are those of rva-ingest.
CREATE TABLE IF NOT EXISTS lakehouse.rva.${FLINK_TABLE:-flink_bronze_raw} (
    schema_version STRING,
    pipeline_run_id STRING,
    frame_index BIGINT,
    payload STRING,
    camera_id STRING,
    store_id STRING,
    ingest_ts TIMESTAMP_LTZ(6)
) PARTITIONED BY (store_id) WITH (
    'format-version' = '2',
    'write.format.default' = 'parquet',
    'write.parquet.compression-codec' = 'zstd',
    'write.parquet.compression-level' = '3',
    'write.parquet.row-group-size-bytes' = '16777216',
    'write.target-file-size-bytes' = '134217728',
    'write.distribution-mode' = 'none'
);

INSERT INTO lakehouse.rva.${FLINK_TABLE:-flink_bronze_raw}
SELECT schema_version, pipeline_run_id, frame_index, payload, camera_id, store_id, CAST(read_ts AS TIMESTAMP_LTZ(6))
FROM ${FLINK_ROWS:-records_once};
