//! Sequences in MOTChallenge's folders.

use crate::exit::Refusal;
use anyhow::Context;
use rva_eval::{Benchmark, MotRow, parse_ground_truth, parse_results};
use rva_types::ImageSize;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// A sequence with its ground truth.
pub struct MotSequence {
    /// The name that result files have.
    pub name: String,
    /// Its folder; `None` where only a gt.txt was given.
    folder: Option<PathBuf>,
    /// The file of the ground truth, for errors.
    pub truth_file: String,
    pub truth: Vec<MotRow>,
    pub benchmark: Benchmark,
    pub frames: u32,
    pub frame_rate: f64,
    pub image_size: Option<ImageSize>,
}

/// The sequences whose counts are added up.
pub struct Group {
    /// The folder's name.
    pub name: String,
    pub sequences: Vec<MotSequence>,
}

fn read(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("read {}", path.display()))
}

fn name_of(path: &Path) -> String {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// The values of `seqinfo.ini` by their keys.
struct SeqInfo<'a> {
    path: &'a Path,
    text: String,
}

impl SeqInfo<'_> {
    fn value(&self, key: &str) -> Option<&str> {
        let lines = self.text.lines().filter_map(|line| line.split_once('='));
        lines.filter(|(name, _)| name.trim() == key).map(|(_, value)| value.trim()).next()
    }

    fn number<T: std::str::FromStr>(&self, key: &str) -> anyhow::Result<T> {
        let found = self.value(key).unwrap_or("nothing");
        let error = || format!("{}: found {key} {found:?}, wanted a number", self.path.display());
        found.parse().map_err(|_| anyhow::anyhow!(error()))
    }
}

impl MotSequence {
    fn of_folder(folder: &Path) -> anyhow::Result<Self> {
        let (truth_path, info_path) = (folder.join("gt/gt.txt"), folder.join("seqinfo.ini"));
        let truth_file = truth_path.display().to_string();
        let truth = parse_ground_truth(&truth_file, &read(&truth_path)?)?;
        let info = SeqInfo { path: &info_path, text: read(&info_path)? };
        Ok(Self {
            benchmark: Benchmark::of_named(&name_of(folder), &truth),
            name: name_of(folder),
            folder: Some(folder.to_owned()),
            truth_file,
            truth,
            frames: info.number("seqLength")?,
            frame_rate: info.number("frameRate")?,
            image_size: Some(ImageSize { width: info.number("imWidth")?, height: info.number("imHeight")? }),
        })
    }

    /// Makes a sequence of nothing but the truth, with as many frames as that has.
    fn of_file(path: &Path) -> anyhow::Result<Self> {
        let truth_file = path.display().to_string();
        let truth = parse_ground_truth(&truth_file, &read(path)?)?;
        let frames = truth.iter().map(|row| row.frame).max().unwrap_or(0);
        let name = path.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let (folder, benchmark) = (None, Benchmark::of(&truth));
        Ok(Self { name, folder, truth_file, truth, benchmark, frames, frame_rate: 30.0, image_size: None })
    }

    /// Reads the public detections, by frame, of the first of these folders that is there. Confidences outside of [0,
    /// 1] are cut off there.
    ///
    /// # Errors
    /// Returns an error where there are none, or they can't be read.
    pub fn detections(&self, kinds: &[String]) -> anyhow::Result<Vec<MotRow>> {
        let Some(folder) = &self.folder else {
            let found = &self.truth_file;
            return Err(Refusal::usage(format!("found {found} alone, wanted a sequence folder with detections")).into());
        };
        let mut paths = kinds.iter().map(|kind| folder.join(kind).join("det.txt"));
        let Some(path) = paths.find(|path| path.is_file()) else {
            let text = format!("found no det.txt in {}, wanted it in {}", folder.display(), kinds.join(" or "));
            return Err(Refusal::usage(text).into());
        };
        let mut rows = parse_results(&path.display().to_string(), &read(&path)?, false)?;
        rows.iter_mut().for_each(|row| row.conf = row.conf.clamp(0.0, 1.0));
        Ok(rows)
    }
}

/// Reads the sequences that `--gt` names.
///
/// # Errors
/// Returns an error where no sequence is there, or one can't be read.
pub fn group(path: &Path) -> anyhow::Result<Group> {
    if path.is_file() {
        let sequence = MotSequence::of_file(path)?;
        return Ok(Group { name: sequence.name.clone(), sequences: vec![sequence] });
    }
    let is_sequence = |folder: &Path| folder.join("gt/gt.txt").is_file();
    let folders = if is_sequence(path) {
        vec![path.to_owned()]
    } else {
        let entries = fs::read_dir(path).with_context(|| format!("read {}", path.display()))?;
        let mut folders: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        folders.retain(|folder| is_sequence(folder));
        folders.sort();
        folders
    };
    if folders.is_empty() {
        let text = format!("found no sequence in {}, wanted SEQUENCE/gt/gt.txt and seqinfo.ini", path.display());
        return Err(Refusal::usage(text).into());
    }
    let sequences = folders.iter().map(|folder| MotSequence::of_folder(folder)).collect::<anyhow::Result<_>>()?;
    Ok(Group { name: name_of(path), sequences })
}
