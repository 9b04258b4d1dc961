//! Housekeeping.

use crate::files::FileList;
use crate::options::{CommitStep, LakeOptions};
use crate::seam::LakeError;
use iceberg::Catalog;
use iceberg::table::Table;
use std::sync::Arc;

#[derive(Debug)]
pub(crate) struct Housekeeper {}

impl Housekeeper {
    pub(crate) fn new(_options: &LakeOptions) -> Self {
        Self {}
    }

    pub(crate) async fn after_commit(
        &mut self,
        _catalog: &Arc<dyn Catalog>,
        _table: &Table,
        _files: &mut FileList,
        options: &LakeOptions,
    ) -> Result<(), LakeError> {
        options.step(CommitStep::Housekeeping);
        Ok(())
    }
}
