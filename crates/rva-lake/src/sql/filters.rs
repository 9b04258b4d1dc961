//! Filters of a query as Iceberg predicates. They only prune: DataFusion filters again, so a filter that can't be
//! translated is left out.

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::logical_expr::expr::{Cast, TryCast};
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
use datafusion::scalar::ScalarValue;
use iceberg::expr::{Predicate, Reference};
use iceberg::spec::Datum;

/// The columns whose bounds or partition values prune files.
pub(super) const PRUNING: [&str; 5] = ["store_id", "camera_id", "pipeline_run_id", "frame_index", TIME];

/// Names the one of them that holds moments.
const TIME: &str = "ingest_ts";

fn column(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Column(column) => PRUNING.into_iter().find(|name| *name == column.name),
        // Microseconds as nanoseconds or under another zone are the same moments in the same order.
        Expr::Cast(Cast { expr, data_type: DataType::Timestamp(TimeUnit::Microsecond | TimeUnit::Nanosecond, _) })
        | Expr::TryCast(TryCast {
            expr,
            data_type: DataType::Timestamp(TimeUnit::Microsecond | TimeUnit::Nanosecond, _),
        }) => column(expr).filter(|name| *name == TIME),
        _ => None,
    }
}

/// Returns the name of a column of texts.
fn text_column(expr: &Expr) -> Option<&str> {
    column(expr).filter(|name| !["frame_index", TIME].contains(name))
}

/// Returns the microseconds of a moment, rounded up or down.
fn micros(value: &ScalarValue, round_up: bool) -> Option<i64> {
    match value {
        ScalarValue::TimestampSecond(Some(value), _) => value.checked_mul(1_000_000),
        ScalarValue::TimestampMillisecond(Some(value), _) => value.checked_mul(1000),
        ScalarValue::TimestampMicrosecond(Some(value), _) => Some(*value),
        ScalarValue::TimestampNanosecond(Some(value), _) => {
            let down = value.div_euclid(1000);
            Some(if round_up && value.rem_euclid(1000) > 0 { down + 1 } else { down })
        }
        _ => None,
    }
}

/// Translates a comparison of the time column. If a literal is finer than the column, the next wider moment prunes
/// less.
fn time_comparison(operator: Operator, value: &ScalarValue) -> Option<Predicate> {
    let reference = Reference::new(TIME);
    let datum = |round_up| micros(value, round_up).map(Datum::timestamptz_micros);
    Some(match operator {
        Operator::Eq => reference
            .greater_than_or_equal_to(datum(false)?)
            .and(Reference::new(TIME).less_than_or_equal_to(datum(true)?)),
        Operator::Lt | Operator::LtEq => reference.less_than_or_equal_to(datum(true)?),
        Operator::Gt | Operator::GtEq => reference.greater_than_or_equal_to(datum(false)?),
        _ => return None,
    })
}

/// Returns the beginning of every text that a pattern of LIKE matches.
fn prefix_of(pattern: &str, escape: Option<char>) -> &str {
    let end = pattern.find(|character| ['%', '_', '\\'].contains(&character) || Some(character) == escape);
    &pattern[..end.unwrap_or(pattern.len())]
}

fn starts_with(expr: &Expr, prefix: &str) -> Option<Predicate> {
    let name = text_column(expr)?;
    (!prefix.is_empty()).then(|| Reference::new(name).starts_with(Datum::string(prefix)))
}

fn text_of(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Literal(ScalarValue::Utf8(text) | ScalarValue::LargeUtf8(text) | ScalarValue::Utf8View(text), _) => {
            text.as_deref()
        }
        _ => None,
    }
}

/// Returns a literal of the column's own type.
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

fn comparison(name: &str, operator: Operator, value: &Expr) -> Option<Predicate> {
    if name == TIME {
        let Expr::Literal(value, _) = value else { return None };
        return time_comparison(operator, value);
    }
    let value = datum(name, value)?;
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

/// Returns the predicate of one filter, or `None` if it prunes nothing.
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
                comparison(name, *op, right)
            } else {
                let name = column(right)?;
                comparison(name, op.swap()?, left)
            }
        }
        Expr::Like(like) if !like.negated && !like.case_insensitive => {
            starts_with(&like.expr, prefix_of(text_of(&like.pattern)?, like.escape_char))
        }
        Expr::ScalarFunction(call) if call.name() == "starts_with" => match call.args.as_slice() {
            [text, prefix] => starts_with(text, text_of(prefix)?),
            _ => None,
        },
        Expr::InList(list) if !list.negated => {
            let name = column(&list.expr).filter(|name| *name != TIME)?;
            let values: Option<Vec<Datum>> = list.list.iter().map(|value| datum(name, value)).collect();
            Some(Reference::new(name).is_in(values?))
        }
        Expr::Between(between) if !between.negated => {
            let name = column(&between.expr)?;
            let low = comparison(name, Operator::GtEq, &between.low)?;
            Some(low.and(comparison(name, Operator::LtEq, &between.high)?))
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

    #[test]
    fn moments_prune_whatever_their_unit_and_never_too_much() {
        let of = |value: i64| Expr::Literal(ScalarValue::TimestampNanosecond(Some(value), None), None);
        let at = |micros: i64| Datum::timestamptz_micros(micros);
        let reference = || Reference::new(TIME);
        let found = |filter: Expr| predicate(&filter);
        assert_eq!(found(col(TIME).gt(of(1_500))), Some(reference().greater_than_or_equal_to(at(1))));
        assert_eq!(found(col(TIME).lt(of(1_500))), Some(reference().less_than_or_equal_to(at(2))));
        assert_eq!(found(of(-1_500).gt_eq(col(TIME))), Some(reference().less_than_or_equal_to(at(-1))));
        let both = reference().greater_than_or_equal_to(at(1)).and(reference().less_than_or_equal_to(at(2)));
        assert_eq!(found(col(TIME).between(of(1_000), of(2_000))), Some(both));
        assert_eq!(found(col(TIME).eq(lit("2026"))), None);
    }

    #[test]
    fn the_start_of_a_pattern_prunes() {
        let wanted = Some(Reference::new("camera_id").starts_with(Datum::string("door")));
        assert_eq!(predicate(&col("camera_id").like(lit("door%"))), wanted);
        assert_eq!(predicate(&col("camera_id").like(lit("door_x%"))), wanted);
        assert_eq!(
            predicate(&col("camera_id").like(lit("door\\_1%"))),
            wanted,
            "nothing behind an escape is relied on"
        );
        assert_eq!(predicate(&col("camera_id").like(lit("%door"))), None);
        assert_eq!(predicate(&col("camera_id").not_like(lit("door%"))), None);
        assert_eq!(predicate(&col("camera_id").ilike(lit("door%"))), None);
        assert_eq!(predicate(&col("payload").like(lit("door%"))), None);
    }
}
