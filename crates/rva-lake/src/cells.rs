//! Rows as cells: the tables that are worked out of bronze are many and alike, so their rows have one form.

use crate::errors::permanent;
use crate::rows::TableRow;
use crate::seam::LakeError;
use arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, Int32Array, Int64Array, StringArray, TimestampMicrosecondArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use iceberg::spec::{PrimitiveType, Transform, Type};
use std::marker::PhantomData;
use std::sync::Arc;

/// One value of a row.
#[derive(Debug, Clone, PartialEq, PartialOrd)]
pub enum Cell {
    /// No value.
    Null,
    /// A text.
    Text(Arc<str>),
    /// A whole number of 64 bits.
    Long(i64),
    /// A whole number of 32 bits.
    Int(i32),
    /// A number.
    Double(f64),
    /// A moment, in microseconds since 1970, UTC.
    Time(i64),
}

impl Cell {
    /// Returns the text, if it is one.
    pub fn text(&self) -> Option<&Arc<str>> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Returns the whole number or the microseconds, if it is one.
    pub fn whole(&self) -> Option<i64> {
        match self {
            Self::Long(number) | Self::Time(number) => Some(*number),
            Self::Int(number) => Some(i64::from(*number)),
            _ => None,
        }
    }

    /// Returns the number, if it is one.
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Double(number) => Some(*number),
            _ => None,
        }
    }
}

/// A row: its values in the order of the table's columns.
pub type Cells = Vec<Cell>;

/// The kind of values in a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CellKind {
    /// Holds [`Cell::Text`].
    Text,
    /// Holds [`Cell::Long`].
    Long,
    /// Holds [`Cell::Int`].
    Int,
    /// Holds [`Cell::Double`].
    Double,
    /// Holds [`Cell::Time`].
    Time,
}

impl CellKind {
    fn of_iceberg(self) -> Type {
        Type::Primitive(match self {
            Self::Text => PrimitiveType::String,
            Self::Long => PrimitiveType::Long,
            Self::Int => PrimitiveType::Int,
            Self::Double => PrimitiveType::Double,
            Self::Time => PrimitiveType::Timestamptz,
        })
    }

    fn of_arrow(self) -> DataType {
        match self {
            Self::Text => DataType::Utf8,
            Self::Long => DataType::Int64,
            Self::Int => DataType::Int32,
            Self::Double => DataType::Float64,
            Self::Time => DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into())),
        }
    }
}

/// A table whose rows are [`Cells`].
pub trait Shape: Send + Sync + 'static {
    /// The table's name in namespace `rva`.
    const TABLE: &'static str;
    /// The names and kinds of the columns, in order.
    const COLUMNS: &'static [(&'static str, CellKind)];
    /// The fields of the partition.
    const PARTITION: &'static [(&'static str, Transform)];
    /// The columns by which rows are replaced: the shop, and the time where there is one.
    const SPAN: &'static [&'static str];
    /// A column of texts with a bloom filter.
    const BLOOM: &'static str;
    /// The columns that the rows of a file are sorted by once small files are merged.
    const SORTED_BY: &'static [&'static str];
    /// Whether the job replaces rows that it wrote before.
    const REPLACES: bool = true;
}

/// Returns the place of a column.
pub(crate) fn place_of<T: Shape>(name: &str) -> Option<usize> {
    T::COLUMNS.iter().position(|(column, _)| *column == name)
}

/// A row of one table.
pub(crate) struct ShapedRow<T>(pub Cells, pub PhantomData<fn() -> T>);

fn column_of(kind: CellKind, cells: Vec<&Cell>) -> ArrayRef {
    let longs = || cells.iter().map(|cell| cell.whole());
    match kind {
        CellKind::Text => Arc::new(cells.iter().map(|cell| cell.text().map(AsRef::as_ref)).collect::<StringArray>()),
        CellKind::Long => Arc::new(longs().collect::<Int64Array>()),
        CellKind::Int => {
            Arc::new(longs().map(|number| number.and_then(|n| i32::try_from(n).ok())).collect::<Int32Array>())
        }
        CellKind::Double => Arc::new(cells.iter().map(|cell| cell.number()).collect::<Float64Array>()),
        CellKind::Time => Arc::new(longs().collect::<TimestampMicrosecondArray>().with_timezone("+00:00")),
    }
}

impl<T: Shape> TableRow for ShapedRow<T> {
    const TABLE: &'static str = T::TABLE;
    const PARTITION: &'static [(&'static str, Transform)] = T::PARTITION;
    const PLAIN: &'static [&'static str] = &[];
    const BLOOM: &'static str = T::BLOOM;
    const SORTED_BY: &'static [&'static str] = T::SORTED_BY;
    const REPLACES: bool = T::REPLACES;

    fn columns() -> Vec<(&'static str, Type)> {
        T::COLUMNS.iter().map(|(name, kind)| (*name, kind.of_iceberg())).collect()
    }

    fn size_bytes(&self) -> usize {
        let texts: usize = self.0.iter().filter_map(Cell::text).map(|text| text.len()).sum();
        self.0.len() * size_of::<Cell>() + texts
    }

    fn bloom(&self) -> &str {
        place_of::<T>(T::BLOOM).and_then(|at| self.0.get(at)?.text()).map_or("", |text| text)
    }

    fn column(name: &str, _kind: &DataType, rows: &[&Self]) -> Result<Option<ArrayRef>, ArrowError> {
        let Some(at) = place_of::<T>(name) else { return Ok(None) };
        let cells = rows.iter().map(|row| row.0.get(at).unwrap_or(&Cell::Null)).collect();
        Ok(Some(column_of(T::COLUMNS[at].1, cells)))
    }
}

/// A memory that holds texts once which come again.
#[derive(Default)]
struct Texts(Option<Arc<str>>);

impl Texts {
    fn share(&mut self, text: &str) -> Arc<str> {
        match &self.0 {
            Some(last) if **last == *text => Arc::clone(last),
            _ => {
                let new: Arc<str> = Arc::from(text);
                self.0 = Some(Arc::clone(&new));
                new
            }
        }
    }
}

fn cells_of(kind: CellKind, column: &ArrayRef) -> Result<Vec<Cell>, LakeError> {
    let cast = cast(column, &kind.of_arrow()).map_err(|error| permanent("read a column", error))?;
    let mut texts = Texts::default();
    let mut one = |at: usize| match kind {
        CellKind::Text => Cell::Text(texts.share(cast.as_string::<i32>().value(at))),
        CellKind::Long => Cell::Long(cast.as_primitive::<Int64Type>().value(at)),
        CellKind::Int => Cell::Int(cast.as_primitive::<Int32Type>().value(at)),
        CellKind::Double => Cell::Double(cast.as_primitive::<Float64Type>().value(at)),
        CellKind::Time => Cell::Time(cast.as_primitive::<TimestampMicrosecondType>().value(at)),
    };
    Ok((0..cast.len()).map(|at| if cast.is_null(at) { Cell::Null } else { one(at) }).collect())
}

/// Returns the rows of a batch whose columns are these kinds, in order.
pub(crate) fn rows_of(kinds: &[CellKind], batch: &RecordBatch) -> Result<Vec<Cells>, LakeError> {
    let columns = kinds.iter().zip(batch.columns()).map(|(kind, column)| cells_of(*kind, column));
    let mut columns: Vec<_> = columns.map(|cells| cells.map(Vec::into_iter)).collect::<Result<_, LakeError>>()?;
    Ok((0..batch.num_rows())
        .map(|_| columns.iter_mut().map(|column| column.next().unwrap_or(Cell::Null)).collect())
        .collect())
}
