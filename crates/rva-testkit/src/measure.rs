//! Measures the own process and folders, for benchmarks.

use std::path::Path;

/// Returns the value of a line of `/proc/self/status`, say `VmRSS`, in KiB.
///
/// # Panics
/// There is no such line.
pub fn status_kib(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Returns the processor time of this process in seconds, all its threads together.
///
/// # Panics
/// The system has no `/proc`.
pub fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    // The kernel tells it in hundredths on every machine that this runs on.
    ticks / 100.0
}

/// Returns the median, the larger of two middles.
///
/// # Panics
/// There are no values.
pub fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Returns the number and the bytes of the files below a folder whose names end so.
pub fn sizes(folder: &Path, endings: &[&str]) -> (u64, u64) {
    let (mut files, mut bytes, mut folders) = (0, 0, vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        // Files come and go while this looks.
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if endings.iter().any(|ending| path.to_string_lossy().ends_with(ending)) {
                files += 1;
                bytes += entry.metadata().map_or(0, |found| found.len());
            }
        }
    }
    (files, bytes)
}
