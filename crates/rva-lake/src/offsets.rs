//! The map of offsets as a commit stores it: in the snapshot's summary while it is small, else in a file beside the
//! metadata that the summary names.
//!
//! Every snapshot's summary stands in every metadata.json, so a map of many cameras would be written hundreds of times
//! over at each commit. The mirror property, of which there is one, always holds the whole map: the file of the newest
//! commit is read by nobody. One of an older commit is needed once the table was rolled back to it.

use crate::errors::{lake_error, permanent};
use crate::seam::{LakeError, LakeErrorKind};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use iceberg::table::Table;
use rva_types::OffsetMap;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::io::Read;

/// The ending of the name of every such file.
pub(crate) const OFFSETS_ENDING: &str = ".offsets.zst";

/// The beginning of a map in the mirror that is compressed.
const COMPRESSED: &str = "zstd:";

/// The level of zstd, at which names and positions shrink to a fifth.
const ZSTD_LEVEL: i32 = 3;

/// The most bytes that a stored map may unpack to: a million cameras.
const MAP_BYTES_MAX: u64 = 256 << 20;

/// A map in a file of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OffsetsFile {
    /// The file's location.
    pub file: String,
    /// The SHA-256 of the map as JSON.
    pub sha256: String,
    /// The number of its partitions.
    pub partitions: usize,
}

/// A map as a snapshot's summary has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StoredOffsets {
    Here(OffsetMap),
    InFile(OffsetsFile),
}

/// A map as it is about to be stored.
pub(crate) struct Stowed {
    /// The text for the summary.
    pub summary: String,
    /// The text for the mirror.
    pub mirror: String,
    /// The file that must be written before the commit, and its location.
    pub file: Option<(String, Bytes)>,
}

fn digest(json: &str) -> String {
    Sha256::digest(json.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unpacked(packed: &[u8], place: &str) -> Result<String, LakeError> {
    let mut json = String::new();
    let read = zstd::stream::read::Decoder::new(packed)
        .and_then(|decoder| decoder.take(MAP_BYTES_MAX).read_to_string(&mut json));
    read.map_err(|error| permanent(format_args!("read the offsets in {place}"), error))?;
    Ok(json)
}

fn map_of(json: &str, place: &str) -> Result<OffsetMap, LakeError> {
    OffsetMap::from_json(json).map_err(|error| permanent(format_args!("read the offsets in {place}"), error))
}

/// Returns the map for a commit: whole in the summary if it has at most `inline_max` bytes, else in a file under
/// `folder` whose name is the commit's and the content's, so that no attempt writes over what another one has named.
pub(crate) fn stow(map: &OffsetMap, commit: &str, folder: &str, inline_max: usize) -> Result<Stowed, LakeError> {
    let json = map.to_json();
    if json.len() <= inline_max {
        return Ok(Stowed { summary: json.clone(), mirror: json, file: None });
    }
    let packed = zstd::bulk::compress(json.as_bytes(), ZSTD_LEVEL)
        .map_err(|error| permanent("compress the map of offsets", error))?;
    let sha256 = digest(&json);
    let start = sha256.get(..16).unwrap_or(&sha256);
    let file = format!("{}/{commit}-{start}{OFFSETS_ENDING}", folder.trim_end_matches('/'));
    let named = OffsetsFile { file: file.clone(), sha256, partitions: map.iter().count() };
    Ok(Stowed {
        summary: serde_json::to_string(&named).map_err(|error| permanent("name the map of offsets", error))?,
        mirror: format!("{COMPRESSED}{}", STANDARD.encode(&packed)),
        file: Some((file, packed.into())),
    })
}

/// Reads the map of a summary, or the file that it names.
pub(crate) fn of_summary(text: &str, place: &str) -> Result<StoredOffsets, LakeError> {
    match serde_json::from_str::<OffsetsFile>(text) {
        Ok(file) => Ok(StoredOffsets::InFile(file)),
        Err(_) => map_of(text, place).map(StoredOffsets::Here),
    }
}

/// Reads the map of a mirror.
pub(crate) fn of_mirror(text: &str) -> Result<OffsetMap, LakeError> {
    let place = "the table's mirror property";
    let Some(packed) = text.strip_prefix(COMPRESSED) else { return map_of(text, place) };
    let packed =
        STANDARD.decode(packed).map_err(|error| permanent(format_args!("read the offsets in {place}"), error))?;
    map_of(&unpacked(&packed, place)?, place)
}

impl OffsetsFile {
    /// Returns whether a map is the one that it holds.
    pub(crate) fn is_of(&self, map: &OffsetMap) -> bool {
        digest(&map.to_json()) == self.sha256
    }

    /// Reads the map.
    ///
    /// # Errors
    /// Returns `Permanent` where it isn't there, or isn't what was written: starting without it would read the log from
    /// its oldest record. Else it fails as the storage does.
    pub(crate) async fn read(&self, table: &Table, place: &str) -> Result<OffsetMap, LakeError> {
        let file = &self.file;
        let failed = |error| lake_error(format_args!("read the offsets of {place}, {file}"), error);
        let lost = |found: &str| {
            let text = format!(
                "found {found} at {file}, wanted the offsets of {} partitions that {place} of {} was committed with: \
                 restore that file from a copy, or bring the table back to its newest snapshot, whose offsets are in \
                 the table itself",
                self.partitions,
                table.identifier()
            );
            LakeError::new(LakeErrorKind::Permanent, text)
        };
        let input = table.file_io().new_input(file).map_err(failed)?;
        if !input.exists().await.map_err(failed)? {
            return Err(lost("nothing"));
        }
        let packed = input.read().await.map_err(failed)?;
        let json = unpacked(&packed, file).map_err(|_| lost("other bytes"))?;
        if digest(&json) != self.sha256 {
            return Err(lost("another map"));
        }
        map_of(&json, file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rva_types::Position;

    fn map(cameras: u64) -> OffsetMap {
        let mut map = OffsetMap::new();
        for number in 0..cameras {
            map.advance(format!("store_{:03}_cam_{number:05}", number % 300), Position::of_record(1000 + number * 7));
        }
        map
    }

    #[test]
    fn a_summary_is_small_however_many_cameras_there_are_and_the_mirror_has_them_all() {
        for (cameras, mirror_max) in [(10, 1024), (450, 6_000), (20_000, 250_000)] {
            let map = map(cameras);
            let stowed = stow(&map, "0190a0b0-0000-7000-8000-000000000000", "s3://warehouse/rva/t/metadata", 1024);
            let stowed = stowed.unwrap_or_else(|error| panic!("{error}"));
            assert!(stowed.summary.len() <= 1024, "{cameras}: {}", stowed.summary.len());
            assert!(stowed.mirror.len() <= mirror_max, "{cameras}: {}", stowed.mirror.len());
            assert_eq!(of_mirror(&stowed.mirror).ok().as_ref(), Some(&map));
            match of_summary(&stowed.summary, "x") {
                Ok(StoredOffsets::Here(found)) => assert_eq!(found, map),
                Ok(StoredOffsets::InFile(file)) => assert!(file.is_of(&map) && file.partitions as u64 == cameras),
                Err(error) => panic!("{error}"),
            }
            println!(
                "{cameras} cameras: {} json, {} summary, {} mirror",
                map.to_json().len(),
                stowed.summary.len(),
                stowed.mirror.len()
            );
        }
    }

    #[test]
    fn a_camera_may_have_any_name() {
        let mut map = OffsetMap::new();
        for name in ["file", "sha256", "partitions", "zstd:"] {
            map.advance(name, Position::of_record(1));
        }
        assert_eq!(of_summary(&map.to_json(), "x").ok(), Some(StoredOffsets::Here(map)));
    }

    #[test]
    fn what_is_no_map_is_an_error() {
        for text in ["", "zstd:", "zstd:!", "zstd:AAAA", "[]"] {
            assert!(of_mirror(text).is_err(), "{text}");
        }
        assert!(of_summary("{\"file\":1}", "x").is_err());
    }
}
