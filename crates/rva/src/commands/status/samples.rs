//! The samples of `/metrics`.
//!
//! Read by hand: `prometheus-parse` cuts labels at commas and equals signs, which stand in ids of cameras, and
//! `openmetrics-parser` has another licence than this program may have.

use std::collections::BTreeMap;

/// A value under a name and labels.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

/// The samples of one answer.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Samples(Vec<Sample>);

impl Samples {
    /// Reads a text as <https://prometheus.io/docs/specs/om/open_metrics_spec/> has it; lines that are no samples are
    /// left out.
    pub fn parse(text: &str) -> Self {
        Self(text.lines().filter(|line| !line.starts_with('#')).filter_map(sample).collect())
    }

    /// Returns the sum of all samples of a name; `None` where there is none.
    pub fn sum(&self, name: &str) -> Option<f64> {
        self.of(name).map(|sample| sample.value).reduce(|sum, value| sum + value)
    }

    /// Returns the sums of the samples of a name by the value of a label.
    pub fn by(&self, name: &str, label: &str) -> BTreeMap<String, f64> {
        let mut sums = BTreeMap::new();
        for sample in self.of(name) {
            if let Some(of) = sample.labels.get(label) {
                *sums.entry(of.clone()).or_default() += sample.value;
            }
        }
        sums
    }

    /// Returns the value of a label of the first sample of a name.
    pub fn label(&self, name: &str, label: &str) -> Option<&str> {
        self.of(name).find_map(|sample| sample.labels.get(label)).map(String::as_str)
    }

    fn of(&self, name: &str) -> impl Iterator<Item = &Sample> {
        self.0.iter().filter(move |sample| sample.name == name)
    }
}

fn sample(line: &str) -> Option<Sample> {
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = BTreeMap::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        while let Some((label, behind)) = rest.split_once("=\"") {
            let (value, behind) = quoted(behind)?;
            labels.insert(label.trim_start_matches(',').to_owned(), value);
            rest = behind;
            if rest.starts_with('}') {
                break;
            }
        }
        rest = rest.strip_prefix('}')?;
    }
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some(Sample { name: name.to_owned(), labels, value })
}

/// Returns a label's value, whose first quotation mark was taken, and what is behind its last.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match characters.next()?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            _ => value.push(character),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_sample_is_left_out() {
        let text =
            "# TYPE a gauge\n\nhalf{\nhalf{a=\"b\nno value\nrva_a 1 1700000000\nrva_b{} 2\nrva_c{le=\"+Inf\"} NaN\n";
        let samples = Samples::parse(text);
        assert_eq!((samples.sum("rva_a"), samples.sum("rva_b")), (Some(1.0), Some(2.0)));
        assert!(samples.sum("rva_c").is_some_and(f64::is_nan));
        assert_eq!(samples.0.len(), 3);
    }
}
