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

/// A row of a crate's table of metrics: its name, and how its value is read off what the crate counts.
pub struct Metric<T: 'static> {
    /// With the prefix `rva_` and in base units; a counter's without `_total`, which the format adds.
    pub name: &'static str,
    /// What is counted, in a few words.
    pub help: &'static str,
    /// Where its values are.
    pub values: Values<T>,
}

impl<T> Metric<T> {
    /// As it stands in the documents: the name that Prometheus shows, and the label.
    pub fn documented(&self) -> String {
        let name = self.name;
        match self.values {
            Values::Counter(_) => format!("`{name}_total`"),
            Values::CounterBy(label, _) => format!("`{name}_total{{{label}}}`"),
            Values::Gauge(_) => format!("`{name}`"),
            Values::GaugeBy(label, _) => format!("`{name}{{{label}}}`"),
        }
    }
}

/// Where the values of a metric are.
pub enum Values<T: 'static> {
    /// A counter: it never falls while the process lives.
    Counter(fn(&T) -> u64),
    /// A counter of several kinds, told apart by the value of this label.
    CounterBy(&'static str, fn(&T) -> Vec<(String, u64)>),
    /// A value as it is now.
    Gauge(fn(&T) -> i64),
    /// A value of each of several things, told apart likewise.
    GaugeBy(&'static str, fn(&T) -> Vec<(String, i64)>),
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
        Metric { name: "rva_apples", help: "Apples picked", values: Values::Counter(|counted| counted.apples) },
        Metric {
            name: "rva_fruit",
            help: "Fruit picked",
            values: Values::CounterBy("kind", |counted| {
                vec![("apple".into(), counted.apples), ("pear".into(), counted.pears)]
            }),
        },
        Metric {
            name: "rva_ripe",
            help: "Fruit that is ripe",
            values: Values::GaugeBy("kind", |counted| vec![("a \"b\"".into(), counted.apples as i64)]),
        },
        Metric { name: "rva_basket", help: "Fruit held", values: Values::Gauge(|counted| counted.pears as i64 - 5) },
    ];

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
