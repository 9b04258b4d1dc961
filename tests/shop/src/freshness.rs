//! How long each stage keeps a frame, from its capture to gold, by the traces that the programs send.

use rva_testkit::collector::{Collector, SeenSpan};
use std::{
    collections::BTreeMap,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

/// The interval of commits, and that of refreshes.
const INTERVAL: &str = "1s";

/// Runs `rva run` on cameras that play a file at its own speed, each frame traced, and prints the percentiles of each
/// stage. The file's first seconds, in which everything starts, don't count.
pub fn run(folder: &Path, rva: &str, video: &str, model: &str, cameras: usize, warm_up: Duration) {
    let camera = |at| format!("  cam_{at}: {{source: {video}}}\n");
    let cameras: String = (1..=cameras).map(camera).collect();
    let config = format!(
        "data_dir: data\ndetector: {{model: {model}}}\ncapture: {{realtime: true}}\n\
         ingest: {{commit_interval: {INTERVAL}}}\nrefine: {{interval: {INTERVAL}}}\ntelemetry: {{trace_ratio: 1}}\n\
         cameras:\n{cameras}"
    );
    std::fs::write(folder.join("rva.yaml"), config).unwrap();
    let collector = Collector::start();
    let began = Instant::now();
    let status = Command::new(rva)
        .current_dir(folder)
        .args(["run", "--config", "rva.yaml"])
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint())
        .status()
        .unwrap();
    assert!(status.success(), "found {status}, wanted an end without an error");
    let spans = collector.spans();
    println!("stage,frames,p50_ms,p99_ms,most_ms");
    eprintln!("freshness: {} spans in {:.0} s", spans.len(), began.elapsed().as_secs_f64());
    for (stage, mut times) in times(&spans, warm_up) {
        times.sort_by(f64::total_cmp);
        let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize];
        println!("{stage},{},{:.1},{:.1},{:.1}", times.len(), at(0.5), at(0.99), at(1.0));
    }
}

/// Returns for each stage how long it kept each frame, in milliseconds.
fn times(spans: &[SeenSpan], warm_up: Duration) -> BTreeMap<&'static str, Vec<f64>> {
    let by_id: BTreeMap<&str, &SeenSpan> = spans.iter().map(|span| (span.id.as_str(), span)).collect();
    let mut parts: BTreeMap<(&str, &str), &SeenSpan> = BTreeMap::new();
    for span in spans {
        parts.insert((span.parent.as_str(), span.name.as_str()), span);
    }
    let part = |of: &SeenSpan, name: &'static str| parts.get(&(of.id.as_str(), name)).copied();
    // The step of silver and gold that took a commit.
    let mut steps: BTreeMap<&str, &SeenSpan> = BTreeMap::new();
    for step in spans.iter().filter(|span| span.name == "refine") {
        steps.extend(step.links.iter().map(|(_, commit)| (commit.as_str(), step)));
    }
    let first = spans.iter().map(|span| span.start_ns).min().unwrap_or_default() + warm_up.as_nanos() as u64;
    let mut times: BTreeMap<&'static str, Vec<f64>> = BTreeMap::new();
    for frame in spans.iter().filter(|span| span.name == "frame" && span.start_ns >= first) {
        let found = (|| {
            let (decode, ingest) = (part(frame, "decode")?, part(frame, "ingest")?);
            let commit = by_id.get(ingest.links.first()?.1.as_str())?;
            let step = steps.get(commit.id.as_str())?;
            Some((decode.end_ns, ingest, *commit, part(step, "silver")?, part(step, "gold")?))
        })();
        let Some((captured, ingest, commit, silver, gold)) = found else { continue };
        let way = [
            ("1 capture to record in the log", captured, frame.end_ns),
            ("2 log to the batch", ingest.start_ns, commit.start_ns),
            ("3 batch to the commit", commit.start_ns, commit.end_ns),
            ("4 commit to silver", commit.end_ns, silver.end_ns),
            ("5 silver to gold", silver.end_ns, gold.end_ns),
            ("6 capture to gold", captured, gold.end_ns),
        ];
        for (stage, from, to) in way {
            times.entry(stage).or_default().push((to as f64 - from as f64) / 1e6);
        }
    }
    times
}
