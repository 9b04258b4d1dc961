"""Writes Grafana's dashboards: dashboards.py writes dashboards/*.json, dashboards.py --check compares them.

What holds for all: each statement on gold obeys the time range and the variables for store and camera; in each row of
panels stands how much of that time the cameras looked (gold_camera_minute), since half a count looks like a whole one;
people are counted by their tracks, which are no sum over minutes. tests/dashboards.rs holds the files to it.
"""

import json
import sys
from pathlib import Path

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import VariableOption, VariableRefresh
from panels import (
    PROMETHEUS,
    TRINO,
    lay_out,
    prom_series,
    prom_stat,
    prom_table,
    sql_bars,
    sql_grid,
    sql_pie,
    sql_series,
    sql_stat,
    sql_table,
)

HERE = Path(__file__).resolve().parent
GOLD = "lakehouse.rva.gold_"
CHOSEN = "store_id IN ($store) AND camera_id IN ($camera)"
CAMERA = "store_id || '/' || camera_id"
# Rows of an hour count where the hour touches the time range.
HOURS = f"ts_hour >= date_trunc('hour', $__timeFrom()) AND ts_hour <= $__timeTo() AND {CHOSEN}"


def during(column: str) -> str:
    return f"$__timeFilter({column}) AND {CHOSEN}"


def bucket(column: str) -> str:
    return f"$__timeGroup({column}, '$__interval')"


# The minutes with a frame, of those of the time range that are over, as `rva report` has it.
COVERAGE = f"""
    SELECT least(1e0, CAST(count(*) AS double) / nullif(count(DISTINCT {CAMERA}) * date_diff('minute', $__timeFrom(),
    least($__timeTo(), CAST(current_timestamp AT TIME ZONE 'UTC' AS timestamp))), 0)) AS coverage
    FROM {GOLD}camera_minute WHERE {during("ts_minute")}"""
COVERAGE_SERIES = f"""
    SELECT {bucket("ts_minute")} AS time, {CAMERA} AS camera,
    least(1e0, count(*) * 60000e0 / $__interval_ms) AS coverage
    FROM {GOLD}camera_minute WHERE {during("ts_minute")} GROUP BY 1, 2 ORDER BY 1"""
# One row for each camera, for tables to join.
LOOKED = f"""looked AS (SELECT store_id, camera_id, count(*) AS minutes_looked,
    max(longest_gap_seconds) AS longest_gap_seconds
    FROM {GOLD}camera_minute WHERE {during("ts_minute")} GROUP BY 1, 2)"""
JOIN_LOOKED = "LEFT JOIN looked ON g.store_id = looked.store_id AND g.camera_id = looked.camera_id"


def coverage_stat(width: int = 4):
    return sql_stat("Coverage: minutes with a picture", COVERAGE, "percentunit", width)


def coverage_series(width: int = 8):
    return sql_series("Coverage by camera", COVERAGE_SERIES, "percentunit", width)


def board(uid: str, title: str, description: str) -> dashboard.Dashboard:
    made = dashboard.Dashboard(title).uid(uid).description(description).tags(["rva"]).timezone("browser")
    return made.time("now-6h", "now").refresh("30s")


def choice(name: str, label: str, source, query: object) -> dashboard.QueryVariable:
    made = dashboard.QueryVariable(name).label(label).datasource(source).query(query).multi(True).include_all(True)
    return made.current(VariableOption(True, ["All"], ["$__all"])).refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)


def sql_choice(name: str, label: str, sql: str) -> dashboard.QueryVariable:
    # Versions of the plug-in read the statement from one key or the other.
    return choice(name, label, TRINO, {"refId": f"{name}s", "query": sql, "rawSQL": sql, "format": 1})


def gold_board(uid: str, title: str, description: str) -> dashboard.Dashboard:
    known = f"FROM {GOLD}camera_minute WHERE $__timeFilter(ts_minute)"
    made = board(uid, title, description)
    made.with_variable(sql_choice("store", "Store", f"SELECT DISTINCT store_id {known} ORDER BY 1"))
    cameras = f"SELECT DISTINCT camera_id {known} AND store_id IN ($store) ORDER BY 1"
    return made.with_variable(sql_choice("camera", "Camera", cameras))


def people_overview() -> dashboard.Dashboard:
    minutes = f"FROM {GOLD}people_per_minute WHERE {during('ts_minute')}"
    tracks = f"FROM {GOLD}track_summary WHERE {during('start_time')}"
    made = gold_board(
        "rva_people_overview", "People Overview", "How many people the cameras saw, and when they looked."
    )
    return lay_out(made, {
        "In this time": [[
            sql_stat("People: tracks that began", f"SELECT count(*) AS people {tracks}"),
            sql_stat("Most people at once", f"SELECT max(people_max) AS people {minutes}"),
            sql_stat("Detections", f"SELECT sum(detections) AS detections {minutes}"),
            sql_stat("Detections in a minute",
                f"SELECT CAST(sum(detections) AS double) / nullif(count(*), 0) AS detections {minutes}"),
            sql_stat("Cameras", f"SELECT count(DISTINCT {CAMERA}) AS cameras {minutes}"),
            coverage_stat(),
        ]],
        "Over time": [[
            sql_series("People in the picture by camera, on average", f"""
                SELECT {bucket("ts_minute")} AS time, {CAMERA} AS camera,
                CAST(sum(detections) AS double) / sum(frames) AS people
                {minutes} GROUP BY 1, 2 ORDER BY 1"""),
            coverage_series(),
        ], [
            sql_series("People by camera: tracks that began", f"""
                SELECT {bucket("start_time")} AS time, {CAMERA} AS camera, count(*) AS people
                {tracks} GROUP BY 1, 2 ORDER BY 1"""),
            coverage_series(),
        ]],
        "By camera": [[
            sql_pie("Detections",
                f"SELECT {CAMERA} AS camera, sum(detections) AS detections {minutes} GROUP BY 1 ORDER BY 2 DESC"),
            sql_table("When they looked", f"""
                SELECT store_id, camera_id, count(*) AS minutes_looked, sum(frames) AS frames,
                min(first_ts) AS first_frame,
                max(last_ts) AS last_frame, max(longest_gap_seconds) AS longest_gap_seconds, sum(runs) AS runs
                FROM {GOLD}camera_minute WHERE {during("ts_minute")} GROUP BY 1, 2 ORDER BY 1, 2""", 16),
        ]],
        "By minute": [[
            sql_table("The last 100 minutes of cameras; unique people are those of one minute", f"""
                SELECT g.ts_minute, g.store_id, g.camera_id, g.unique_people, g.people_max, g.people_avg,
                g.detections, c.frames,
                c.longest_gap_seconds FROM (SELECT * {minutes}) g
                LEFT JOIN (SELECT * FROM {GOLD}camera_minute WHERE {during("ts_minute")}) c
                ON g.store_id = c.store_id AND g.camera_id = c.camera_id AND g.ts_minute = c.ts_minute
                ORDER BY 1 DESC, 2, 3 LIMIT 100"""),
        ]],
    })  # fmt: skip


def zone_analytics() -> dashboard.Dashboard:
    cells = f"FROM {GOLD}zone_dwell WHERE {HOURS}"
    cell = f"{CAMERA} || ' ' || CAST(zone_x AS varchar) || ',' || CAST(zone_y AS varchar)"
    columns = ", ".join(f'sum(hits) FILTER (WHERE zone_x = {x}) AS "{x}"' for x in range(10))
    made = gold_board(
        "rva_zone_dwell", "Zone Analytics", "Where people were and how long: cells of the picture, zones, lines."
    )
    return lay_out(made, {
        "In this time: cells of the picture, by whole hours": [[
            sql_stat("Visits of cells", f"SELECT sum(visits) AS visits {cells}"),
            sql_stat("Dwell in a cell, on average",
                f"SELECT sum(total_dwell_seconds) / nullif(sum(visits), 0) AS dwell {cells}", "s"),
            sql_stat("Longest dwell of a cell, on average of an hour",
                f"SELECT max(avg_dwell_seconds) AS dwell {cells}", "s"),
            sql_stat("Cells with visits", f"SELECT count(DISTINCT {cell}) AS cells {cells} AND visits > 0"),
            coverage_stat(8),
        ], [
            sql_bars("Longest dwell: 15 cells", f"""
                SELECT {cell} AS cell, sum(total_dwell_seconds) / nullif(sum(visits), 0) AS dwell {cells}
                GROUP BY 1 HAVING sum(visits) > 0 ORDER BY 2 DESC LIMIT 15""", "s"),
            sql_bars("Most visits: 15 cells",
                f"SELECT {cell} AS cell, sum(visits) AS visits {cells} GROUP BY 1 ORDER BY 2 DESC LIMIT 15"),
            coverage_series(),
        ], [
            sql_grid("Where people stood: detections in cells, from the upper left of the picture", f"""
                SELECT zone_y AS y, {columns} FROM {GOLD}zone_heatmap WHERE {HOURS} GROUP BY 1 ORDER BY 1"""),
            coverage_series(),
        ]],
        "Zones that were drawn": [[
            sql_series("People in zones, on average", f"""
                SELECT {bucket("ts_minute")} AS time, {CAMERA} || ' ' || zone AS zone,
                sum(people_avg * frames) / sum(frames) AS people
                FROM {GOLD}zone_minute WHERE {during("ts_minute")} GROUP BY 1, 2 ORDER BY 1"""),
            coverage_series(),
        ], [
            sql_table("Visits that began", f"""
                WITH {LOOKED}
                SELECT g.store_id, g.camera_id, g.zone, count(*) AS visits, count(DISTINCT g.pipeline_run_id || '/' ||
                CAST(g.track_id AS varchar)) AS people, avg(g.dwell_seconds) AS avg_dwell_seconds,
                approx_percentile(g.dwell_seconds, 0.9) AS p90_dwell_seconds, max(g.dwell_seconds) AS max_dwell_seconds,
                max(minutes_looked) AS minutes_looked, max(longest_gap_seconds) AS longest_gap_seconds
                FROM (SELECT * FROM {GOLD}zone_visits WHERE {during("entered_at")}) g
                {JOIN_LOOKED} GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"""),
        ]],
        "Lines that were drawn": [[
            sql_table("Crossings", f"""
                WITH {LOOKED}
                SELECT g.store_id, g.camera_id, g.line, count_if(g.direction = 'in') AS crossed_in,
                count_if(g.direction = 'out') AS crossed_out, max(minutes_looked) AS minutes_looked,
                max(longest_gap_seconds) AS longest_gap_seconds
                FROM (SELECT * FROM {GOLD}line_crossings WHERE {during("crossed_at")}) g
                {JOIN_LOOKED} GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"""),
        ]],
    })  # fmt: skip


def track_behaviour() -> dashboard.Dashboard:
    tracks = f"FROM {GOLD}track_summary WHERE {during('start_time')}"
    track = f"{CAMERA} || ' ' || substr(pipeline_run_id, 1, 8) || '/' || CAST(track_id AS varchar)"
    made = gold_board(
        "rva_track_summary", "Track Behaviour", "How long tracks last, how sure they are, how far they go."
    )
    return lay_out(made, {
        "Tracks that began in this time": [[
            sql_stat("Tracks", f"SELECT count(*) AS tracks {tracks}"),
            sql_stat("Duration, on average", f"SELECT avg(duration_seconds) AS duration {tracks}", "s"),
            sql_stat("Confidence, on average of frames",
                f"SELECT sum(avg_conf * frames) / sum(frames) AS confidence {tracks}", "percentunit"),
            sql_stat("Frames", f"SELECT sum(frames) AS frames {tracks}"),
            coverage_stat(8),
        ], [
            sql_series("Duration by camera, on average", f"""
                SELECT {bucket("start_time")} AS time, {CAMERA} AS camera, avg(duration_seconds) AS duration
                {tracks} GROUP BY 1, 2 ORDER BY 1""", "s"),
            coverage_series(),
        ], [
            sql_bars("Longest: 15 tracks",
                f"SELECT {track} AS track, duration_seconds {tracks} ORDER BY 2 DESC LIMIT 15", "s", 6),
            sql_bars("Surest: 15 tracks", f"SELECT {track} AS track, avg_conf {tracks} ORDER BY 2 DESC LIMIT 15",
                "percentunit", 6),
            sql_pie("By camera", f"SELECT {CAMERA} AS camera, count(*) AS tracks {tracks} GROUP BY 1 ORDER BY 2 DESC",
                6),
            coverage_series(6),
        ]],
        "One by one": [[
            sql_table("The last 100 tracks; the longest gap is of the minute in which they began", f"""
                SELECT g.start_time, g.store_id, g.camera_id, g.pipeline_run_id, g.track_id, g.frames,
                g.duration_seconds, g.avg_conf,
                g.delta_x, g.delta_y, g.avg_x, g.avg_y, c.longest_gap_seconds FROM (SELECT * {tracks}) g
                LEFT JOIN (SELECT * FROM {GOLD}camera_minute WHERE {during("ts_minute")}) c
                ON g.store_id = c.store_id AND g.camera_id = c.camera_id
                AND date_trunc('minute', g.start_time) = c.ts_minute
                ORDER BY 1 DESC, 2, 3 LIMIT 100"""),
        ]],
    })  # fmt: skip


def operations() -> dashboard.Dashboard:
    made = board(
        "rva_operations", "Operations", "Whether cameras, services and tables are well. Alerts: docs/runbooks.md."
    )
    query = {"refId": "cameras", "qryType": 1, "query": "label_values(rva_detector_camera_running, camera_id)"}
    # By a pattern, so that services without a camera yet, and thousands of them, are asked as well.
    made.with_variable(choice("camera", "Camera", PROMETHEUS, query).all_value(".*"))
    seen = '{camera_id=~"$camera"}'
    rate = lambda metric, by="", where="": f"sum{by and f' by ({by})'} (rate({metric}{where}[$__rate_interval]))"
    quantile = lambda q, metric, by="", where="": (
        f"histogram_quantile({q}, sum by ({by}le) (rate({metric}_bucket{where}[$__rate_interval])))"
    )
    return lay_out(made, {
        "Now": [[
            prom_stat("Alerts that fire", 'count(ALERTS{alertstate="firing"}) or vector(0)'),
            prom_stat("Services that don't answer", 'count(up{job=~"rva-.+"} == 0) or vector(0)'),
            prom_stat("Cameras that give frames", f"sum(rva_detector_camera_running{seen})"),
            prom_stat("Cameras that give none", f"count(rva_detector_camera_running{seen} == 0) or vector(0)"),
            prom_stat("Since the last commit", "time() - max(rva_ingest_last_commit_timestamp_seconds)", "s"),
            prom_stat("Silver is behind, in snapshots", "max(rva_refine_lag_snapshots)"),
        ], [
            prom_table("Alerts that fire", 'ALERTS{alertstate="firing"}'),
        ]],
        "Cameras": [[
            prom_series("Frames a second",
                (f"sum by (camera_id) (camera_id:rva_detector_frames_processed:rate5m{seen})", "{{camera_id}}")),
            prom_series("Frames left out, by reason",
                (rate("rva_detector_frames_skipped_total", "reason", seen), "{{reason}}")),
            prom_series("Share left out for want of time",
                (f"max by (camera_id) (camera_id:rva_detector_frames_left_out:ratio5m{seen})", "{{camera_id}}"),
                unit="percentunit"),
        ], [
            prom_series("From capture to record, 99 of 100",
                (quantile(0.99, "rva_detector_record_latency_seconds", "camera_id, ", seen), "{{camera_id}}"),
                unit="s"),
            prom_series("Openings and failed tries in 5 minutes",
                (f"sum by (camera_id) (increase(rva_detector_openings_total{seen}[5m]))", "{{camera_id}}"),
                (f"sum by (camera_id) (increase(rva_detector_openings_failed_total{seen}[5m]))", "{{camera_id}} failed")),
            prom_series("Trouble a second", (rate("rva_detector_decode_errors_total", "", seen), "damaged data"),
                (rate("rva_detector_times_replaced_total", "", seen), "times replaced"),
                (rate("rva_detector_tracks_refused_total", "", seen), "tracks refused"),
                ("sum(rva_detector_captures_hung)", "captures that hang")),
        ]],
        "Records to the broker": [[
            prom_series("Records a second", (rate("rva_detector_log_records_total"), "into the spool"),
                (rate("rva_detector_forwarded_total"), "acknowledged")),
            prom_series("Size of the spool", ("sum by (instance) (rva_detector_log_bytes)", "{{instance}}"),
                unit="bytes"),
            prom_series("Trouble a second", (rate("rva_detector_forward_waits_total"), "broker away"),
                (rate("rva_detector_refused_total"), "refused for good"),
                (rate("rva_detector_log_sends_blocked_total"), "spool full"),
                (rate("rva_detector_log_sends_no_space_total"), "disk full"),
                (rate("rva_detector_log_records_dropped_total"), "lost")),
        ]],
        "Ingest": [[
            prom_series("Messages and rows a second", (rate("rva_ingest_messages_total"), "messages"),
                (rate("rva_ingest_messages_skipped_total"), "came again"), (rate("rva_ingest_rows_total"), "rows")),
            prom_series("Time of a commit", (quantile(0.5, "rva_ingest_commit_duration_seconds"), "half"),
                (quantile(0.99, "rva_ingest_commit_duration_seconds"), "99 of 100"), unit="s"),
            prom_series("Rows of a commit", (quantile(0.5, "rva_ingest_commit_rows"), "half"),
                (quantile(0.99, "rva_ingest_commit_rows"), "99 of 100")),
        ], [
            prom_series("Commits a minute", (f"60 * {rate('rva_ingest_commits_total', 'table')}", "{{table}}")),
            prom_series("Dead letters in 5 minutes, by reason",
                ("sum by (reason) (increase(rva_ingest_dead_letters_total[5m]))", "{{reason}}")),
            prom_series("Trouble in 5 minutes",
                ("sum by (at) (increase(rva_ingest_retries_total[5m]))", "repeated: {{at}}"),
                ("sum(increase(rva_ingest_fenced_total[5m]))", "another was first"),
                ("sum(increase(rva_ingest_conflicts_total[5m]))", "key conflicts"),
                ("sum(increase(rva_ingest_records_lost_total[5m]))", "lost in the log"),
                ("sum(increase(rva_ingest_rollbacks_total[5m]))", "table rolled back")),
        ]],
        "Silver, gold and small files": [[
            prom_series("Silver is behind, in snapshots",
                ("max by (instance) (rva_refine_lag_snapshots)", "{{instance}}")),
            prom_series("Rows of bronze a second, hours of gold a minute",
                (rate("rva_refine_bronze_rows_total"), "rows"), (f"60 * {rate('rva_refine_hours_total')}", "hours")),
            prom_series("Trouble in 5 minutes",
                ("sum by (reason) (increase(rva_refine_rejects_total[5m]))", "rejected: {{reason}}"),
                ("sum(increase(rva_refine_retries_total[5m]))", "repeated"),
                ("sum(increase(rva_maintain_failures_total[5m]))", "maintenance failed")),
        ], [
            prom_series("Small files merged in an hour",
                ("sum by (table) (increase(rva_maintain_files_total[1h]))", "{{table}}"), width=12),
            prom_series("Since the last look at small files",
                ("time() - max by (instance) (rva_maintain_last_look_timestamp_seconds > 0)", "{{instance}}"), unit="s",
                width=12),
        ]],
    })  # fmt: skip


def files() -> dict[Path, str]:
    boards = [operations(), people_overview(), zone_analytics(), track_behaviour()]
    made = {board.build().uid: json.dumps(board.build(), cls=JSONEncoder, indent=2, sort_keys=True) for board in boards}
    return {HERE / "dashboards" / f"{uid}.json": f"{text}\n" for uid, text in made.items()}


def main() -> int:
    made, there = files(), set((HERE / "dashboards").glob("*.json"))
    if sys.argv[1:] == ["--check"]:
        other = [path.name for path, text in made.items() if not path.exists() or path.read_text() != text]
        other += [path.name for path in there - set(made)]
        if other:
            print(
                f"dashboards: found {', '.join(sorted(other))} otherwise, wanted what {Path(__file__).name} writes",
                file=sys.stderr,
            )
        return 1 if other else 0
    for path in there - set(made):
        path.unlink()
    for path, text in made.items():
        path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
