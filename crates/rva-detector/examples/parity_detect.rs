//! Detects in a video and passes on each frame as it was decoded, so that another program sees the very same pixels.
//!
//! On stdout: a line of JSON `{"width", "height", "fps"}`, then frame after frame as BGR bytes, row by row. Into the
//! file `--detections`: a line of JSON for each frame, `[[x1, y1, x2, y2, conf, class_id], …]` in source pixels. See
//! `make parity`.

use anyhow::Context;
use clap::Parser;
use rva_vision::{DetectOptions, Detector, OpenOptions, SourceSpec, YoloDetector, find_library, open};
use std::{
    fs::File,
    io::{BufWriter, Write},
    path::PathBuf,
};

#[derive(Debug, Parser)]
struct Cli {
    /// YOLOv8 detection model in ONNX
    #[arg(long)]
    model: PathBuf,
    #[arg(long)]
    video: String,
    /// Where the detections go
    #[arg(long)]
    detections: PathBuf,
    /// Frames at most; all where it isn't given
    #[arg(long, default_value_t = u64::MAX)]
    frames: u64,
    /// Threads of one inference; all cores where it isn't given
    #[arg(long)]
    threads: Option<usize>,
    #[arg(long, default_value_t = 0.25)]
    conf: f32,
    #[arg(long, default_value_t = 0.7)]
    iou: f32,
}

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let options =
        DetectOptions { conf: cli.conf, iou: cli.iou, intra_threads: cli.threads, ..DetectOptions::default() };
    let mut detector = YoloDetector::load(&find_library(None)?, &cli.model, &options)?;
    let mut preparer = detector.preparer();
    let mut source = open(&SourceSpec::parse(&cli.video)?, &OpenOptions::default())?;
    let mut lines =
        BufWriter::new(File::create(&cli.detections).with_context(|| format!("create {}", cli.detections.display()))?);
    let mut pixels = BufWriter::with_capacity(1 << 20, std::io::stdout().lock());
    let size = source.description().size;
    let fps = source.description().fps.unwrap_or(0.0);
    writeln!(pixels, r#"{{"width": {}, "height": {}, "fps": {fps}}}"#, size.width, size.height)?;
    while let Some(frame) = source.next_frame()? {
        if frame.index > cli.frames {
            break;
        }
        anyhow::ensure!(frame.image.size() == size, "found a frame of another size, wanted {size:?}");
        pixels.write_all(frame.image.bgr_bytes())?;
        let found = detector.infer(&[preparer.prepare(&frame.image)?])?;
        let found: Vec<_> =
            found.iter().flatten().map(|d| (d.bbox.x1, d.bbox.y1, d.bbox.x2, d.bbox.y2, d.conf, d.class_id)).collect();
        serde_json::to_writer(&mut lines, &found)?;
        lines.write_all(b"\n")?;
    }
    pixels.flush()?;
    lines.flush()?;
    Ok(())
}
