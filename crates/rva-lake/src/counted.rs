//! The number of files and rows that a table holds.

use iceberg::spec::ManifestFile;

/// The live data files of a table at a moment, and their rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub files: u64,
    pub rows: u64,
}

/// Returns the counts of a manifest's live files, where its list has them.
pub(crate) fn counts(file: &ManifestFile) -> Option<Seen> {
    let files = u64::from(file.added_files_count?) + u64::from(file.existing_files_count?);
    Some(Seen { files, rows: file.added_rows_count? + file.existing_rows_count? })
}

impl Seen {
    pub(crate) fn add(&mut self, other: Self) {
        self.files += other.files;
        self.rows += other.rows;
    }
}
