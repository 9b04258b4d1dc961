//! Limits that the system sets the process: open files, memory.

use std::{fs, path::Path};

/// Raises the number of files that may be open to what the system allows: shells give a thousand and allow more.
///
/// Everything works with a thousand too; more cameras then take turns with their files.
pub fn raise_open_files() {
    if let Err(error) = rlimit::increase_nofile_limit(rlimit::INFINITY) {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
}

/// Returns the bytes of memory that a container, or another memory cgroup around the process, allows it; `None` where
/// nothing limits it.
pub fn memory_limit() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    limit_under(Path::new("/sys/fs/cgroup"), &groups)
}

/// Returns the smallest limit of the groups that `/proc/self/cgroup` names, and of those around them. A container
/// usually sees its own group as the root, whatever the name says: so the root counts too.
fn limit_under(root: &Path, groups: &str) -> Option<u64> {
    let limits = groups.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, group) = (parts.next()?, parts.next()?);
        let (base, name) = match controllers {
            "" => (root.to_owned(), "memory.max"),
            _ if controllers.split(',').any(|controller| controller == "memory") => {
                (root.join("memory"), "memory.limit_in_bytes")
            }
            _ => return None,
        };
        let group = base.join(group.trim_start_matches('/'));
        let around = group.ancestors().take_while(|folder| folder.starts_with(&base));
        around.filter_map(|folder| fs::read_to_string(folder.join(name)).ok()?.trim().parse().ok()).min()
    });
    // Version 1 says "no limit" with a number that no machine has.
    limits.min().filter(|limit| *limit < 1 << 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(files: &[(&str, &str)], groups: &str) -> Option<u64> {
        let dir = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
        for (path, text) in files {
            let path = dir.path().join(path);
            let made = fs::create_dir_all(path.parent().unwrap_or(&path)).and_then(|()| fs::write(&path, text));
            made.unwrap_or_else(|error| panic!("{error}"));
        }
        limit_under(dir.path(), groups)
    }

    #[test]
    fn the_smallest_limit_of_the_groups_around_the_process_holds() {
        let two = [("a/memory.max", "max\n"), ("a/b/memory.max", "1000\n"), ("a/b/c/memory.max", "5000\n")];
        assert_eq!(limit(&two, "0::/a/b/c\n"), Some(1000));
        assert_eq!(limit(&two, "0::/a\n"), None, "no limit");
        let one =
            [("memory/x/memory.limit_in_bytes", "700\n"), ("memory/memory.limit_in_bytes", "9223372036854771712")];
        let groups = "5:cpu,cpuacct:/x\n4:memory:/x\n0::/\n";
        assert_eq!(limit(&one, groups), Some(700));
        assert_eq!(limit(&one, "4:memory:/\n"), None, "a limit that is none");
    }

    #[test]
    fn a_container_that_sees_its_group_as_the_root_is_limited_by_it() {
        assert_eq!(limit(&[("memory.max", "512")], "0::/docker/4711\n"), Some(512));
        assert_eq!(limit(&[("memory/memory.limit_in_bytes", "512")], "9:memory:/docker/4711\n"), Some(512));
        assert_eq!(limit(&[], "0::/\n"), None);
        assert_eq!(limit(&[], "nonsense\n"), None);
    }
}
