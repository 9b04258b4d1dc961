//! The tables of the namespace as a schema of DataFusion: listed by name, each loaded when a query asks for it. A table
//! that can't be read stops only those who ask for it.

use super::provider::IcebergTable;
use super::travel::{AsOf, Moment};
use crate::definition::NAMESPACE;
use crate::errors::lake_error;
use crate::places::check_table;
use crate::seam::LakeError;
use crate::storage::AllowedLocations;
use datafusion::catalog::{SchemaProvider, TableProvider};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::TableType;
use iceberg::table::Table;
use iceberg::{Catalog, NamespaceIdent, TableIdent};
use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The tables of a namespace.
#[derive(Debug)]
pub(super) struct NamespaceTables {
    catalog: Arc<dyn Catalog>,
    allowed: AllowedLocations,
    tables: BTreeMap<String, TableIdent>,
    moment: Option<Moment>,
}

impl NamespaceTables {
    /// Lists the tables, as they are now or were at a moment.
    ///
    /// # Errors
    /// Fails as the catalog does; returns `Permanent` where no table has the snapshot that is asked for.
    pub(super) async fn of(
        catalog: Arc<dyn Catalog>,
        allowed: AllowedLocations,
        as_of: Option<AsOf>,
    ) -> std::result::Result<Self, LakeError> {
        let namespace = NamespaceIdent::new(NAMESPACE.to_owned());
        let failed = |error| lake_error(format_args!("list the tables of {NAMESPACE}"), error);
        let mut idents = Vec::new();
        if catalog.namespace_exists(&namespace).await.map_err(failed)? {
            idents = catalog.list_tables(&namespace).await.map_err(failed)?;
        }
        let moment = match as_of {
            None => None,
            Some(as_of) => Some(Moment::of(as_of, &readable(catalog.as_ref(), as_of, &idents).await)?),
        };
        let tables = idents.into_iter().map(|ident| (ident.name().to_owned(), ident)).collect();
        Ok(Self { catalog, allowed, tables, moment })
    }
}

/// Returns the tables that may have a snapshot. One that can't be read has none that anybody asks for.
async fn readable(catalog: &dyn Catalog, as_of: AsOf, idents: &[TableIdent]) -> Vec<Table> {
    let mut tables = Vec::new();
    if matches!(as_of, AsOf::Snapshot(_)) {
        for ident in idents {
            tables.extend(catalog.load_table(ident).await);
        }
    }
    tables
}

#[async_trait::async_trait]
impl SchemaProvider for NamespaceTables {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn table_names(&self) -> Vec<String> {
        self.tables.keys().cloned().collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let Some(ident) = self.tables.get(name) else { return Ok(None) };
        let external = |error: LakeError| DataFusionError::External(Box::new(error));
        let failed = |error| external(lake_error(format_args!("read table {ident}"), error));
        let table = self.catalog.load_table(ident).await.map_err(failed)?;
        check_table(ident, table.metadata(), &self.allowed).map_err(external)?;
        let table = match self.moment {
            Some(moment) => moment.of_table(table).map_err(external)?,
            None => table,
        };
        Ok(Some(Arc::new(IcebergTable::new(table).map_err(failed)?)))
    }

    async fn table_type(&self, name: &str) -> Result<Option<TableType>> {
        Ok(self.table_exist(name).then_some(TableType::Base))
    }

    fn table_exist(&self, name: &str) -> bool {
        self.tables.contains_key(name)
    }
}
