//! What a service counts, at `/metrics` in the text format that Prometheus reads.

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};
use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// A row of a crate's table of metrics: its name (with the prefix `rva_` and in base units; a counter's without
/// `_total`, which the format adds), what is counted in a few words, and how its value is read off what the crate
/// counts.
pub struct Metric<T: 'static> {
    name: &'static str,
    help: &'static str,
    values: Values<T>,
}

/// Where the values of a metric are; those of several things with the label that tells them apart.
enum Values<T: 'static> {
    Counter(fn(&T) -> u64),
    CounterBy(&'static str, fn(&T) -> Vec<(String, u64)>),
    Gauge(fn(&T) -> i64),
    GaugeBy(&'static str, fn(&T) -> Vec<(String, i64)>),
}

impl<T> Metric<T> {
    /// What never falls while the process lives.
    pub const fn counter(name: &'static str, help: &'static str, value: fn(&T) -> u64) -> Self {
        Self { name, help, values: Values::Counter(value) }
    }

    /// The same of several things, told apart by the value of `label`.
    pub const fn counter_by(
        name: &'static str,
        label: &'static str,
        help: &'static str,
        values: fn(&T) -> Vec<(String, u64)>,
    ) -> Self {
        Self { name, help, values: Values::CounterBy(label, values) }
    }

    /// A value as it is now.
    pub const fn gauge(name: &'static str, help: &'static str, value: fn(&T) -> i64) -> Self {
        Self { name, help, values: Values::Gauge(value) }
    }

    /// The same of several things, told apart by the value of `label`.
    pub const fn gauge_by(
        name: &'static str,
        label: &'static str,
        help: &'static str,
        values: fn(&T) -> Vec<(String, i64)>,
    ) -> Self {
        Self { name, help, values: Values::GaugeBy(label, values) }
    }

    /// As it stands in the documents: the name that Prometheus shows, and the label.
    fn documented(&self) -> String {
        let name = self.name;
        match self.values {
            Values::Counter(_) => format!("`{name}_total`"),
            Values::CounterBy(label, _) => format!("`{name}_total{{{label}}}`"),
            Values::Gauge(_) => format!("`{name}`"),
            Values::GaugeBy(label, _) => format!("`{name}{{{label}}}`"),
        }
    }
}

/// What is wrong with the names of a table: those without the prefix, and those that a document doesn't have.
pub fn wrong_names<T>(table: &[Metric<T>], prefix: &str, document: &str) -> Vec<String> {
    let names = table.iter().map(Metric::documented);
    names.filter(|name| !name.starts_with(&format!("`{prefix}")) || !document.contains(name.as_str())).collect()
}

/// The latest of what is counted, under the names of a table. Clones are the same.
pub struct Totals<T: 'static> {
    table: &'static [Metric<T>],
    latest: Arc<Mutex<T>>,
}

impl<T: Default> Totals<T> {
    /// Nothing counted.
    pub fn of(table: &'static [Metric<T>]) -> Self {
        Self { table, latest: Arc::default() }
    }
}

impl<T> Totals<T> {
    /// What is counted, to change it.
    pub fn latest(&self) -> MutexGuard<'_, T> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Clone for Totals<T> {
    fn clone(&self) -> Self {
        Self { table: self.table, latest: Arc::clone(&self.latest) }
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
        for Metric { name, help, values } in self.table {
            let kind = match values {
                Values::Counter(_) | Values::CounterBy(..) => MetricType::Counter,
                Values::Gauge(_) | Values::GaugeBy(..) => MetricType::Gauge,
            };
            let mut metric = encoder.encode_descriptor(name, help, None, kind)?;
            match values {
                Values::Counter(value) => ConstCounter::new(value(&latest)).encode(metric)?,
                Values::CounterBy(label, values) => {
                    for (of, value) in values(&latest) {
                        ConstCounter::new(value).encode(metric.encode_family(&[(*label, of.as_str())])?)?;
                    }
                }
                Values::GaugeBy(label, values) => {
                    for (of, value) in values(&latest) {
                        ConstGauge::new(value).encode(metric.encode_family(&[(*label, of.as_str())])?)?;
                    }
                }
                Values::Gauge(value) => ConstGauge::new(value(&latest)).encode(metric)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus_client::{encoding::text, registry::Registry};

    #[derive(Default)]
    struct Counted {
        apples: u64,
        pears: u64,
    }

    const TABLE: &[Metric<Counted>] = &[
        Metric::counter("rva_apples", "Apples picked", |counted| counted.apples),
        Metric::counter_by("rva_fruit", "kind", "Fruit picked", |counted| {
            vec![("apple".into(), counted.apples), ("pear".into(), counted.pears)]
        }),
        Metric::gauge_by("rva_ripe", "kind", "Fruit that is ripe", |counted| {
            vec![("a \"b\"".into(), counted.apples as i64)]
        }),
        Metric::gauge("rva_basket", "Fruit held", |counted| counted.pears as i64 - 5),
    ];

    #[test]
    fn names_that_are_not_documented_or_not_ours_are_found() {
        let document = "`rva_apples_total` `rva_fruit_total{kind}` `rva_ripe{kind}`";
        assert_eq!(wrong_names(TABLE, "rva_", document), ["`rva_basket`"]);
        assert_eq!(wrong_names(&TABLE[..1], "rva_ingest_", document), ["`rva_apples_total`"]);
    }

    #[test]
    fn the_text_has_each_row_of_the_table_with_its_latest_values() {
        let totals = Totals::of(TABLE);
        let mut registry = Registry::default();
        registry.register_collector(Box::new(totals.clone()));
        *totals.latest() = Counted { apples: 3, pears: 4 };
        let mut said = String::new();
        text::encode(&mut said, &registry).unwrap();
        let wanted = "# HELP rva_apples Apples picked\n# TYPE rva_apples counter\nrva_apples_total 3\n\
                      # HELP rva_fruit Fruit picked\n# TYPE rva_fruit counter\nrva_fruit_total{kind=\"apple\"} 3\nrva_fruit_total{kind=\"pear\"} 4\n\
                      # HELP rva_ripe Fruit that is ripe\n# TYPE rva_ripe gauge\nrva_ripe{kind=\"a \\\"b\\\"\"} 3\n\
                      # HELP rva_basket Fruit held\n# TYPE rva_basket gauge\nrva_basket -1\n# EOF\n";
        assert_eq!(said, wanted);
    }
}
