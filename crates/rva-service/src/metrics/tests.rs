use super::*;
use prometheus_client::{encoding::text, registry::Registry};

#[derive(Default)]
struct Counted {
    apples: u64,
    pears: u64,
    trees: Vec<String>,
    weights: HistogramCounts,
}

const TABLE: &[Metric<Counted>] = &[
    Metric::counter("rva_apples", "Apples picked", |counted| counted.apples),
    Metric::counter_by("rva_fruit", &["kind", "tree"], "Fruit picked", |counted| {
        vec![Series::of(["apple", "a \"b\"\n"], counted.apples), Series::of(["pear", "c"], counted.pears)]
    }),
    Metric::gauge("rva_basket", "Fruit held", |counted| counted.pears as i64 - 5),
    Metric::histogram_by("rva_weight_kilograms", &["kind"], "Weights of fruit", |counted| {
        vec![Series::of(["apple"], counted.weights.clone())]
    }),
];

const TREES: &[Metric<Counted>] = &[
    Metric::counter_by("rva_leaves", &["tree", "side"], "Leaves", |counted| {
        let sides = counted.trees.iter().flat_map(|tree| [(tree, "left", 2), (tree, "right", 3)]);
        sides.map(|(tree, side, value)| Series::of([tree, side], value)).collect()
    }),
    Metric::gauge_by("rva_tree", &["tree"], "Trees", |counted| {
        counted.trees.iter().map(|tree| Series::of([tree], 1)).collect()
    }),
];

fn said(totals: &Totals<Counted>) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(totals.clone()));
    let mut said = String::new();
    text::encode(&mut said, &registry).unwrap();
    said
}

#[test]
fn names_that_are_not_documented_or_not_ours_are_found() {
    let document = "`rva_apples_total` `rva_fruit_total{kind,tree}` `rva_weight_kilograms{kind}`";
    assert_eq!(wrong_names(TABLE, "rva_", document), ["`rva_basket`"]);
    assert_eq!(wrong_names(&TABLE[..1], "rva_ingest_", document), ["`rva_apples_total`"]);
}

#[test]
fn the_text_has_each_row_of_the_table_with_its_latest_values() {
    let totals = Totals::of(TABLE);
    let weights = Histogram::new(&[0.125, 0.25]);
    [0.125, 0.2, 0.25, 3.0].iter().for_each(|weight| weights.observe(*weight));
    *totals.latest() = Counted { apples: 3, pears: 4, weights: weights.counts(), ..Counted::default() };
    let wanted = "# HELP rva_apples Apples picked\n# TYPE rva_apples counter\nrva_apples_total 3\n\
                  # HELP rva_fruit Fruit picked\n# TYPE rva_fruit counter\n\
                  rva_fruit_total{kind=\"apple\",tree=\"a \\\"b\\\"\\n\"} 3\nrva_fruit_total{kind=\"pear\",tree=\"c\"} 4\n\
                  # HELP rva_basket Fruit held\n# TYPE rva_basket gauge\nrva_basket -1\n\
                  # HELP rva_weight_kilograms Weights of fruit\n# TYPE rva_weight_kilograms histogram\n\
                  rva_weight_kilograms_sum{kind=\"apple\"} 3.575\nrva_weight_kilograms_count{kind=\"apple\"} 4\n\
                  rva_weight_kilograms_bucket{le=\"0.125\",kind=\"apple\"} 1\n\
                  rva_weight_kilograms_bucket{le=\"0.25\",kind=\"apple\"} 3\n\
                  rva_weight_kilograms_bucket{le=\"+Inf\",kind=\"apple\"} 4\n# EOF\n";
    assert_eq!(said(&totals), wanted);
}

#[test]
fn beyond_a_thousand_values_of_the_first_label_the_rest_is_added_up() {
    let totals = Totals::of(TREES);
    // One of them has the name of the rest.
    let trees = (0..10_000).map(|tree| format!("t{tree:05}")).chain([OTHER.to_owned()]);
    totals.latest().trees = trees.collect();
    let said = said(&totals);
    let lines = |start: &str| said.lines().filter(|line| line.starts_with(start)).count();
    assert_eq!((lines("rva_leaves_total{"), lines("rva_tree{")), (2 * 999 + 2, 999 + 1));
    assert!(said.contains("rva_leaves_total{tree=\"t00998\",side=\"right\"} 3\n"));
    for rest in ["rva_leaves_total{tree=\"other\",side=\"left\"} 18004\n", "rva_tree{tree=\"other\"} 9002\n"] {
        assert!(said.contains(rest), "{rest}");
    }
    assert!(totals.is_told.load(Relaxed));
}
