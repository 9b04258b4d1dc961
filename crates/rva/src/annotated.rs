//! `--save`: the annotated video, and the picture of its liveliest frame.

use crate::terminal::Terminal;
use anyhow::Context;
use rva_detector::{FrameTap, MakeTap, OpenCamera, RunSettings};
use rva_types::CameraId;
use rva_vision::{AnnotateOptions, AnnotatedWriter, SourceDescription, TrackedFrame, VisionError, VisionErrorKind};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

/// The frames a second of a video whose source doesn't say.
const FPS_UNKNOWN: f64 = 10.0;

/// The place of annotated videos.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Saving {
    /// No videos are written.
    Off,
    /// One camera's video goes into this file.
    File(PathBuf),
    /// The video of each camera goes into a file of this folder.
    Folder(PathBuf),
}

impl Saving {
    /// Plans where videos go. `given` is what stands behind `--save=`: nothing, a file (one camera) or a folder.
    ///
    /// # Errors
    /// Returns an error for a file for several cameras.
    pub fn plan(given: Option<&str>, default_folder: &Path, cameras: usize) -> anyhow::Result<Self> {
        let Some(given) = given else { return Ok(Self::Off) };
        if given.is_empty() {
            return Ok(Self::Folder(default_folder.to_owned()));
        }
        let path = PathBuf::from(given);
        if path.is_dir() || path.extension().is_none() {
            return Ok(Self::Folder(path));
        }
        if cameras > 1 {
            let text = format!("found --save={given}, a file, for {cameras} sources, wanted a folder");
            return Err(crate::exit::Refusal::usage(text).into());
        }
        Ok(Self::File(path))
    }

    /// Returns the file for the video of a camera, or of one of its files where they follow each other; `None` where no
    /// videos are written. No two of `taken` are the same.
    ///
    /// # Errors
    /// Returns an error for one file for several videos.
    fn file(
        &self,
        camera: &CameraId,
        source: &SourceDescription,
        taken: &[PathBuf],
    ) -> anyhow::Result<Option<PathBuf>> {
        let folder = match self {
            Self::Off => return Ok(None),
            Self::File(path) if source.is_part => {
                let text = format!(
                    "found --save={}, a file, for the videos of a folder, wanted a folder: each has a file of its own",
                    path.display()
                );
                return Err(crate::exit::Refusal::usage(text).into());
            }
            Self::File(path) => return Ok(Some(path.clone())),
            Self::Folder(folder) => folder,
        };
        let camera = file_name(camera.as_str());
        if !source.is_part {
            return Ok(Some(folder.join(format!("{camera}.mp4"))));
        }
        let (folder, part) = (folder.join(camera), Path::new(&source.uri));
        let [stem, name] = [part.file_stem(), part.file_name()].map(|name| name.unwrap_or_default().to_string_lossy());
        // `a.mp4` and `a.avi` of one folder are two videos.
        let numbered = (2..).map(|number| format!("{name}-{number}.mp4"));
        let mut names = [format!("{stem}.mp4"), format!("{name}.mp4")].into_iter().chain(numbered);
        Ok(names.find_map(|name| Some(folder.join(name)).filter(|path| !taken.contains(path))))
    }

    /// Begins a video.
    ///
    /// # Errors
    /// Returns an error where the file or its folder can't be made.
    fn start(video: PathBuf, camera: &OpenCamera, settings: &RunSettings) -> anyhow::Result<Saved> {
        if let Some(folder) = video.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::create_dir_all(folder).with_context(|| format!("make folder {}", folder.display()))?;
        }
        let stride = f64::from(settings.pipeline.vid_stride.get());
        let fps = (camera.source.description().fps.unwrap_or(FPS_UNKNOWN) / stride).clamp(0.1, 240.0);
        let writer =
            AnnotatedWriter::create(&video, camera.source.description().size, fps, &AnnotateOptions::default())?;
        let picture = video.with_extension("jpg");
        let class_names = camera.model().map(|model| model.class_names.clone()).unwrap_or_default();
        let uri = camera.source.description().uri.clone();
        let drawing = Drawing { uri, writer: Some(writer), video, picture, class_names, tracks_max: None, error: None };
        Ok(Saved(Arc::new(Mutex::new(drawing))))
    }
}

/// The annotated videos of a command, one a camera: a camera that is opened again goes on in its own. Only files that
/// follow each other as one camera have a video each.
#[derive(Clone)]
pub struct Videos {
    saving: Saving,
    begun: Arc<Mutex<Begun>>,
}

#[derive(Default)]
struct Begun {
    /// The videos that are drawn into.
    open: BTreeMap<CameraId, Saved>,
    /// The outcomes of those that were ended already.
    ended: Vec<Result<SavedFiles, VisionError>>,
    /// The files of all of them.
    taken: Vec<PathBuf>,
}

impl Videos {
    /// Starts without any video.
    pub fn new(saving: Saving) -> Self {
        Self { saving, begun: Arc::default() }
    }

    /// Begins the video of a camera, if it is wanted and not begun, and returns a tap that draws into it. It blocks: a
    /// video that this one follows is ended first.
    ///
    /// # Errors
    /// Returns an error where the file or its folder can't be made.
    pub fn tap(&self, camera: &OpenCamera, settings: &RunSettings) -> anyhow::Result<Option<FrameTap>> {
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        let (id, source) = (&settings.identity.camera_id, camera.source.description());
        if let Some(saved) = begun.open.get(id) {
            if !source.is_part || saved.is_of(&source.uri) {
                return Ok(Some(saved.tap()));
            }
            let before = begun.open.remove(id).map(Saved::finish);
            begun.ended.extend(before);
        }
        let Some(video) = self.saving.file(id, source, &begun.taken)? else { return Ok(None) };
        let saved = Saving::start(video.clone(), camera, settings)?;
        let tap = saved.tap();
        begun.taken.push(video);
        begun.open.insert(id.clone(), saved);
        Ok(Some(tap))
    }

    /// Returns the maker of taps for a supervisor; none where no videos are wanted.
    pub fn taps(&self) -> Vec<MakeTap> {
        if self.saving == Saving::Off {
            return Vec::new();
        }
        let videos = self.clone();
        let failed =
            |error: anyhow::Error| VisionError::new(VisionErrorKind::Config, format!("annotated video: {error:#}"));
        vec![Box::new(move |camera, settings| videos.tap(camera, settings).map_err(failed))]
    }

    /// Ends all videos. It blocks: they are read back.
    pub fn finish(&self) -> Vec<Result<SavedFiles, VisionError>> {
        let begun = std::mem::take(&mut *self.begun.lock().unwrap_or_else(PoisonError::into_inner));
        begun.ended.into_iter().chain(begun.open.into_values().map(Saved::finish)).collect()
    }
}

/// Returns a camera id as a file name: characters that could mean something to a file system become `%XX`.
pub fn file_name(camera: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    camera.bytes().map(|b| if is_plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

struct Drawing {
    /// The source that it was begun for.
    uri: String,
    writer: Option<AnnotatedWriter>,
    video: PathBuf,
    picture: PathBuf,
    class_names: Vec<String>,
    /// The most tracks of a frame so far: the picture shows that frame.
    tracks_max: Option<usize>,
    /// The first error, which ends the drawing, not the run.
    error: Option<VisionError>,
}

impl Drawing {
    fn take(&mut self, frame: &TrackedFrame) {
        if let Err(error) = self.draw(frame) {
            self.writer = None;
            self.error = Some(error);
        }
    }

    fn draw(&mut self, frame: &TrackedFrame) -> Result<(), VisionError> {
        let Some(writer) = &mut self.writer else { return Ok(()) };
        writer.write(frame.media_time, &frame.image, &frame.detections, &self.class_names)?;
        let tracks: BTreeSet<u64> = frame.detections.iter().filter_map(|tracked| tracked.track_id).collect();
        if self.tracks_max.is_none_or(|most| tracks.len() > most) {
            self.tracks_max = Some(tracks.len());
            writer.snapshot(&self.picture)?;
        }
        Ok(())
    }
}

/// A video that is being written.
struct Saved(Arc<Mutex<Drawing>>);

/// A video that is whole, and its picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedFiles {
    video: PathBuf,
    picture: PathBuf,
}

impl Saved {
    fn tap(&self) -> FrameTap {
        let drawing = Arc::clone(&self.0);
        Box::new(move |frame: &TrackedFrame| drawing.lock().unwrap_or_else(PoisonError::into_inner).take(frame))
    }

    fn is_of(&self, uri: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).uri == uri
    }

    /// Ends the video. It blocks: it is read back.
    ///
    /// # Errors
    /// Returns the first error, now or before; no video is left then.
    fn finish(self) -> Result<SavedFiles, VisionError> {
        let mut drawing = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = drawing.error.take() {
            return Err(error);
        }
        if let Some(writer) = drawing.writer.take() {
            writer.finish()?;
        }
        Ok(SavedFiles { video: drawing.video.clone(), picture: drawing.picture.clone() })
    }
}

impl SavedFiles {
    /// Says where video and picture are.
    pub fn say(&self, terminal: &Terminal) {
        terminal.say(&format!("video:   {}\npicture: {}", self.video.display(), self.picture.display()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_for_one_camera_and_a_folder_for_several() {
        let plan = |given, cameras| Saving::plan(given, Path::new("d/annotated"), cameras);
        assert_eq!(plan(None, 2).unwrap(), Saving::Off);
        assert_eq!(plan(Some(""), 2).unwrap(), Saving::Folder("d/annotated".into()));
        assert_eq!(plan(Some("x.mp4"), 1).unwrap(), Saving::File("x.mp4".into()));
        assert_eq!(plan(Some("x"), 3).unwrap(), Saving::Folder("x".into()));
        assert!(plan(Some("x.mp4"), 2).unwrap_err().to_string().contains("2 sources"));
    }

    #[test]
    fn each_video_of_a_folder_has_a_file_of_its_own() {
        let part = |uri: &str| SourceDescription { uri: uri.into(), is_part: true, ..description() };
        let saving = Saving::Folder("out".into());
        let (camera, mut taken) = (CameraId::parse("door/1").unwrap(), Vec::new());
        for (uri, wanted) in [
            ("in/a.mp4", "out/door%2F1/a.mp4"),
            ("in/a.avi", "out/door%2F1/a.avi.mp4"),
            ("in/sub/a.avi", "out/door%2F1/a.avi-2.mp4"),
            ("in/b.mkv", "out/door%2F1/b.mp4"),
        ] {
            let file = saving.file(&camera, &part(uri), &taken).unwrap().unwrap();
            assert_eq!(file, PathBuf::from(wanted));
            taken.push(file);
        }
        let alone = saving.file(&camera, &description(), &taken).unwrap();
        assert_eq!(alone, Some(PathBuf::from("out/door%2F1.mp4")));
        let error = Saving::File("x.mp4".into()).file(&camera, &part("in/a.mp4"), &[]).unwrap_err().to_string();
        assert!(error.contains("--save=x.mp4, a file, for the videos of a folder, wanted a folder"), "{error}");
    }

    fn description() -> SourceDescription {
        SourceDescription {
            uri: "in/a.mp4".into(),
            size: rva_types::ImageSize { width: 16, height: 16 },
            fps: None,
            frame_count: None,
            is_live: false,
            is_part: false,
            hw_acceleration: rva_vision::HwAcceleration::None,
        }
    }

    #[test]
    fn a_camera_id_can_not_leave_its_folder() {
        assert_eq!(file_name("cam_01"), "cam_01");
        assert_eq!(file_name("../x"), "%2E%2E%2Fx");
    }
}
