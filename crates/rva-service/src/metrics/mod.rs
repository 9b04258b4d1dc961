//! Counts of a service, at `/metrics` in the text format that Prometheus reads.
//!
//! Each crate declares its metrics once, in a const table of [`Metric`]s: name, type, labels, help, and how the values
//! are read off what the crate counts. The endpoint, the documents and the tests of both are made from that table.

mod histogram;
mod process;

pub use histogram::{Histogram, HistogramCounts};

pub(crate) use process::{disk, of_process};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

/// The number of values of its first label that a metric shows; the rest are added up under [`OTHER`].
pub(crate) const FIRST_LABELS_MAX: usize = 1_000;

/// The label's value that stands for those beyond [`FIRST_LABELS_MAX`].
pub(crate) const OTHER: &str = "other";

/// A row of a crate's table of metrics.
///
/// The name has the prefix `rva_`, and ends with its base unit where it has one (`_seconds`, `_bytes`). A counter's
/// stands without `_total`, which the format adds.
pub struct Metric<T: 'static> {
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
    values: Values<T>,
}

/// The values of a metric's labels, in the order of the table, and its value there.
#[derive(Debug, Clone, PartialEq)]
pub struct Series<V> {
    labels: Vec<String>,
    value: V,
}

impl<V> Series<V> {
    /// Returns the value where the labels have these values.
    pub fn of<const N: usize>(labels: [&str; N], value: V) -> Self {
        Self { labels: labels.map(str::to_owned).into(), value }
    }
}

/// The way in which the series of a metric are read, by its type.
enum Values<T: 'static> {
    Counter(fn(&T) -> Vec<Series<u64>>),
    Gauge(fn(&T) -> Vec<Series<i64>>),
    Histogram(fn(&T) -> Vec<Series<HistogramCounts>>),
    OneCounter(fn(&T) -> u64),
    OneGauge(fn(&T) -> i64),
    OneSum(fn(&T) -> f64),
}

impl<T> Metric<T> {
    /// Declares a count that never falls while the process lives.
    pub const fn counter(name: &'static str, help: &'static str, value: fn(&T) -> u64) -> Self {
        Self { name, labels: &[], help, values: Values::OneCounter(value) }
    }

    /// Declares a sum with fractions that never falls while the process lives: seconds.
    pub const fn sum(name: &'static str, help: &'static str, value: fn(&T) -> f64) -> Self {
        Self { name, labels: &[], help, values: Values::OneSum(value) }
    }

    /// Declares counts that are told apart by `labels`.
    pub const fn counter_by(
        name: &'static str,
        labels: &'static [&'static str],
        help: &'static str,
        series: fn(&T) -> Vec<Series<u64>>,
    ) -> Self {
        Self { name, labels, help, values: Values::Counter(series) }
    }

    /// Declares a value as it is now.
    pub const fn gauge(name: &'static str, help: &'static str, value: fn(&T) -> i64) -> Self {
        Self { name, labels: &[], help, values: Values::OneGauge(value) }
    }

    /// Declares values as they are now, told apart by `labels`.
    pub const fn gauge_by(
        name: &'static str,
        labels: &'static [&'static str],
        help: &'static str,
        series: fn(&T) -> Vec<Series<i64>>,
    ) -> Self {
        Self { name, labels, help, values: Values::Gauge(series) }
    }

    /// Declares values counted by their size, told apart by `labels` (none: one series without labels).
    pub const fn histogram_by(
        name: &'static str,
        labels: &'static [&'static str],
        help: &'static str,
        series: fn(&T) -> Vec<Series<HistogramCounts>>,
    ) -> Self {
        Self { name, labels, help, values: Values::Histogram(series) }
    }

    /// Returns the metric as the documents show it: the name that Prometheus shows, and the labels.
    fn documented(&self) -> String {
        let total = if matches!(self.kind(), MetricType::Counter) { "_total" } else { "" };
        let labels = if self.labels.is_empty() { String::new() } else { format!("{{{}}}", self.labels.join(",")) };
        format!("`{}{total}{labels}`", self.name)
    }

    const fn kind(&self) -> MetricType {
        match self.values {
            Values::Counter(_) | Values::OneCounter(_) | Values::OneSum(_) => MetricType::Counter,
            Values::Gauge(_) | Values::OneGauge(_) => MetricType::Gauge,
            Values::Histogram(_) => MetricType::Histogram,
        }
    }
}

/// Returns the wrong names of a table: those without the prefix, and those that a document doesn't have.
pub fn wrong_names<T>(table: &[Metric<T>], prefix: &str, document: &str) -> Vec<String> {
    let names = table.iter().map(Metric::documented);
    names.filter(|name| !name.starts_with(&format!("`{prefix}")) || !document.contains(name.as_str())).collect()
}

/// The latest counts, under the names of a table. Clones are the same.
pub struct Totals<T: 'static> {
    table: &'static [Metric<T>],
    latest: Arc<Mutex<T>>,
    /// Set once it was said that there are more values of a label than are shown.
    is_told: Arc<AtomicBool>,
}

impl<T: Default> Totals<T> {
    /// Makes counts in which nothing is counted yet.
    pub fn of(table: &'static [Metric<T>]) -> Self {
        Self { table, latest: Arc::default(), is_told: Arc::default() }
    }
}

impl<T> Totals<T> {
    /// Makes counts whose rows read their values off `counted` whenever somebody asks.
    pub fn reading(table: &'static [Metric<T>], counted: T) -> Self {
        Self { table, latest: Arc::new(Mutex::new(counted)), is_told: Arc::default() }
    }

    /// Returns the counts, to change them.
    pub fn latest(&self) -> MutexGuard<'_, T> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds up the series beyond the bound, and says so once.
    fn bounded<V: Clone>(&self, metric: &Metric<T>, series: Vec<Series<V>>, add: fn(&mut V, &V)) -> Vec<Series<V>> {
        let firsts: BTreeSet<_> = series.iter().filter_map(|series| series.labels.first()).collect();
        let Some(first_left_out) = firsts.iter().nth(FIRST_LABELS_MAX).map(|label| (*label).clone()) else {
            return series;
        };
        if !self.is_told.swap(true, Relaxed) {
            let label = metric.labels.first();
            tracing::warn!(metric = metric.name, label, "more than {FIRST_LABELS_MAX} values: the rest is `{OTHER}`");
        }
        // One that is called so itself is among the others.
        let is_shown = |label: &String| *label < first_left_out && label != OTHER;
        let (mut shown, rest): (Vec<_>, Vec<_>) =
            series.into_iter().partition(|series| series.labels.first().is_some_and(is_shown));
        let mut others: BTreeMap<Vec<String>, V> = BTreeMap::new();
        for Series { mut labels, value } in rest {
            OTHER.clone_into(&mut labels[0]);
            match others.get_mut(&labels) {
                Some(sum) => add(sum, &value),
                None => drop(others.insert(labels, value)),
            }
        }
        shown.extend(others.into_iter().map(|(labels, value)| Series { labels, value }));
        shown
    }
}

impl<T> Clone for Totals<T> {
    fn clone(&self) -> Self {
        Self { table: self.table, latest: Arc::clone(&self.latest), is_told: Arc::clone(&self.is_told) }
    }
}

impl<T> fmt::Debug for Totals<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.table.iter().map(|metric| metric.name)).finish()
    }
}

impl<T: Send> Collector for Totals<T> {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let latest = self.latest();
        for metric in self.table {
            let into = encoder.encode_descriptor(metric.name, metric.help, None, metric.kind())?;
            match metric.values {
                Values::OneCounter(value) => ConstCounter::new(value(&latest)).encode(into)?,
                Values::OneGauge(value) => ConstGauge::new(value(&latest)).encode(into)?,
                Values::OneSum(value) => ConstCounter::new(value(&latest)).encode(into)?,
                Values::Counter(series) => {
                    let series = self.bounded(metric, series(&latest), |sum, value| *sum += value);
                    each(metric.labels, series, into, |value, into| ConstCounter::new(*value).encode(into))?;
                }
                Values::Gauge(series) => {
                    let series = self.bounded(metric, series(&latest), |sum, value| *sum += value);
                    each(metric.labels, series, into, |value, into| ConstGauge::new(*value).encode(into))?;
                }
                Values::Histogram(series) => {
                    let series = self.bounded(metric, series(&latest), HistogramCounts::add);
                    each(metric.labels, series, into, |value, mut into| {
                        into.encode_histogram::<NoLabelSet>(value.sum, value.count(), &value.buckets, None)
                    })?;
                }
            }
        }
        Ok(())
    }
}

/// Writes each series with its labels.
fn each<V>(
    names: &[&'static str],
    series: Vec<Series<V>>,
    mut into: MetricEncoder<'_>,
    write: impl Fn(&V, MetricEncoder<'_>) -> fmt::Result,
) -> fmt::Result {
    if names.is_empty() {
        return series.first().map_or(Ok(()), |series| write(&series.value, into));
    }
    for Series { labels, value } in series {
        debug_assert_eq!(names.len(), labels.len(), "wanted a value for each of {names:?}");
        let labels: Vec<_> = names.iter().copied().zip(labels.iter().map(String::as_str)).collect();
        write(&value, into.encode_family(&labels)?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
