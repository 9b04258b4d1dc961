//! The state of a job in its commits: offsets, sequence, source and commit id, in the snapshot's summary and mirrored
//! in a table property, which outlives the expiry of the snapshot.

use crate::offsets::{OffsetsFile, StoredOffsets, of_mirror, of_summary, stow};
use crate::seam::{LakeError, LakeErrorKind, ResumePoint};
use bytes::Bytes;
use iceberg::spec::{Operation, Snapshot, SnapshotRef, TableMetadata, TableMetadataRef};
use iceberg::table::Table;
use iceberg::util::snapshot::ancestors_of;
use rva_types::{JobName, OffsetMap};
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};

/// The job whose positions silver and gold carry.
pub const REFINE_JOB: JobName = JobName::of_static("refine");

/// The version of a state whose map is where it always was.
const STATE_VERSION: &str = "1";

/// The version of one whose map lies in a file, or is compressed: a reader that knows only the first must not take it
/// for none.
const STATE_VERSION_FILE: &str = "2";

/// Names the trace of a commit in its snapshot's summary.
pub(crate) const TRACEPARENT_KEY: &str = "rva.traceparent";

/// The key names of one job: `rva.<job>.…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StateKeys {
    version: String,
    source: String,
    sequence: String,
    commit: String,
    offsets: String,
    mirror: String,
    anchor: String,
}

/// The state as a commit writes it.
pub(crate) struct Written {
    /// The properties of the snapshot's summary.
    pub summary: HashMap<String, String>,
    /// The mirror, a table property.
    pub mirror: (String, String),
    /// A file that must be there before the commit is sent, and its location.
    pub file: Option<(String, Bytes)>,
}

/// The state that one commit of the job recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JobState {
    pub source: String,
    pub sequence: u64,
    pub commit: String,
    pub offsets: OffsetMap,
}

/// A state as it is stored: the map may lie elsewhere.
struct Mark {
    source: String,
    sequence: u64,
    commit: String,
    offsets: StoredOffsets,
    place: String,
}

/// The marks of a job in the table itself, read without any file.
#[derive(Default)]
struct Marks {
    held: Option<Mark>,
    mirror: Option<JobState>,
    rolled_back_from: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct MirrorJson {
    version: String,
    source: String,
    sequence: u64,
    commit: String,
    offsets: String,
}

/// The job's state in a table: that of the lineage, and that of the mirror.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct StoredState {
    /// The state that holds: of the newest ancestor that carries the job's map, else of the mirror.
    pub held: Option<JobState>,
    /// The sequence of the mirror.
    pub mirror_sequence: u64,
    /// The sequence of a mirror that is ahead of the lineage by a rollback.
    pub rolled_back_from: Option<u64>,
}

impl StoredState {
    pub(crate) fn offsets(&self) -> OffsetMap {
        self.held.as_ref().map(|state| state.offsets.clone()).unwrap_or_default()
    }

    pub(crate) fn source(&self) -> Option<&str> {
        self.held.as_ref().map(|state| state.source.as_str())
    }

    /// Returns a number that is larger than every sequence that was ever given out, also over a rollback.
    pub(crate) fn next_sequence(&self) -> u64 {
        self.held.as_ref().map_or(0, |state| state.sequence).max(self.mirror_sequence) + 1
    }

    pub(crate) fn resume_point(&self) -> ResumePoint {
        ResumePoint {
            source: self.source().map(str::to_owned),
            offsets: self.offsets(),
            sequence: self.held.as_ref().map_or(0, |state| state.sequence),
            rolled_back_from: self.rolled_back_from,
        }
    }
}

impl StateKeys {
    /// Makes the keys of a job.
    pub(crate) fn of_job(job: &JobName) -> Self {
        let key = |name: &str| format!("rva.{job}.{name}");
        Self {
            version: key("state"),
            source: key("source"),
            sequence: key("sequence"),
            commit: key("commit"),
            offsets: key("offsets"),
            mirror: key("mirror"),
            anchor: key("anchor"),
        }
    }

    /// Returns the snapshots that are appends of any job, each of which only adds manifests to those of its parent.
    ///
    /// A mark alone says nothing: a maintenance commit may carry the job's map on, and another engine may copy the
    /// summary of the snapshot before it. So it must be an append that took no file away, under a commit id of its own.
    pub(crate) fn appends_of_ours(metadata: &TableMetadata) -> HashSet<i64> {
        let mut commits: HashMap<&str, Vec<i64>> = HashMap::new();
        for snapshot in metadata.snapshots() {
            for commit in commits_of(snapshot) {
                commits.entry(commit).or_default().push(snapshot.snapshot_id());
            }
        }
        let single = commits.into_values().filter_map(|ids| <[i64; 1]>::try_from(ids).ok());
        let only_adds = |id: &i64| metadata.snapshot_by_id(*id).is_some_and(|snapshot| only_adds(metadata, snapshot));
        single.map(|[id]| id).filter(only_adds).collect()
    }

    /// Returns the keys of every job that marked a snapshot.
    pub(crate) fn of_snapshot(snapshot: &Snapshot) -> impl Iterator<Item = Self> {
        let keys = snapshot.summary().additional_properties.keys();
        keys.filter_map(|key| key.strip_prefix("rva.")?.strip_suffix(".offsets"))
            .filter_map(|job| Some(Self::of_job(&job.parse().ok()?)))
    }

    /// Returns the property that names the newest snapshot with the job's map where expiry cut it off from its
    /// descendants.
    pub(crate) fn anchor_key(&self) -> &str {
        &self.anchor
    }

    /// Returns the snapshot that the anchor names, if it is there.
    pub(crate) fn anchored<'a>(&self, metadata: &'a TableMetadata) -> Option<&'a SnapshotRef> {
        let id = metadata.properties().get(&self.anchor)?.parse().ok()?;
        metadata.snapshot_by_id(id)
    }

    /// Returns the sequence of the newest commit that the mirror knows; 0 where there is none that can be read.
    pub(crate) fn mirror_sequence(&self, metadata: &TableMetadata) -> u64 {
        self.mirror_of(metadata).ok().flatten().map_or(0, |mirror| mirror.sequence)
    }

    /// Returns whether a snapshot is the one that the job's mirror was written with.
    pub(crate) fn is_mirrored(&self, metadata: &TableMetadata, snapshot: &Snapshot) -> bool {
        let mirror = self.mirror_of(metadata).ok().flatten();
        mirror.is_some_and(|mirror| self.commit_of(snapshot) == Some(mirror.commit.as_str()))
    }

    /// Returns the summary properties and the mirror property of a commit to `table`. A map of more than `inline_max`
    /// bytes goes into a file.
    pub(crate) fn write(&self, state: &JobState, table: &Table, inline_max: usize) -> Result<Written, LakeError> {
        let beside = table.metadata_location().and_then(|location| location.rsplit_once('/'));
        let folder =
            beside.map_or_else(|| format!("{}/metadata", table.metadata().location()), |(to, _)| to.to_owned());
        let stowed = stow(&state.offsets, &state.commit, &folder, inline_max)?;
        let version = if stowed.file.is_some() { STATE_VERSION_FILE } else { STATE_VERSION };
        let mirror = serde_json::to_string(&MirrorJson {
            version: version.to_owned(),
            source: state.source.clone(),
            sequence: state.sequence,
            commit: state.commit.clone(),
            offsets: stowed.mirror,
        })
        .map_err(|error| {
            LakeError::new(LakeErrorKind::Permanent, "could not write the mirror property").with_source(error)
        })?;
        let summary = HashMap::from([
            (self.version.clone(), version.to_owned()),
            (self.source.clone(), state.source.clone()),
            (self.sequence.clone(), state.sequence.to_string()),
            (self.commit.clone(), state.commit.clone()),
            (self.offsets.clone(), stowed.summary),
        ]);
        Ok(Written { summary, mirror: (self.mirror.clone(), mirror), file: stowed.file })
    }

    /// Reads the state that the table holds for the job.
    ///
    /// # Errors
    /// Returns `Permanent` for a state of another version, one that can't be read, or whose file is lost; else it fails
    /// as the storage does.
    pub(crate) async fn read(&self, table: &Table) -> Result<StoredState, LakeError> {
        let Marks { held, mirror, rolled_back_from } = self.marks(&table.metadata_ref())?;
        let mirror_sequence = mirror.as_ref().map_or(0, |state| state.sequence);
        let held = match held {
            Some(Mark { source, sequence, commit, offsets, place }) => {
                let offsets = match offsets {
                    StoredOffsets::Here(map) => map,
                    StoredOffsets::InFile(file) => match mirror {
                        Some(mirror) if mirror.commit == commit && file.is_of(&mirror.offsets) => mirror.offsets,
                        _ => file.read(table, &place).await?,
                    },
                };
                Some(JobState { source, sequence, commit, offsets })
            }
            None => None,
        };
        Ok(StoredState { held, mirror_sequence, rolled_back_from })
    }

    fn marks(&self, metadata: &TableMetadataRef) -> Result<Marks, LakeError> {
        let mirror = self.mirror_of(metadata)?;
        let lineage = self.state_of_lineage(metadata)?;
        let rolled_back_from = self.rolled_back_from(metadata, lineage.as_ref(), mirror.as_ref());
        let held = match (lineage, &mirror) {
            (None, Some(_)) if rolled_back_from.is_some() => None,
            (None, mirror) => mirror.clone().map(Mark::of_mirror),
            (lineage, _) => lineage,
        };
        Ok(Marks { held, mirror, rolled_back_from })
    }

    /// Returns the files with the maps of a snapshot's jobs.
    pub(crate) fn offsets_files(snapshot: &Snapshot) -> Vec<String> {
        let summary = &snapshot.summary().additional_properties;
        let texts = summary.iter().filter(|(key, _)| key.starts_with("rva.") && key.ends_with(".offsets"));
        let files = texts.filter_map(|(_, text)| serde_json::from_str::<OffsetsFile>(text).ok());
        files.map(|file| file.file).collect()
    }

    /// Returns the state of the newest ancestor that carries one. Where expiry took the snapshots between it and its
    /// descendants the anchor leads to it.
    fn state_of_lineage(&self, metadata: &TableMetadataRef) -> Result<Option<Mark>, LakeError> {
        let Some(current) = metadata.current_snapshot_id() else { return Ok(None) };
        let mut oldest = None;
        for snapshot in ancestors_of(metadata, current) {
            if let Some(state) = self.state_of(&snapshot)? {
                return Ok(Some(state));
            }
            oldest = Some(snapshot);
        }
        let cut_off = oldest.is_some_and(|snapshot| snapshot.parent_snapshot_id().is_some());
        match self.anchored(metadata) {
            Some(snapshot) if cut_off => self.state_of(snapshot),
            _ => Ok(None),
        }
    }

    /// Returns the sequence that the table was rolled back from. The mirror is written with every commit, so a mirror
    /// ahead of the lineage means that the table went back. With no map in the lineage at all, its snapshot either
    /// expired (then it is nowhere) or was rolled back (then it still is among the snapshots).
    fn rolled_back_from(
        &self,
        metadata: &TableMetadata,
        lineage: Option<&Mark>,
        mirror: Option<&JobState>,
    ) -> Option<u64> {
        let mirror = mirror?;
        let rolled_back = match lineage {
            Some(state) => state.sequence < mirror.sequence,
            None => metadata.snapshots().any(|snapshot| self.commit_of(snapshot) == Some(mirror.commit.as_str())),
        };
        rolled_back.then_some(mirror.sequence)
    }

    /// Returns whether a commit is part of what the table now says.
    pub(crate) fn holds_commit(&self, metadata: &TableMetadataRef, commit: &str) -> bool {
        let in_lineage = metadata.current_snapshot_id().is_some_and(|current| {
            ancestors_of(metadata, current).any(|snapshot| self.commit_of(&snapshot) == Some(commit))
        });
        // Expired since: then the mirror, if it is what holds, still names it.
        in_lineage || self.marks(metadata).is_ok_and(|marks| marks.held.is_some_and(|mark| mark.commit == commit))
    }

    /// Returns whether a commit is among the table's snapshots but not part of what the table now says: it was rolled
    /// back.
    pub(crate) fn left_out(&self, metadata: &TableMetadataRef, commit: &str) -> bool {
        let is_it = |snapshot: &Snapshot| self.commit_of(snapshot) == Some(commit);
        let mut lineage = metadata.current_snapshot_id().map(|id| ancestors_of(metadata, id)).into_iter().flatten();
        metadata.snapshots().any(|snapshot| is_it(snapshot)) && !lineage.any(|snapshot| is_it(&snapshot))
    }

    fn commit_of<'a>(&self, snapshot: &'a Snapshot) -> Option<&'a str> {
        snapshot.summary().additional_properties.get(&self.commit).map(String::as_str)
    }

    fn state_of(&self, snapshot: &Snapshot) -> Result<Option<Mark>, LakeError> {
        let summary = &snapshot.summary().additional_properties;
        let Some(offsets) = summary.get(&self.offsets) else { return Ok(None) };
        let place = || format!("snapshot {}", snapshot.snapshot_id());
        let text = |key: &String| summary.get(key).cloned().ok_or_else(|| broken(&place(), key, "nothing"));
        let sequence = text(&self.sequence)?;
        check_version(&text(&self.version)?, &place())?;
        Ok(Some(Mark {
            source: text(&self.source)?,
            sequence: sequence.parse().map_err(|_| broken(&place(), &self.sequence, &sequence))?,
            commit: text(&self.commit)?,
            offsets: of_summary(offsets, &place()).map_err(|_| broken(&place(), &self.offsets, offsets))?,
            place: place(),
        }))
    }

    fn mirror_of(&self, metadata: &TableMetadata) -> Result<Option<JobState>, LakeError> {
        let Some(text) = metadata.properties().get(&self.mirror) else { return Ok(None) };
        let place = "the table's properties";
        let mirror: MirrorJson = serde_json::from_str(text).map_err(|_| broken(place, &self.mirror, text))?;
        check_version(&mirror.version, place)?;
        Ok(Some(JobState {
            source: mirror.source,
            sequence: mirror.sequence,
            commit: mirror.commit,
            offsets: of_mirror(&mirror.offsets).map_err(|_| broken(place, &self.mirror, &mirror.offsets))?,
        }))
    }
}

/// Returns the ids of the commits that a snapshot says to be.
fn commits_of(snapshot: &Snapshot) -> impl Iterator<Item = &str> {
    let summary = &snapshot.summary().additional_properties;
    let ours = summary.iter().filter(|(key, _)| key.starts_with("rva.") && key.ends_with(".commit"));
    ours.map(|(_, commit)| commit.as_str())
}

/// Returns whether a snapshot says of itself that it took nothing away, and the totals say so too.
fn only_adds(metadata: &TableMetadata, snapshot: &Snapshot) -> bool {
    let count = |snapshot: &Snapshot, key: &str| -> Option<u64> {
        snapshot.summary().additional_properties.get(key).and_then(|value| value.parse().ok())
    };
    let took = ["deleted-data-files", "removed-delete-files", "manifests-replaced"];
    if snapshot.summary().operation != Operation::Append || took.iter().any(|key| count(snapshot, key).unwrap_or(0) > 0)
    {
        return false;
    }
    let parent = snapshot.parent_snapshot_id().and_then(|id| metadata.snapshot_by_id(id));
    let totals = (parent.and_then(|parent| count(parent, "total-data-files")), count(snapshot, "total-data-files"));
    match totals {
        (Some(before), Some(after)) => before + count(snapshot, "added-data-files").unwrap_or(0) == after,
        _ => true,
    }
}

impl Mark {
    fn of_mirror(mirror: JobState) -> Self {
        let JobState { source, sequence, commit, offsets } = mirror;
        Self { source, sequence, commit, offsets: StoredOffsets::Here(offsets), place: String::new() }
    }
}

fn check_version(found: &str, place: &str) -> Result<(), LakeError> {
    if [STATE_VERSION, STATE_VERSION_FILE].contains(&found) {
        return Ok(());
    }
    let text = format!(
        "found ingest state of version {found:?} in {place}, wanted at most {STATE_VERSION_FILE}: a newer rva wrote it"
    );
    Err(LakeError::new(LakeErrorKind::Permanent, text))
}

fn broken(place: &str, key: &str, found: &str) -> LakeError {
    let found: String = found.chars().take(80).collect();
    LakeError::new(
        LakeErrorKind::Permanent,
        format!("found {found:?} as {key} in {place}, wanted the state of a commit"),
    )
}
