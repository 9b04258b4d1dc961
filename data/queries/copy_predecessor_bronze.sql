-- Trino: copies the predecessor's bronze table, whose ingest_ts has no zone and means UTC, into a new rva.bronze_raw.
-- First rename the old table: ALTER TABLE lakehouse.rva.bronze_raw RENAME TO lakehouse.rva.bronze_raw_old;
-- then start the ingest once, so that it makes the new one, stop it, and run this.
INSERT INTO lakehouse.rva.bronze_raw
    (schema_version, pipeline_run_id, frame_index, payload, camera_id, store_id, ingest_ts)
SELECT
    schema_version, pipeline_run_id, frame_index, payload, camera_id, store_id, with_timezone(ingest_ts, 'UTC')
FROM lakehouse.rva.bronze_raw_old
