//! A memory cgroup of version 1 or 2 around a process of ours.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command},
    time::Duration,
};

/// A group with a limit; removed when dropped.
pub struct MemoryGroup {
    folder: PathBuf,
    is_v2: bool,
}

/// What a process in a group came to.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    /// The most that the group was charged with, pages of files included, in MiB.
    pub group_mib: u64,
    /// The most that the process had resident, in MiB.
    pub resident_mib: u64,
    /// Processes of the group that the kernel killed for memory.
    pub killed: u64,
}

impl MemoryGroup {
    /// Below the group of this process, so that what bounds it bounds ours too; else at the top, where one has to be.
    /// The reason where there can be none.
    pub fn of(limit_bytes: u64) -> Result<Self, String> {
        let groups = fs::read_to_string("/proc/self/cgroup").map_err(|error| error.to_string())?;
        let mut reason = "found no memory controller".to_owned();
        for line in groups.lines() {
            let mut parts = line.splitn(3, ':').skip(1);
            let (Some(controllers), Some(own)) = (parts.next(), parts.next()) else { continue };
            let (root, is_v2) = match controllers {
                "" => ("/sys/fs/cgroup", true),
                _ if controllers.split(',').any(|name| name == "memory") => ("/sys/fs/cgroup/memory", false),
                _ => continue,
            };
            for parent in [Path::new(root).join(own.trim_start_matches('/')), PathBuf::from(root)] {
                let group = Self { folder: parent.join(format!("rva-test-{}", std::process::id())), is_v2 };
                match group.make(limit_bytes) {
                    Ok(()) => return Ok(group),
                    Err(error) => reason = format!("{}: {error}", group.folder.display()),
                }
            }
        }
        Err(reason)
    }

    fn make(&self, limit_bytes: u64) -> std::io::Result<()> {
        fs::create_dir(&self.folder)?;
        let limit = limit_bytes.to_string();
        if !self.is_v2 {
            fs::write(self.folder.join("memory.limit_in_bytes"), &limit)?;
            // Where the kernel counts swap; where it doesn't, there is no such file.
            let _ = fs::write(self.folder.join("memory.memsw.limit_in_bytes"), &limit);
            return Ok(());
        }
        fs::write(self.folder.join("memory.max"), &limit)?;
        let _ = fs::write(self.folder.join("memory.swap.max"), "0");
        // Without it nothing would be known of what the test is for.
        fs::metadata(self.folder.join("memory.peak")).map(drop)
    }

    /// A command that begins in the group.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", r#"echo $$ > "$0" && exec "$@""#]).arg(self.folder.join("cgroup.procs")).arg(program);
        command
    }

    /// Waits for the end of such a command.
    pub fn wait(&self, mut child: Child, patience: Duration) -> Ended {
        let (status, began) = (format!("/proc/{}/status", child.id()), std::time::Instant::now());
        let mut resident_mib = 0;
        loop {
            resident_mib = resident(&status).unwrap_or(0).max(resident_mib);
            if let Some(ended) = child.try_wait().unwrap() {
                let (group_mib, killed) = (self.peak() >> 20, self.killed());
                return Ended { code: ended.code(), group_mib, resident_mib, killed };
            }
            if began.elapsed() > patience {
                child.kill().unwrap();
                child.wait().unwrap();
                panic!("found no end after {} s; resident {resident_mib} MiB at most", patience.as_secs());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn peak(&self) -> u64 {
        let name = if self.is_v2 { "memory.peak" } else { "memory.max_usage_in_bytes" };
        fs::read_to_string(self.folder.join(name)).unwrap().trim().parse().unwrap()
    }

    fn killed(&self) -> u64 {
        let name = if self.is_v2 { "memory.events" } else { "memory.oom_control" };
        let text = fs::read_to_string(self.folder.join(name)).unwrap();
        let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        count.map_or(0, |count| count.trim().parse().unwrap())
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.folder);
    }
}

/// The most that a process had resident, in MiB.
fn resident(status: &str) -> Option<u64> {
    let text = fs::read_to_string(status).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kib| kib >> 10)
}
