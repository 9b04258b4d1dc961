//! The way from a query's text to a plan that only reads.

use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::{SQLOptions, SessionContext};
use datafusion::sql::parser::{DFParser, Statement};
use datafusion::sql::sqlparser::dialect::{GenericDialect, PostgreSqlDialect};

/// Reads a text as PostgreSQL does, to which `payload->'source'` is an operator, and one that binds stronger than `=`.
/// A text that PostgreSQL doesn't know (`SELECT * EXCLUDE (payload)`) is read as DataFusion's own dialect, whose
/// message stands in the error.
fn parse(query: &str) -> Result<Statement> {
    let statements = match DFParser::parse_sql_with_dialect(query, &PostgreSqlDialect {}) {
        Ok(statements) => statements,
        Err(_) => DFParser::parse_sql_with_dialect(query, &GenericDialect {})?,
    };
    let found = statements.len();
    let mut statements = statements.into_iter();
    match (statements.next(), found) {
        (Some(statement), 1) => Ok(statement),
        _ => Err(DataFusionError::Plan(format!("found {found} statements, wanted one"))),
    }
}

/// Plans a query; nothing that writes or sets something becomes a plan.
pub(super) async fn plan(context: &SessionContext, query: &str) -> Result<LogicalPlan> {
    let read_only = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    let plan = context.state().statement_to_plan(parse(query)?).await?;
    read_only.verify_plan(&plan)?;
    Ok(plan)
}
