//! Many cameras in one process: kept running, and changed while the others go on.

mod backoff;
mod changes;
mod health;
mod keep;
mod metrics;
mod overload;
mod watching;

use crate::{
    CameraCounters, CameraCounts, CameraEnd, CameraReport, CameraSetup, DetectorSetup, FrameTap, OpenCamera, Progress,
    RunSettings, SharedSink, join_camera, load_shared, open_source,
};
use overload::Overload;
use rva_service::Traces;
use rva_types::{CameraId, RunId};
use rva_vision::{FrameCounts, SharedModel, SourceDescription, SourceSpec, StopFlag, VisionError};
use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tokio::{
    sync::{Semaphore, watch},
    task::JoinSet,
};

pub use backoff::ReconnectPace;
pub use changes::Changes;
pub use health::CameraHealth;
pub use watching::{Reload, Watching, watch_cameras};

/// The number of sources that are opened at the same time.
const OPENINGS_MAX: usize = 32;

/// A camera as it is wanted.
#[derive(Debug, Clone, PartialEq)]
pub struct CameraSpec {
    /// The source of its frames.
    pub camera: CameraSetup,
    /// The detector that looks at them. Its words about the model are those of all cameras.
    pub detector: DetectorSetup,
}

/// An opener of cameras. It is called on threads of their own, of several cameras at the same time.
pub trait OpenCameras: Send + Sync + 'static {
    /// Opens the source and mints a run id: each call is a run of its own. It blocks.
    ///
    /// # Errors
    /// Returns the trouble of the source, the tracker or the model.
    fn open(&self, spec: &CameraSpec) -> Result<(OpenCamera, RunSettings), VisionError>;
}

/// An opener of cameras that share one model, which is loaded when the first is opened.
#[derive(Default)]
pub struct SharedModelOpener(Mutex<Option<Arc<SharedModel>>>);

impl SharedModelOpener {
    /// Makes an opener with a model that is loaded already.
    pub fn with(model: SharedModel) -> Self {
        Self(Mutex::new(Some(Arc::new(model))))
    }

    fn model(&self, detector: &DetectorSetup) -> Result<Arc<SharedModel>, VisionError> {
        // A failed loading leaves nothing behind.
        let mut model = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*model {
            Some(model) => Ok(Arc::clone(model)),
            None => Ok(Arc::clone(model.insert(Arc::new(load_shared(detector)?)))),
        }
    }
}

impl OpenCameras for SharedModelOpener {
    fn open(&self, spec: &CameraSpec) -> Result<(OpenCamera, RunSettings), VisionError> {
        let source = open_source(&spec.camera)?;
        join_camera(&spec.camera, &spec.detector, source, &*self.model(&spec.detector)?)
    }
}

/// The state of a camera.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CameraState {
    /// Its source is being opened, or waits for its turn.
    Opening,
    /// Frames are processed.
    Running {
        /// The id of the run.
        run: RunId,
    },
    /// It broke off or couldn't be opened, and is opened again later.
    Waiting {
        /// The trouble; it holds no credentials.
        why: String,
        /// The pause from then on.
        pause: Duration,
    },
    /// It has ended for good.
    Ended,
}

impl fmt::Display for CameraState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Opening => f.write_str("opening"),
            Self::Running { .. } => f.write_str("running"),
            Self::Waiting { .. } => f.write_str("waiting"),
            Self::Ended => f.write_str("ended"),
        }
    }
}

/// The summary of a camera, over all of its runs.
#[derive(Debug)]
pub struct CameraSummary {
    /// The camera's id.
    pub camera_id: CameraId,
    /// The source as it may be shown.
    pub uri: String,
    /// The facts that were known of the source at its last opening; `None` where it never opened.
    pub source: Option<SourceDescription>,
    /// Set where it has no end of its own.
    pub is_live: bool,
    /// The end of the last run, or the trouble that kept it from being opened.
    pub end: CameraEnd,
    /// The counts of frames, records and openings, and the latency.
    pub counts: CameraCounts,
    /// The number of detections in the records.
    pub detections: u64,
    /// The number of different (run, track id) in the records.
    pub tracks: u64,
    /// The number of detections whose appearance wasn't looked at, since their frames had too many.
    pub crops_left_out: u64,
    /// The time from its start to its end.
    pub elapsed: Duration,
}

impl CameraSummary {
    fn of(spec: &CameraSpec) -> Self {
        Self {
            camera_id: spec.camera.identity.camera_id.clone(),
            uri: spec.camera.source.to_string(),
            source: None,
            is_live: !matches!(spec.camera.source, SourceSpec::Path(_)),
            end: CameraEnd::Stopped,
            counts: CameraCounts::default(),
            detections: 0,
            tracks: 0,
            crops_left_out: 0,
            elapsed: Duration::ZERO,
        }
    }

    fn add(&mut self, report: &CameraReport) {
        self.detections += report.detections;
        self.tracks += report.tracks;
        self.crops_left_out += report.crops_left_out;
    }
}

/// A function that makes the observer of the frames of each run, if there is to be one.
pub type MakeTap = Box<dyn Fn(&OpenCamera, &RunSettings) -> Result<Option<FrameTap>, VisionError> + Send + Sync>;

/// The parts that all cameras of a supervisor use.
struct Shared {
    opener: Arc<dyn OpenCameras>,
    sink: SharedSink,
    reconnect: ReconnectPace,
    taps: Vec<MakeTap>,
    openings: Semaphore,
    traces: Traces,
}

/// The handles by which a camera is watched and stopped from outside.
#[derive(Clone)]
struct Spot {
    stop: StopFlag,
    state: watch::Sender<CameraState>,
    progress: watch::Sender<Progress>,
    counters: Arc<CameraCounters>,
    /// The seat that is taken while a camera of this id runs.
    seat: Arc<tokio::sync::Mutex<()>>,
}

/// A camera as it is seen from outside.
#[derive(Debug, Clone)]
pub struct CameraView {
    /// The camera's id.
    pub camera_id: CameraId,
    /// The stride: every n-th frame is processed.
    pub vid_stride: u32,
    /// The state that it is in.
    pub state: watch::Receiver<CameraState>,
    /// The progress of its run.
    pub progress: watch::Receiver<Progress>,
    /// The counters.
    pub counters: Arc<CameraCounters>,
}

/// A supervisor that keeps cameras running. A camera that is slow, dead or wrong keeps no other waiting, but for the
/// sink that they share.
pub struct Supervisor {
    shared: Arc<Shared>,
    specs: BTreeMap<CameraId, CameraSpec>,
    /// The detector of the first camera, whose model all share.
    detector: Option<DetectorSetup>,
    spots: BTreeMap<CameraId, Spot>,
    tasks: JoinSet<CameraSummary>,
    overload: (Overload, Instant),
}

impl Supervisor {
    /// Makes a supervisor with no camera yet, whose frames are traced where `traces` sends any. It must be called, as
    /// all of its functions, within a Tokio runtime.
    pub fn new(
        opener: Arc<dyn OpenCameras>,
        sink: SharedSink,
        reconnect: ReconnectPace,
        taps: Vec<MakeTap>,
        traces: Traces,
    ) -> Self {
        let openings = Semaphore::new(OPENINGS_MAX);
        Self {
            shared: Arc::new(Shared { opener, sink, reconnect, taps, openings, traces }),
            specs: BTreeMap::new(),
            detector: None,
            spots: BTreeMap::new(),
            tasks: JoinSet::new(),
            overload: (Overload::default(), Instant::now()),
        }
    }

    /// Starts a camera that is open already. One of the same id ends first.
    pub fn start(&mut self, spec: CameraSpec, camera: OpenCamera, settings: RunSettings) {
        self.begin(spec, Some((camera, settings)));
    }

    /// Makes the cameras those that are wanted. Those that stay the same notice nothing. Cameras that end are still
    /// told by [`Supervisor::ended`], when what they decoded is in the sink.
    pub fn apply(&mut self, wanted: Vec<CameraSpec>) -> Changes {
        let wanted: BTreeMap<_, _> =
            wanted.into_iter().map(|spec| (spec.camera.identity.camera_id.clone(), spec)).collect();
        let changes = Changes::between(&self.specs, &wanted);
        for id in &changes.removed {
            self.specs.remove(id);
            if let Some(spot) = self.spots.remove(id) {
                spot.stop.stop();
            }
        }
        for id in changes.changed.iter().chain(&changes.added) {
            if let Some(spec) = wanted.get(id) {
                self.begin(spec.clone(), None);
            }
        }
        changes
    }

    fn begin(&mut self, spec: CameraSpec, first: Option<keep::Opened>) {
        let id = spec.camera.identity.camera_id.clone();
        let before = self.spots.get(&id);
        if let Some(before) = before {
            before.stop.stop();
        }
        let frames_total = first.as_ref().and_then(|(camera, _)| camera.source.description().frame_count);
        let spot = Spot {
            stop: StopFlag::new(),
            state: watch::Sender::new(CameraState::Opening),
            progress: watch::Sender::new(Progress { frames_total, ..Progress::default() }),
            counters: before.map(|before| Arc::clone(&before.counters)).unwrap_or_default(),
            seat: before.map(|before| Arc::clone(&before.seat)).unwrap_or_default(),
        };
        self.detector.get_or_insert_with(|| spec.detector.clone());
        self.specs.insert(id.clone(), spec.clone());
        self.spots.insert(id, spot.clone());
        self.tasks.spawn(keep::keep(spec, first, Arc::clone(&self.shared), spot));
    }

    /// Returns the next camera that ended; `None` where none runs any more. The future may be dropped, and made again.
    ///
    /// # Errors
    /// Returns an error where a task panicked, which is a fault in this program.
    pub async fn ended(&mut self) -> Option<Result<CameraSummary, tokio::task::JoinError>> {
        self.tasks.join_next().await
    }

    /// Asks every camera to stop; what they decoded still goes into the sink.
    pub fn stop(&self) {
        self.spots.values().for_each(|spot| spot.stop.stop());
    }

    /// Returns all cameras that are wanted, by id.
    pub fn views(&self) -> Vec<CameraView> {
        let view = |(id, spot): (&CameraId, &Spot)| CameraView {
            camera_id: id.clone(),
            vid_stride: self.specs.get(id).map_or(1, |spec| spec.detector.pipeline.vid_stride.get()),
            state: spot.state.subscribe(),
            progress: spot.progress.subscribe(),
            counters: Arc::clone(&spot.counters),
        };
        self.spots.iter().map(view).collect()
    }

    /// Returns a sentence where the machine couldn't keep up since this was called last.
    pub fn overload(&mut self) -> Option<String> {
        let now = self.spots.values().map(|spot| spot.counters.counts().frames);
        let now = now.fold(FrameCounts::default(), |sum, counts| sum + counts);
        let since = std::mem::replace(&mut self.overload.1, Instant::now()).elapsed();
        self.overload.0.look(self.spots.len(), now, since)
    }
}
