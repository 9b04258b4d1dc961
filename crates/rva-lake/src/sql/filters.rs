//! Filters of a query as Iceberg predicates. They only prune: DataFusion filters again, so what can't be translated is
//! left out.

use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
use datafusion::scalar::ScalarValue;
use iceberg::expr::{Predicate, Reference};
use iceberg::spec::Datum;

/// Columns whose bounds or partition values prune files.
pub(super) const PRUNING: [&str; 4] = ["store_id", "camera_id", "pipeline_run_id", "frame_index"];

fn column(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Column(column) => PRUNING.into_iter().find(|name| *name == column.name),
        _ => None,
    }
}

/// A literal of the column's own type.
fn datum(column: &str, expr: &Expr) -> Option<Datum> {
    let Expr::Literal(value, _) = expr else { return None };
    let number = column == "frame_index";
    match value {
        ScalarValue::Utf8(Some(text)) | ScalarValue::LargeUtf8(Some(text)) | ScalarValue::Utf8View(Some(text)) => {
            (!number).then(|| Datum::string(text))
        }
        ScalarValue::Int64(Some(value)) => number.then(|| Datum::long(*value)),
        ScalarValue::Int32(Some(value)) => number.then(|| Datum::long(*value)),
        _ => None,
    }
}

fn comparison(name: &str, operator: Operator, value: Datum) -> Option<Predicate> {
    let reference = Reference::new(name);
    Some(match operator {
        Operator::Eq => reference.equal_to(value),
        Operator::Lt => reference.less_than(value),
        Operator::LtEq => reference.less_than_or_equal_to(value),
        Operator::Gt => reference.greater_than(value),
        Operator::GtEq => reference.greater_than_or_equal_to(value),
        _ => return None,
    })
}

/// The predicate of one filter, or `None` if it prunes nothing.
pub(super) fn predicate(filter: &Expr) -> Option<Predicate> {
    match filter {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => match (predicate(left), predicate(right)) {
            (Some(left), Some(right)) => Some(left.and(right)),
            (one, other) => one.or(other),
        },
        // Both sides must be translated: half of an alternative would prune rows of the other half.
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => Some(predicate(left)?.or(predicate(right)?)),
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            if let Some(name) = column(left) {
                comparison(name, *op, datum(name, right)?)
            } else {
                let name = column(right)?;
                comparison(name, op.swap()?, datum(name, left)?)
            }
        }
        Expr::InList(list) if !list.negated => {
            let name = column(&list.expr)?;
            let values: Option<Vec<Datum>> = list.list.iter().map(|value| datum(name, value)).collect();
            Some(Reference::new(name).is_in(values?))
        }
        Expr::Between(between) if !between.negated => {
            let name = column(&between.expr)?;
            let low = comparison(name, Operator::GtEq, datum(name, &between.low)?)?;
            Some(low.and(comparison(name, Operator::LtEq, datum(name, &between.high)?)?))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::prelude::{col, lit};

    fn text(filter: &Expr) -> Option<String> {
        predicate(filter).map(|predicate| predicate.to_string())
    }

    #[test]
    fn what_can_be_pruned_by_is_translated_and_the_rest_left_out() {
        let both = col("store_id").eq(lit("a")).and(col("payload").eq(lit("b")));
        assert_eq!(text(&both).as_deref(), Some("store_id = \"a\""));
        assert_eq!(text(&lit(5i64).lt(col("frame_index"))).as_deref(), Some("frame_index > 5"));
        let either = col("store_id").eq(lit("a")).or(col("payload").eq(lit("b")));
        assert_eq!(text(&either), None, "half of an alternative prunes nothing");
        assert_eq!(text(&col("frame_index").eq(lit("5"))), None, "a literal of another type is left to DataFusion");
        assert!(text(&col("camera_id").in_list(vec![lit("a"), lit("b")], false)).is_some());
        assert_eq!(text(&col("camera_id").in_list(vec![lit("a")], true)), None);
    }
}
