//! Frames a second and peak memory of the whole pipeline beside those of bare ONNX Runtime, in turns, in one run.
//!
//! `bare` is a session's `run` on one prepared picture and nothing else. `null` is the whole pipeline (decode,
//! letterbox, infer, track, record) into a sink that forgets; `log` the same into the embedded log, synced as in
//! production; `run` is the whole command `rva run`, from its start to its last commit. Each is a process of its own,
//! so that its memory is its own, and the turns alternate, so that a machine that gets slower does so for all.
//!
//! `cargo run --release -p rva-detector --example bench_detect -- --model M.onnx --video V [--rva RVA] [--turns 5]`

mod kinds;

use anyhow::{Context, bail};
use clap::Parser;
use kinds::{Figures, Kind};
use std::{fmt::Write, path::PathBuf, process::Command};

#[derive(Debug, Parser)]
struct Cli {
    /// YOLOv8 detection model in ONNX
    #[arg(long)]
    model: PathBuf,
    /// The video, read from its start in each turn
    #[arg(long)]
    video: String,
    /// Frames of each turn, at most; the whole video where it isn't given
    #[arg(long)]
    frames: Option<u64>,
    #[arg(long, default_value_t = 5)]
    turns: usize,
    /// The `rva` program; without it `run` is left out. It takes all cores and the whole video
    #[arg(long)]
    rva: Option<PathBuf>,
    /// Threads of one inference, in turns; 0 is all cores
    #[arg(long, value_delimiter = ',', default_value = "0")]
    threads: Vec<usize>,
    /// What takes turns
    #[arg(long, value_delimiter = ',', default_values_t = [Kind::Bare, Kind::Null, Kind::Log, Kind::Run])]
    kinds: Vec<Kind>,
    /// Where the raw figures go too
    #[arg(long)]
    csv: Option<PathBuf>,
    /// One measurement, in this process: its figures on a line
    #[arg(long, hide = true)]
    one: Option<Kind>,
}

/// A number of threads and the kind that is measured with them.
type Case = (usize, Kind);

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    if let Some(kind) = cli.one {
        println!("{}", kinds::measure(kind, &cli)?);
        return Ok(());
    }
    let cases = cases(&cli);
    let mut measured: Vec<Vec<Figures>> = vec![Vec::new(); cases.len()];
    let mut csv = format!("model,threads,turn,kind,{}\n", Figures::HEADER);
    let model = cli.model.file_name().unwrap_or_default().to_string_lossy();
    for turn in 1..=cli.turns {
        let mut order: Vec<usize> = (0..cases.len()).collect();
        if turn % 2 == 0 {
            order.reverse();
        }
        for at in order {
            let (threads, kind) = cases[at];
            let figures = child(&cli, threads, kind)?;
            writeln!(csv, "{model},{threads},{turn},{kind},{figures}")?;
            eprintln!(
                "turn {turn}: {threads} threads {kind:>4} {:7.2} frames a second, {:4.0} MB",
                figures.rate(),
                figures.peak_mb()
            );
            measured[at].push(figures);
        }
    }
    print!("{csv}");
    summary(&cases, &measured);
    if let Some(file) = cli.csv {
        std::fs::write(&file, csv).with_context(|| format!("write {}", file.display()))?;
    }
    Ok(())
}

/// The kinds by number of threads. `rva run` always takes all cores.
fn cases(cli: &Cli) -> Vec<Case> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = cli.threads.iter().map(|&threads| if threads == 0 { cores } else { threads });
    threads
        .flat_map(|threads| cli.kinds.iter().map(move |&kind| (threads, kind)))
        .filter(|&(threads, kind)| kind != Kind::Run || (cli.rva.is_some() && threads == cores))
        .collect()
}

/// Measures in a process of its own.
fn child(cli: &Cli, threads: usize, kind: Kind) -> anyhow::Result<Figures> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--one", &kind.to_string(), "--video", &cli.video, "--threads", &threads.to_string()]);
    command.arg("--model").arg(&cli.model);
    if let Some(frames) = cli.frames {
        command.args(["--frames", &frames.to_string()]);
    }
    if let Some(rva) = &cli.rva {
        command.arg("--rva").arg(rva);
    }
    let output = command.stderr(std::process::Stdio::inherit()).output().context("start a measurement")?;
    if !output.status.success() {
        bail!("measure {kind}: found {}, wanted success", output.status);
    }
    String::from_utf8(output.stdout)?.trim().parse()
}

fn summary(cases: &[Case], measured: &[Vec<Figures>]) {
    for (&(threads, kind), figures) in cases.iter().zip(measured) {
        let rate = median(figures.iter().map(Figures::rate).collect());
        let peak = figures.iter().map(Figures::peak_mb).fold(0.0, f64::max);
        let bare = cases.iter().position(|&case| case == (threads, Kind::Bare));
        let bare = bare.map_or(f64::NAN, |at| median(measured[at].iter().map(Figures::rate).collect()));
        eprintln!(
            "{threads} threads {kind:>4}: median {rate:7.2} frames a second, {:.3} of bare; at most {peak:.0} MB",
            rate / bare
        );
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[middle],
        _ => (values[middle - 1] + values[middle]) / 2.0,
    }
}
