//! Settings of a lake, and the steps of a commit that can be watched.

use crate::neighbours::Homes;
use crate::storage::{AllowedLocations, LakeStorageFactory, S3Options};
use iceberg::io::StorageFactory;
use rva_types::JobName;
use std::{fmt, sync::Arc, time::Duration};

/// The steps of a commit, in order; some come more than once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CommitStep {
    /// The table is being read from the catalog.
    Load,
    /// Keys of the batch are being looked up in the table.
    KeyLookup,
    /// Data files are being written.
    WriteFiles,
    /// All data files of the batch are durable; no manifest names them yet.
    FilesClosed,
    /// Manifest and manifest list are about to be written.
    BuildManifest,
    /// Both are durable; the catalog is about to be asked to swap.
    CommitSent,
    /// The catalog answered, whatever it said.
    CommitReturned,
    /// The table is being read again to learn whether the commit is in it.
    Reload,
    /// The commit is in the table's lineage.
    Known,
    /// Old snapshots and files that nothing references are being removed.
    Housekeeping,
}

impl CommitStep {
    /// Every step, in order.
    pub const ALL: [Self; 10] = [
        Self::Load,
        Self::KeyLookup,
        Self::WriteFiles,
        Self::FilesClosed,
        Self::BuildManifest,
        Self::CommitSent,
        Self::CommitReturned,
        Self::Reload,
        Self::Known,
        Self::Housekeeping,
    ];

    /// Returns a name for logs: `files_closed`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Load => "load",
            Self::KeyLookup => "key_lookup",
            Self::WriteFiles => "write_files",
            Self::FilesClosed => "files_closed",
            Self::BuildManifest => "build_manifest",
            Self::CommitSent => "commit_sent",
            Self::CommitReturned => "commit_returned",
            Self::Reload => "reload",
            Self::Known => "known",
            Self::Housekeeping => "housekeeping",
        }
    }
}

/// A function that is told of each step as it begins. The default writes a trace event with target `rva_lake::step`.
pub type StepObserver = Arc<dyn Fn(CommitStep) + Send + Sync>;

/// The number of attempts and the waits before a commit gives the batch back as a transient error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommitRetry {
    /// The attempts of one call. More of them bridge longer outages inside the call.
    pub attempts_max: u32,
    /// The wait after the first failed attempt; doubled after each further one.
    pub wait_first: Duration,
    /// The longest wait.
    pub wait_max: Duration,
    /// The time after which a catalog call counts as one whose outcome is unknown.
    pub call_timeout: Duration,
}

impl Default for CommitRetry {
    fn default() -> Self {
        Self {
            attempts_max: 6,
            wait_first: Duration::from_millis(50),
            wait_max: Duration::from_secs(2),
            call_timeout: Duration::from_secs(60),
        }
    }
}

/// The limits of housekeeping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HousekeepingLimits {
    /// The number of snapshots of the lineage that stay. More make each commit slower: 1 KiB of metadata each.
    pub snapshots_kept: usize,
    /// The same of a table of gold, where it is less: a refresh commits to ten of them, each with all that it keeps,
    /// and nobody follows their snapshots.
    pub gold_snapshots_kept: usize,
    /// The time for which a snapshot stays after another took its place, however few there are.
    pub snapshots_age: Duration,
    /// The number of snapshots of the lineage that stay however old they are.
    pub snapshots_min: usize,
    /// The number of snapshots beyond `snapshots_kept`, or of old ones, at which expiry runs, so that its own commit is amortised.
    pub snapshots_slack: usize,
    /// The age at which files that nothing references are deleted. It must exceed the longest catalog outage.
    pub orphan_age: Duration,
    /// The time between two walks over the table's folder. The first walk follows the first commit of a process.
    pub walk_every: Duration,
}

impl Default for HousekeepingLimits {
    fn default() -> Self {
        let day = Duration::from_secs(24 * 60 * 60);
        Self {
            snapshots_kept: 500,
            gold_snapshots_kept: 100,
            snapshots_age: 5 * day,
            snapshots_min: 1,
            snapshots_slack: 50,
            orphan_age: day,
            walk_every: day,
        }
    }
}

/// Rules of the commit that a mutant breaks, to show that the suite notices. Without the feature `mutants` nobody can.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(feature = "mutants"), allow(unreachable_pub, reason = "only a build for tests names it"))]
pub struct CommitRules {
    /// Compares the stored offsets with those that the batch was built on.
    pub fence: bool,
    /// Asks the table what became of a commit instead of believing the catalog's answer.
    pub reload_after_unknown: bool,
    /// Puts merged files into the table as it is when they are committed, not as it was when they were planned.
    pub rebase: bool,
}

impl CommitRules {
    const KEPT: Self = Self { fence: true, reload_after_unknown: true, rebase: true };
}

#[cfg(feature = "mutants")]
impl Default for CommitRules {
    fn default() -> Self {
        Self::KEPT
    }
}

/// The settings of a lake. The default is complete.
#[derive(Clone)]
pub struct LakeOptions {
    /// The name of the job whose offsets the commits carry. Two jobs never share offsets.
    pub job: JobName,
    /// The retries of a commit.
    pub retry: CommitRetry,
    /// The limits of housekeeping.
    pub housekeeping: HousekeepingLimits,
    /// The bytes beyond which a data file is closed.
    pub file_bytes_max: usize,
    /// The bytes beyond which a row group is closed. They bound the writer's memory.
    pub row_group_bytes: usize,
    /// The bytes beyond which a map of offsets isn't repeated in every snapshot's summary, but lies in a file beside
    /// the metadata.
    pub offsets_inline_max: usize,
    /// The number of small manifests at which a commit merges some of them: fewer make commits write more, more make
    /// reads slower.
    pub manifests_max: usize,
    /// The bytes that the key index takes: some hundred for each run that goes on, and those of the frames that it remembers.
    /// More of them read less where old events come again.
    pub key_bytes_max: usize,
    /// Partitions bronze by the day of the ingest too, also a table that is there already.
    pub partition_by_day: bool,
    /// The function that is told of each step of a commit.
    pub observer: StepObserver,
    /// The factory of the storage that files are read and written through.
    pub storage: Arc<dyn StorageFactory>,
    pub(crate) lister: LakeStorageFactory,
    /// The locations that a catalog may send us to.
    pub(crate) allowed: AllowedLocations,
    /// What the tables of a lake know of each other; clones are the same.
    pub(crate) homes: Homes,
    #[cfg(feature = "mutants")]
    rules: CommitRules,
}

impl Default for LakeOptions {
    fn default() -> Self {
        let factory = LakeStorageFactory::default();
        Self {
            job: JobName::of_static("ingest"),
            retry: CommitRetry::default(),
            housekeeping: HousekeepingLimits::default(),
            file_bytes_max: 128 << 20,
            row_group_bytes: 8 << 20,
            offsets_inline_max: 1024,
            manifests_max: 24,
            key_bytes_max: 32 << 20,
            partition_by_day: false,
            observer: Arc::new(|step| tracing::trace!(target: "rva_lake::step", step = step.name())),
            storage: Arc::new(factory.clone()),
            lister: factory,
            allowed: AllowedLocations::default(),
            homes: Homes::default(),
            #[cfg(feature = "mutants")]
            rules: CommitRules::KEPT,
        }
    }
}

impl LakeOptions {
    /// Reaches `s3://` locations, and nothing else: the catalog of an object store is somebody else's.
    pub fn with_s3(self, s3: S3Options) -> Self {
        self.with_s3_in(s3, AllowedLocations::object_stores())
    }

    /// Reaches the locations that are allowed. A table's data may be outside its own location where one of them is
    /// named.
    pub fn with_s3_in(mut self, s3: S3Options, allowed: AllowedLocations) -> Self {
        self.allowed = allowed.clone();
        let factory = LakeStorageFactory::with_s3(s3).allowing(allowed);
        self.with_storage(Arc::new(factory.clone()), factory)
    }

    /// Reads and writes through another factory, which wraps `inner`: for faults in tests. Listings go to `inner`.
    pub fn with_storage(mut self, storage: Arc<dyn StorageFactory>, inner: LakeStorageFactory) -> Self {
        self.storage = storage;
        self.lister = inner;
        self
    }

    /// Breaks rules of the commit.
    #[cfg(feature = "mutants")]
    pub fn with_rules(mut self, rules: CommitRules) -> Self {
        self.rules = rules;
        self
    }

    #[cfg(feature = "mutants")]
    pub(crate) const fn rules(&self) -> CommitRules {
        self.rules
    }

    #[cfg(not(feature = "mutants"))]
    pub(crate) const fn rules(&self) -> CommitRules {
        CommitRules::KEPT
    }

    pub(crate) fn step(&self, step: CommitStep) {
        (self.observer)(step);
    }
}

impl fmt::Debug for LakeOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LakeOptions")
            .field("job", &self.job)
            .field("retry", &self.retry)
            .field("housekeeping", &self.housekeeping)
            .field("file_bytes_max", &self.file_bytes_max)
            .field("row_group_bytes", &self.row_group_bytes)
            .field("offsets_inline_max", &self.offsets_inline_max)
            .field("manifests_max", &self.manifests_max)
            .field("key_bytes_max", &self.key_bytes_max)
            .field("partition_by_day", &self.partition_by_day)
            .finish_non_exhaustive()
    }
}
