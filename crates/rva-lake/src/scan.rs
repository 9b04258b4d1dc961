//! Rows of a table by shop, camera and time.
//!
//! The crate plans a read by all manifests of the table, which it forgets with each table that it loads, and looks at
//! each of their entries in a task of its own: a job that reads a few files of thousands, many times a minute, would do
//! little else. Here the list of files is kept from one read to the next, and follows the table's snapshots. Tables of
//! which another engine deleted single rows, or whose files have no ids of columns, are left to the crate.

use crate::cells::{CellKind, Cells, rows_of};
use crate::errors::lake_error;
use crate::files::FileEntry;
use crate::lists::RowFilter;
use crate::seam::LakeError;
use crate::view::{Columns, TableView};
use async_recursion::async_recursion as boxed;
use futures::TryStreamExt;
use iceberg::Runtime;
use iceberg::arrow::ArrowReaderBuilder;
use iceberg::expr::{Bind, Predicate};
use iceberg::scan::{ArrowRecordBatchStream, FileScanTask};
use iceberg::spec::DataFileFormat;
use iceberg::table::Table;
use std::sync::Arc;

/// The property of a table with names for the columns of files that have no ids.
const NAME_MAPPING: &str = "schema.name-mapping.default";

impl TableView {
    /// Returns the rows of the table that a filter lets through, as they are read: rows that another engine deleted
    /// aren't there.
    ///
    /// # Errors
    /// Fails as the storage does.
    pub async fn scan(
        &self,
        columns: &'static Columns,
        filter: &RowFilter,
    ) -> Result<impl futures::Stream<Item = Result<Vec<Cells>, LakeError>> + Send + use<>, LakeError> {
        let ident = self.table.identifier().clone();
        let failed = move |error| lake_error(format_args!("read {ident}"), error);
        let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
        let kinds: Vec<CellKind> = columns.iter().map(|(_, kind)| *kind).collect();
        let files = self.lists.holding(&self.table, filter).await?;
        let stream = match files.map(|files| read(&self.table, &files, &names, filter)) {
            Some(read) => read.map_err(&failed)?,
            None => None,
        };
        let stream = match stream {
            Some(stream) => stream,
            None => {
                let scan = self.table.scan().select(names).with_filter(filter.predicate()).build().map_err(&failed)?;
                scan.to_arrow().await.map_err(&failed)?
            }
        };
        Ok(stream.map_err(failed).and_then(move |batch| std::future::ready(rows_of(&kinds, &batch))))
    }

    /// Returns all rows at once, where they are known to be few.
    ///
    /// # Errors
    /// Fails as [`TableView::scan`] does.
    #[boxed]
    pub async fn rows(&self, columns: &'static Columns, filter: &RowFilter) -> Result<Vec<Cells>, LakeError> {
        let mut rows = Vec::new();
        let mut stream = std::pin::pin!(self.scan(columns, filter).await?);
        while let Some(some) = stream.try_next().await? {
            rows.extend(some);
        }
        Ok(rows)
    }
}

/// Reads columns of some files of a table, as the crate's scan does; `None` where the table isn't as simple as ours.
fn read(
    table: &Table,
    files: &[Arc<FileEntry>],
    names: &[&str],
    filter: &RowFilter,
) -> iceberg::Result<Option<ArrowRecordBatchStream>> {
    let metadata = table.metadata();
    let Some(snapshot) = metadata.current_snapshot() else {
        return Ok(Some(Box::pin(futures::stream::empty())));
    };
    let schema = snapshot.schema(metadata)?;
    let ids: Option<Vec<i32>> = names.iter().map(|name| schema.field_id_by_name(name)).collect();
    let Some(ids) = ids.filter(|_| !metadata.properties().contains_key(NAME_MAPPING)) else { return Ok(None) };
    let predicate = match filter.predicate() {
        Predicate::AlwaysTrue => None,
        predicate => Some(predicate.bind(Arc::clone(&schema), true)?),
    };
    let tasks: Vec<_> = files
        .iter()
        .map(|file| {
            let task = FileScanTask::builder()
                .with_file_size_in_bytes(file.size)
                .with_start(0)
                .with_length(file.size)
                .with_data_file_path(file.path.to_string())
                .with_data_file_format(DataFileFormat::Parquet)
                .with_schema(Arc::clone(&schema))
                .with_project_field_ids(ids.clone())
                .with_predicate(predicate.clone())
                .with_case_sensitive(true);
            Ok(task.build())
        })
        .collect();
    let reader = ArrowReaderBuilder::new(table.file_io().clone(), Runtime::current())
        .with_row_group_filtering_enabled(true)
        .build();
    Ok(Some(reader.read(Box::pin(futures::stream::iter(tasks)))?.stream()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cells::{Cell, Shape};
    use crate::lake::Lake;
    use crate::lists::FileLists;
    use crate::medallion::{CameraMinute, SilverFrames};
    use crate::options::LakeOptions;
    use crate::small::{add_rows, avro_files, replace, row};
    use std::collections::BTreeSet;

    /// Adds frames of a camera, from a second on.
    async fn add(lake: &Lake, store: &str, camera: &str, run: &str, from: i64) {
        let rows = (from..from + 3).map(|second| {
            row::<SilverFrames>(|column| match column {
                "store_id" => Some(Cell::Text(store.into())),
                "camera_id" => Some(Cell::Text(camera.into())),
                "pipeline_run_id" => Some(Cell::Text(run.into())),
                "frame_index" => Some(Cell::Long(second)),
                "capture_ts" => Some(Cell::Time(second * 1_000_000)),
                _ => None,
            })
        });
        add_rows::<SilverFrames>(lake, rows.collect()).await;
    }

    async fn shop() -> (tempfile::TempDir, Lake) {
        let folder = tempfile::tempdir().unwrap();
        let lake = Lake::open_embedded(folder.path(), LakeOptions::default()).await.unwrap();
        for (at, store) in ["a", "b"].into_iter().enumerate() {
            for camera in ["door", "till", "yard"] {
                add(&lake, store, camera, "run-1", 10 * at as i64).await;
                add(&lake, store, camera, "run-2", 10 * at as i64 + 100).await;
            }
        }
        (folder, lake)
    }

    fn filters() -> Vec<RowFilter> {
        let text = |text: &str| text.to_owned();
        let cameras = |names: &[&str]| Some(("camera_id", names.iter().map(|name| text(name)).collect()));
        let mut filters = Vec::new();
        for texts in [vec![], vec![("store_id", text("b"))], vec![("store_id", text("c"))]] {
            for time in [None, Some((0, 12)), Some((2, 3)), Some((3, 10)), Some((102, 200)), Some((5, 5))] {
                for one_of in [None, cameras(&[]), cameras(&["yard", "door"]), cameras(&["e"])] {
                    let time = time.map(|(from, to)| ("capture_ts", from * 1_000_000, to * 1_000_000));
                    filters.push(RowFilter { texts: texts.clone(), time, one_of });
                }
            }
        }
        filters
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn each_filter_reads_no_file_that_the_crate_would_not_and_gives_the_same_rows() {
        let (_folder, lake) = shop().await;
        let view = lake.view(SilverFrames::TABLE).await.unwrap().unwrap();
        let mut read_some = 0;
        for filter in filters() {
            let scan = view.table.scan().select(["frame_index"]).with_filter(filter.predicate()).build().unwrap();
            let planned: Vec<FileScanTask> = scan.plan_files().await.unwrap().try_collect().await.unwrap();
            let planned: BTreeSet<String> = planned.into_iter().map(|task| task.data_file_path).collect();
            let held = view.lists.holding(&view.table, &filter).await.unwrap().unwrap();
            let held: BTreeSet<String> = held.iter().map(|file| file.path.to_string()).collect();
            // The crate asks of several texts only whether they reach into a file's bounds together.
            assert!(held.is_subset(&planned), "{filter:?}: {held:?}, {planned:?}");
            if filter.one_of.is_none() {
                assert_eq!(held, planned, "{filter:?}");
            }
            let rows = view.rows(SilverFrames::COLUMNS, &filter).await.unwrap();
            let wanted: Vec<RecordRows> = scan.to_arrow().await.unwrap().try_collect().await.unwrap();
            assert_eq!(rows.len(), wanted.iter().map(RecordRows::num_rows).sum::<usize>(), "{filter:?}");
            assert!(rows.iter().all(|row| lets_through(&filter, row)), "{filter:?}");
            read_some += usize::from(!rows.is_empty());
        }
        assert!(read_some > 10, "{read_some}");
    }

    type RecordRows = arrow::record_batch::RecordBatch;

    /// Returns whether a row of frames passes a filter, by its words.
    fn lets_through(filter: &RowFilter, row: &Cells) -> bool {
        let at = |name: &str| SilverFrames::COLUMNS.iter().position(|(column, _)| *column == name).unwrap();
        let text = |name: &str| row[at(name)].text().unwrap().to_string();
        filter.texts.iter().all(|(name, wanted)| text(name) == *wanted)
            && filter.one_of.as_ref().is_none_or(|(name, wanted)| wanted.contains(&text(name)))
            && filter.time.is_none_or(|(name, from, to)| {
                let found = row[at(name)].whole().unwrap();
                from <= found && found < to
            })
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_was_read_once_is_not_read_again_and_what_changed_is_seen() {
        let (folder, lake) = shop().await;
        let rows = async |lake: &Lake| {
            let view = lake.view(SilverFrames::TABLE).await.unwrap().unwrap();
            view.rows(SilverFrames::COLUMNS, &RowFilter::default()).await
        };
        assert_eq!(rows(&lake).await.unwrap().len(), 36);
        let before = avro_files(folder.path());
        add(&lake, "a", "door", "run-3", 200).await;
        before.iter().for_each(|path| std::fs::write(path, "spoilt").unwrap());
        assert_eq!(rows(&lake).await.unwrap().len(), 39);
        rows(&Lake { lists: FileLists::default(), ..lake.clone() }).await.unwrap_err();
        // What goes is gone.
        add_rows::<CameraMinute>(&lake, vec![row::<CameraMinute>(|_| None)]).await;
        let minutes = lake.view(CameraMinute::TABLE).await.unwrap().unwrap();
        assert_eq!(minutes.rows(CameraMinute::COLUMNS, &RowFilter::default()).await.unwrap().len(), 1);
        replace::<CameraMinute>(&lake, 2).await;
        // The older view still gives what was there then.
        assert_eq!(minutes.rows(CameraMinute::COLUMNS, &RowFilter::default()).await.unwrap().len(), 1);
        let now = lake.view(CameraMinute::TABLE).await.unwrap().unwrap();
        assert_eq!(now.rows(CameraMinute::COLUMNS, &RowFilter::default()).await.unwrap().len(), 1);
    }
}
