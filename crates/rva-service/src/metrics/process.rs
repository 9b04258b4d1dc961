//! The process and its disk as metrics, under the names that Prometheus' own clients give them where those have one.

use super::{Metric, Series, Totals};
use crate::memory_limit;
use std::{fs, path::PathBuf, sync::LazyLock};

/// The process that is asked about itself.
pub(crate) struct Process;

/// The metrics of every service.
const PROCESS: &[Metric<Process>] = &[
    Metric::gauge_by("rva_build_info", &["version"], "Always 1, for the version that runs", |_| {
        vec![Series::of([env!("CARGO_PKG_VERSION")], 1)]
    }),
    Metric::gauge("rva_process_memory_limit_bytes", "Memory that the container allows, 0 without a limit", |_| {
        whole(memory_limit())
    }),
    Metric::gauge("process_resident_memory_bytes", "Memory that the process has", |_| {
        whole(read().map(|stat| stat.resident))
    }),
    Metric::sum("process_cpu_seconds", "Time that the process has used of processors", |_| {
        read().map_or(0.0, |stat| stat.cpu_seconds)
    }),
    Metric::gauge("process_start_time_seconds", "When the process began, in seconds since 1970", |_| {
        whole(read().map(|stat| stat.started))
    }),
    Metric::gauge("process_open_fds", "Files and connections that are open", |_| {
        whole(fs::read_dir("/proc/self/fd").ok().map(|found| found.count() as u64))
    }),
    Metric::gauge("process_max_fds", "Files and connections that may be open", |_| {
        whole(rlimit::Resource::NOFILE.get_soft().ok())
    }),
];

/// Returns the metrics of this process, to show at `/metrics`.
pub(crate) fn of_process() -> Totals<Process> {
    Totals::reading(PROCESS, Process)
}

fn whole(found: Option<u64>) -> i64 {
    found.map_or(0, |found| i64::try_from(found).unwrap_or(i64::MAX))
}

/// The parts of `/proc/self/stat` that are shown.
#[derive(Debug, PartialEq)]
struct Stat {
    /// Bytes.
    resident: u64,
    cpu_seconds: f64,
    /// Seconds since 1970.
    started: u64,
}

/// When the machine began, in seconds since 1970.
static BOOTED: LazyLock<Option<u64>> = LazyLock::new(|| {
    let text = fs::read_to_string("/proc/stat").ok()?;
    text.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
});

fn read() -> Option<Stat> {
    let text = fs::read_to_string("/proc/self/stat").ok()?;
    parse(&text, (*BOOTED)?, rustix::param::clock_ticks_per_second(), rustix::param::page_size() as u64)
}

/// Reads a line of `/proc/PID/stat` (proc(5)).
fn parse(text: &str, booted: u64, ticks_per_second: u64, page: u64) -> Option<Stat> {
    // The second field is the program's name in parentheses, which may hold anything; the third one stands behind it.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    Some(Stat {
        resident: field(24)?.saturating_mul(page),
        cpu_seconds: (field(14)? + field(15)?) as f64 / ticks_per_second as f64,
        started: booted + field(22)? / ticks_per_second,
    })
}

/// The disk of a folder.
pub(crate) struct Disk(PathBuf);

/// The metrics of a disk.
const DISK: &[Metric<Disk>] = &[
    Metric::gauge("rva_disk_free_bytes", "Room that is left on the disk of the data folder", |Disk(folder)| {
        whole(fs4::available_space(folder).ok())
    }),
    Metric::gauge(
        "rva_disk_size_bytes",
        "Size of the disk of the data folder, 0 where it can't be read",
        |Disk(folder)| whole(fs4::total_space(folder).ok()),
    ),
];

/// Returns the metrics of a folder's disk, to show at `/metrics`.
pub(crate) fn disk(folder: PathBuf) -> Totals<Disk> {
    Totals::reading(DISK, Disk(folder))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wrong_names;

    #[test]
    fn a_line_of_the_system_is_read_whatever_the_program_is_called() {
        let line =
            "42 (rva) (x) S 1 42 42 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 8 0 12300 1000000 77 18446744073709551615";
        let wanted = Stat { resident: 77 * 4096, cpu_seconds: 3.0, started: 1_000 + 123 };
        assert_eq!(parse(line, 1_000, 100, 4096), Some(wanted));
        assert_eq!(parse("42 (rva", 1_000, 100, 4096), None);
        assert_eq!(parse("42 (rva) S 1", 1_000, 100, 4096), None);
    }

    #[test]
    fn this_process_has_memory_and_began_before_now() {
        let stat = read().unwrap_or_else(|| panic!("/proc/self/stat can't be read"));
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |now| now.as_secs());
        assert!(stat.resident > 1 << 20 && stat.cpu_seconds >= 0.0, "{stat:?}");
        // The clock's whole seconds round.
        assert!(stat.started <= now + 1 && stat.started + 86_400 > now, "{stat:?}, now {now}");
    }

    #[test]
    fn every_metric_is_in_the_documents() {
        let document = include_str!("../../../../docs/deployment.md");
        assert_eq!(wrong_names(PROCESS, "", document), Vec::<String>::new());
        assert_eq!(wrong_names(DISK, "rva_disk_", document), Vec::<String>::new());
    }
}
