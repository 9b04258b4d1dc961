#!/usr/bin/env bash
# make demo: builds, then runs the whole path on real footage: frames, detections, tracks, records, log, committed rows.
set -euo pipefail
cd "$(dirname "$0")/../.."

infrastructure/local/setup.sh
# shellcheck source=infrastructure/local/environment.sh
. infrastructure/local/environment.sh

printf 'demo: building rva (the first time about 10 minutes on 2 cores, most of it the SQL engine)\n' >&2
cargo build --locked -p rva
rva=$TARGET_DIR/debug/rva

rm -rf data/demo
printf 'demo: rva run %s --model data/models/demo-person-416.onnx --config infrastructure/local/demo.yaml \
    --data-dir data/demo --save\n' "$RVA_VTEST" >&2
"$rva" run "$RVA_VTEST" --model data/models/demo-person-416.onnx --config infrastructure/local/demo.yaml \
    --data-dir data/demo --save

printf '\nWhether gold is what its definition says (rva verify):\n\n' >&2
"$rva" verify --data-dir data/demo

printf '\nPeople per minute, from gold:\n\n'
"$rva" query --data-dir data/demo "SELECT camera_id, ts_minute, unique_people, people_max, people_avg, frames
FROM gold_people_per_minute ORDER BY camera_id, ts_minute"

printf '\nVisits of the two zones and crossings of the line of infrastructure/local/demo.yaml, from gold:\n\n'
"$rva" query --data-dir data/demo "
WITH visited AS (
    SELECT zone, count(*) AS visits, count(DISTINCT track_id) AS tracks, avg(dwell_seconds) AS dwell_seconds_avg
    FROM gold_zone_visits GROUP BY zone
),
crossed AS (
    SELECT line, count(*) FILTER (WHERE direction = 'in') AS \"in\", count(*) FILTER (WHERE direction = 'out') AS \"out\"
    FROM gold_line_crossings GROUP BY line
)
SELECT name, kind, visits, tracks, round(dwell_seconds_avg, 1) AS dwell_seconds_avg, \"in\", \"out\"
FROM zones LEFT JOIN visited ON name = zone LEFT JOIN crossed ON name = line
ORDER BY kind DESC, name"

printf '\nThe report of it all, a page to open in a browser:\n\n'
"$rva" report --data-dir data/demo -o data/demo/report.html 2>&1
cat <<END

Rows, video, picture and the next three commands to try stand above the query. rva is $rva.
The model was trained on this very clip, to try the pipeline: it is not for counting people in a shop (data/models/README.md).
END
