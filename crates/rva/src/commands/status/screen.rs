//! The screen: services, cameras, tables and what is wrong, as text.

use super::{Status, service::ServiceStatus};
use crate::terminal::plain;
use rva_service::format_bytes;
use unicode_width::UnicodeWidthStr;

/// Returns the status as lines for people.
pub fn as_text(status: &Status) -> String {
    let mut text = services(&status.services);
    for service in &status.services {
        text.push_str(&cameras(service));
    }
    text.push_str(&work(&status.services));
    text.push_str(&tables(status));
    if let (Some(free), Some(size)) = (status.disk_free_bytes, status.disk_size_bytes) {
        text.push_str(&format!("\ndisk of the tables: {}\n", disk(free, size)));
    }
    text.push('\n');
    for trouble in status.services.iter().flat_map(|service| &service.troubles) {
        text.push_str(&format!("trouble: {}: {}\n", plain(trouble.0), plain(trouble.1)));
    }
    if status.findings.is_empty() {
        text.push_str("nothing is wrong\n");
    }
    for finding in &status.findings {
        text.push_str(&format!("{}  {}: {}\n", finding.alert, plain(&finding.service), plain(&finding.text)));
    }
    text
}

fn services(services: &[ServiceStatus]) -> String {
    let row = |service: &ServiceStatus| {
        let memory = service.memory_bytes.map(bytes).unwrap_or_default();
        let limit = service.memory_limit_bytes.map(|limit| format!(" of {}", bytes(limit))).unwrap_or_default();
        let room = service.disk_free_bytes.zip(service.disk_size_bytes);
        let state = match (&service.error, service.is_ready) {
            (Some(_), _) => "no answer",
            (None, true) => "ready",
            (None, false) => "not ready",
        };
        vec![
            service.service.clone(),
            state.to_owned(),
            service.version.clone().unwrap_or_default(),
            service.uptime_seconds.map(span).unwrap_or_default(),
            format!("{memory}{limit}"),
            room.map(|(free, size)| disk(free, size)).unwrap_or_default(),
        ]
    };
    columns(&["SERVICE", "STATE", "VERSION", "UP FOR", "MEMORY", "DISK"], services.iter().map(row).collect())
}

fn cameras(service: &ServiceStatus) -> String {
    if service.cameras.is_empty() {
        return String::new();
    }
    let row = |camera: &super::service::CameraStatus| {
        vec![
            camera.camera.clone(),
            if camera.is_running { "running" } else { "dark" }.to_owned(),
            format!("{:.1}", camera.fps),
            format!("{:.0}", camera.people),
            camera.picture_age_seconds.map_or_else(|| "none yet".to_owned(), |age| format!("{} ago", span(age))),
            format!("{:.0}", camera.records),
        ]
    };
    let names = ["CAMERA", "STATE", "FPS", "PEOPLE", "LAST PICTURE", "RECORDS"];
    format!("\n{}", columns(&names, service.cameras.iter().map(row).collect()))
}

/// Returns a line for each log, ingest and refinement, and for backups.
fn work(services: &[ServiceStatus]) -> String {
    let mut text = String::new();
    for service in services {
        if let Some(log) = &service.log {
            let forwarded = log.forwarded.map(|records| format!(", {records:.0} records sent on")).unwrap_or_default();
            let dropped = log.records_dropped;
            let (size, unread, unread_bytes) = (bytes(log.bytes), log.unread_records, bytes(log.unread_bytes));
            text.push_str(&format!(
                "log: {size}, {unread:.0} records ({unread_bytes}) unread{forwarded}, {dropped:.0} dropped\n"
            ));
        }
        if let Some(ingest) = &service.ingest {
            let commit =
                ingest.last_commit_age_seconds.map_or("none yet".to_owned(), |age| format!("{} ago", span(age)));
            text.push_str(&format!(
                "ingest: {:.0} rows, {:.1} a second, {} behind, last commit {commit}, {:.0} dead letters, {:.0} conflicts, {:.0} lost\n",
                ingest.rows,
                ingest.rows_per_second,
                span(ingest.lag_seconds),
                ingest.dead_letters,
                ingest.conflicts,
                ingest.records_lost,
            ));
        }
        if let Some(refine) = &service.refine {
            text.push_str(&format!(
                "refine: {:.0} commits of bronze behind, {:.0} commits, {:.0} rejects\n",
                refine.lag_snapshots, refine.commits, refine.rejects
            ));
        }
    }
    for backup in services.iter().filter_map(|service| service.backup.as_ref()) {
        let age = backup.age_seconds.map_or("none".to_owned(), |age| format!("{} ago", span(age)));
        text.push_str(&format!("backup: newest {age}, at most {}\n", span(backup.age_max_seconds)));
    }
    if text.is_empty() { text } else { format!("\n{text}") }
}

fn tables(status: &Status) -> String {
    if status.tables.is_empty() {
        return String::new();
    }
    let row = |table: &super::TableStatus| {
        vec![
            table.table.clone(),
            table.rows.to_string(),
            table.files.to_string(),
            format_bytes(table.bytes),
            table.last_commit_age_seconds.map_or_else(|| "none yet".to_owned(), |age| format!("{} ago", span(age))),
        ]
    };
    let names = ["TABLE", "ROWS", "FILES", "SIZE", "LAST COMMIT"];
    format!("\n{}", columns(&names, status.tables.iter().map(row).collect()))
}

fn bytes(count: f64) -> String {
    format_bytes(count as u64)
}

fn disk(free: f64, size: f64) -> String {
    format!("{} free of {}", bytes(free), bytes(size))
}

/// Returns a time as a person says it; one in the future has a minus.
fn span(seconds: f64) -> String {
    match seconds.abs() {
        short if short < 120.0 => format!("{seconds:.0} s"),
        short if short < 7_200.0 => format!("{:.0} min", seconds / 60.0),
        short if short < 172_800.0 => format!("{:.0} h", seconds / 3_600.0),
        _ => format!("{:.0} days", seconds / 86_400.0),
    }
}

/// Returns rows under their names, each column as wide as its widest cell.
fn columns(names: &[&str], rows: Vec<Vec<String>>) -> String {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let rows: Vec<Vec<String>> = std::iter::once(names)
        .chain(rows.into_iter().map(|row| row.iter().map(|cell| plain(cell)).collect()))
        .collect();
    let width = |at: usize| rows.iter().map(|row| row[at].width()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..rows[0].len()).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(cell);
            line.push_str(&" ".repeat(width - cell.width() + 2));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::status::{TableStatus, judge::findings, service::CameraStatus};

    #[test]
    fn the_screen_shows_what_each_part_is_and_steers_no_terminal() {
        let service = ServiceStatus {
            service: "run".into(),
            is_ready: true,
            uptime_seconds: Some(10_000.0),
            troubles: [("camera é\u{1b}[2J".to_owned(), "away".to_owned())].into(),
            cameras: vec![
                CameraStatus { camera: "é\u{1b}[2J".into(), people: 3.0, ..CameraStatus::default() },
                CameraStatus {
                    camera: "b".into(),
                    is_running: true,
                    fps: 9.96,
                    picture_age_seconds: Some(0.4),
                    ..CameraStatus::default()
                },
            ],
            ..ServiceStatus::default()
        };
        let findings = findings(&service);
        let tables = vec![TableStatus { table: "rva.bronze_raw".into(), rows: 12, ..TableStatus::default() }];
        let text = as_text(&Status { services: vec![service], tables, findings, ..Status::default() });
        assert!(!text.contains('\u{1b}'), "{text}");
        for line in [
            "run      ready           3 h",
            "é\\u{1b}[2J  dark     0.0   3       none yet      0",
            "b           running  10.0  0       0 s ago       0",
            "rva.bronze_raw  12    0      0 B   none yet",
            "CameraDark  run: é\\u{1b}[2J: it gives no frames",
        ] {
            assert!(text.lines().any(|shown| shown == line), "wanted {line:?} in\n{text}");
        }
        assert!(as_text(&Status::default()).ends_with("nothing is wrong\n"));
    }

    #[test]
    fn spans_are_said_in_the_unit_that_fits() {
        let said = [0.2, 119.0, 120.0, 7_200.0, 172_800.0, -40.0].map(span);
        assert_eq!(said, ["0 s", "119 s", "2 min", "2 h", "2 days", "-40 s"]);
    }
}
