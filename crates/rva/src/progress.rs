//! Progress of a run: bars on a terminal, plain lines elsewhere.

use crate::{embedded::RowsCommitted, terminal::Terminal};
use indicatif::{ProgressBar, ProgressStyle};
use rva_detector::{CameraView, Progress};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// The interval at which bars move.
const BAR_EVERY: Duration = Duration::from_millis(200);
/// The interval at which a line is written where there are no bars.
const LINE_EVERY: Duration = Duration::from_secs(5);

const BAR: &str = "{prefix:.bold} [{bar:30.cyan/dim}] {pos}/{len} {msg}";
const SPINNER: &str = "{prefix:.bold} {spinner} {pos} frames {msg}";

/// A view that shows progress until it is dropped or closed.
pub struct ProgressView {
    task: Option<JoinHandle<()>>,
    bars: Vec<ProgressBar>,
}

impl ProgressView {
    /// Starts to show cameras and, where there is an ingest, its rows.
    pub fn start(terminal: &Terminal, cameras: Vec<CameraView>, rows: Option<RowsCommitted>) -> Self {
        if terminal.is_quiet() {
            return Self { task: None, bars: Vec::new() };
        }
        if terminal.shows_bars() {
            let bars: Vec<ProgressBar> = cameras.iter().map(|camera| bar(terminal, camera)).collect();
            let task = tokio::spawn(move_bars(bars.clone(), cameras, rows));
            return Self { task: Some(task), bars };
        }
        let task = tokio::spawn(write_lines(terminal.clone(), cameras, rows));
        Self { task: Some(task), bars: Vec::new() }
    }
}

impl Drop for ProgressView {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
        for bar in &self.bars {
            bar.finish_and_clear();
        }
    }
}

fn bar(terminal: &Terminal, camera: &CameraView) -> ProgressBar {
    let total = camera.progress.borrow().frames_total;
    let (bar, template) = match total {
        Some(total) => (ProgressBar::new(total), BAR),
        None => (ProgressBar::new_spinner(), SPINNER),
    };
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    terminal.bars().add(bar.with_style(style).with_prefix(camera.camera_id.to_string()))
}

async fn move_bars(bars: Vec<ProgressBar>, cameras: Vec<CameraView>, rows: Option<RowsCommitted>) {
    loop {
        for (bar, camera) in bars.iter().zip(&cameras) {
            let now = *camera.progress.borrow();
            if let Some(total) = now.frames_total {
                bar.set_length(total.max(now.frame_index));
            }
            bar.set_position(now.frame_index);
            bar.set_message(state(&now, camera.vid_stride, rows.as_ref()));
        }
        tokio::time::sleep(BAR_EVERY).await;
    }
}

async fn write_lines(terminal: Terminal, cameras: Vec<CameraView>, rows: Option<RowsCommitted>) {
    let mut said: Vec<(u64, Instant)> = vec![(0, Instant::now()); cameras.len()];
    loop {
        tokio::time::sleep(LINE_EVERY).await;
        for (camera, (frames, since)) in cameras.iter().zip(&mut said) {
            let mut now = *camera.progress.borrow();
            if now.frames == *frames {
                continue;
            }
            // Over the whole interval: a line is read for a trend.
            now.fps = (now.frames - *frames) as f64 / since.elapsed().as_secs_f64().max(0.001);
            (*frames, *since) = (now.frames, Instant::now());
            line(&terminal, camera, &now, rows.as_ref());
        }
    }
}

fn line(terminal: &Terminal, camera: &CameraView, now: &Progress, rows: Option<&RowsCommitted>) {
    if terminal.is_json() {
        tracing::info!(
            camera_id = %camera.camera_id,
            frame = now.frame_index,
            frames_total = now.frames_total,
            fps = (now.fps * 10.0).round() / 10.0,
            people = now.people,
            rows_committed = rows.map(RowsCommitted::get),
            "progress"
        );
        return;
    }
    let of = now.frames_total.map(|total| format!("/{}", total.max(now.frame_index))).unwrap_or_default();
    terminal.say(&format!(
        "{}: frame {}{of}, {}",
        camera.camera_id,
        now.frame_index,
        state(now, camera.vid_stride, rows)
    ));
}

fn state(now: &Progress, vid_stride: u32, rows: Option<&RowsCommitted>) -> String {
    let mut text = format!("{:.1} frames/s, {} people", now.fps, now.people);
    if let Some(left) = left(now, vid_stride) {
        text.push_str(&format!(", {left} left"));
    }
    if let Some(rows) = rows {
        text.push_str(&format!(", {} rows committed", rows.get()));
    }
    if now.sink_waits {
        text.push_str(", waiting for room in the log");
    }
    text
}

fn left(now: &Progress, vid_stride: u32) -> Option<String> {
    let frames = now.frames_total?.checked_sub(now.frame_index)?;
    if now.fps <= 0.0 {
        return None;
    }
    let seconds = (frames as f64 / f64::from(vid_stride.max(1)) / now.fps).round() as u64;
    Some(match seconds {
        0..=59 => format!("{seconds}s"),
        60..=3599 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h{:02}m", seconds / 3600, seconds % 3600 / 60),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(frame_index: u64, frames_total: Option<u64>, fps: f64) -> Progress {
        Progress { frames: frame_index, frame_index, frames_total, fps, people: 3, ..Progress::default() }
    }

    #[test]
    fn a_line_says_frames_a_second_people_and_time_left() {
        assert_eq!(state(&at(95, Some(795), 10.0), 1, None), "10.0 frames/s, 3 people, 1m10s left");
        assert_eq!(state(&at(95, Some(795), 10.0), 2, None), "10.0 frames/s, 3 people, 35s left");
        assert_eq!(state(&at(95, None, 10.0), 1, None), "10.0 frames/s, 3 people");
    }

    #[test]
    fn an_estimate_that_was_too_small_gives_no_time_left() {
        assert_eq!(left(&at(800, Some(795), 10.0), 1), None);
        assert_eq!(left(&at(1, Some(795), 0.0), 1), None);
    }
}
