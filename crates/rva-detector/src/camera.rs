//! The run of one camera, whose frames become records in an event sink.

use crate::{
    CameraCounters, CaptureStamp, Latency, Progress, RetryPace,
    delivery::{PatientSink, Sent},
    progress::Pace,
    traced,
};
use async_recursion::async_recursion as boxed;
use bytes::Bytes;
use roaring::RoaringTreemap;
use rva_bus::{BusError, EventSink, OutgoingMessage};
use rva_service::{TraceSpan, Traces};
use rva_track::{Tracker, TrackerChoice};
use rva_types::{
    FrameRecord, FrameRecordInput, ImageSize, PropertyName, RunId, RuntimeDescription, SourceIdentity, Timestamp,
    TrackedDetection,
};
use rva_vision::{
    Detector, End, FindCues, FrameCounts, FrameSource, ModelDescription, PipelineControl, PipelineOptions,
    PipelineOutcome, SourceDescription, StageTimes, StopFlag, TrackedFrame, VisionError, VisionErrorKind, run_pipeline,
};
use std::{
    collections::BTreeMap,
    fmt,
    ops::ControlFlow,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};
use tokio::sync::{mpsc, watch};

/// The number of records that wait between the pipeline's thread and the sink.
const RECORDS_WAITING_MAX: usize = 16;

/// A source that is open, and everything that looks at its frames.
pub struct OpenCamera {
    /// The source of the frames.
    pub source: Box<dyn FrameSource>,
    /// The detectors: at least one, all of the same model, each of which looks at frames at the same time as the
    /// others; they must keep everything from [`detector_floor`] for the tracker.
    pub detectors: Vec<Box<dyn Detector>>,
    /// The tracker that follows the detections.
    pub tracker: Box<dyn Tracker>,
    /// The finder of the cues that it wants besides boxes, as its [`Tracker::cues`] say.
    pub cues: Option<Box<dyn FindCues>>,
}

impl fmt::Debug for OpenCamera {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OpenCamera({})", self.source.description().uri)
    }
}

impl OpenCamera {
    /// Returns the facts that the model tells about itself; `None` without a detector.
    pub fn model(&self) -> Option<&ModelDescription> {
        self.detectors.first().map(|detector| detector.description())
    }
}

/// The settings of a run: what its records say, and how fast it goes.
#[derive(Debug, Clone, PartialEq)]
pub struct RunSettings {
    /// The place where the frames are seen.
    pub identity: SourceIdentity,
    /// The id of this opening.
    pub run: RunId,
    /// The capture time of a file's media time 0; a live source is stamped by the wall clock instead.
    pub start_time: Timestamp,
    /// The confidence in [0, 1] that detections of a record reach or exceed.
    pub conf: f64,
    /// The class ids that the detector keeps, or all; told in the records.
    pub class_filter: Option<Vec<u32>>,
    /// The stride, batch, bounds, and which frames are left out.
    pub pipeline: PipelineOptions,
    /// The pace at which a sink is waited for.
    pub retry: RetryPace,
}

/// A function that sees each delivered frame, with the detections that its record holds. It is called on the pipeline's
/// thread, before the record is sent; while it works the pipeline waits. [`NewestFrame`](crate::NewestFrame) is one that
/// keeps nobody waiting.
pub type FrameTap = Box<dyn FnMut(&TrackedFrame) + Send>;

/// The observers who are told while a run goes on.
#[derive(Default)]
pub struct Observers {
    /// The taps, each of which sees every frame, in this order.
    pub taps: Vec<FrameTap>,
    /// The progress for a progress bar.
    pub progress: watch::Sender<Progress>,
    /// The counters for statistics.
    pub counters: Arc<CameraCounters>,
    /// The sender of traces of frames.
    pub traces: Traces,
}

/// A record on its way to the sink.
struct Delivered {
    message: OutgoingMessage,
    /// When its frame came out of the decoder.
    decoded: Instant,
    /// The trace of the frame, and since when the record waits.
    trace: Option<(TraceSpan, SystemTime)>,
}

/// The end of a run.
#[derive(Debug)]
pub enum CameraEnd {
    /// The source ended.
    Finished,
    /// It was asked to stop; everything decoded is in the sink.
    Stopped,
    /// The source broke off; everything decoded is in the sink.
    Incomplete(VisionError),
    /// The source can't be opened; nothing was read.
    NotOpened(VisionError),
    /// Detection or tracking failed; what was delivered before is in the sink.
    Failed(VisionError),
    /// The sink refused to go on; what it accepted before is its own.
    SinkFailed(BusError),
}

/// The report of a run.
#[derive(Debug)]
pub struct CameraReport {
    /// The id of this opening.
    pub run: RunId,
    /// The facts that were known of the source.
    pub source: SourceDescription,
    /// The way in which it ended.
    pub end: CameraEnd,
    /// The camera, where its source goes on behind a change, as another run: [`next_run`] makes it one.
    pub rest: Option<Box<(OpenCamera, RunSettings)>>,
    /// The counts of frames that the source gave, that were processed, and that were left out.
    pub frames: FrameCounts,
    /// The number of records that the sink accepted. Unless the run failed they are durable.
    pub records: u64,
    /// The number of records that the sink refused for good, each logged.
    pub records_rejected: u64,
    /// The number of detections in the records that were sent.
    pub detections: u64,
    /// The number of different track ids in the records. Ids have gaps: a track that is never confirmed takes one too.
    pub tracks: u64,
    /// The number of detections whose appearance wasn't looked at, since their frames had too many.
    pub crops_left_out: u64,
    /// The time from a frame's decoding to its record in the sink, over all runs of the same [`Observers::counters`].
    pub latency: Latency,
    /// The time that each stage of the pipeline took.
    pub times: StageTimes,
    /// The time from the first frame asked for to the last record flushed.
    pub elapsed: Duration,
}

/// Returns the confidence from which a detector must keep boxes: `min(conf, tracker.lowest_conf())`. With less, a
/// tracker that joins weak boxes to known tracks (the second stage of ByteTrack and SteadyTrack) would never see one.
pub fn detector_floor(conf: f64, tracker: &dyn Tracker) -> f32 {
    (conf as f32).min(tracker.lowest_conf())
}

/// Runs a camera to its end: each processed frame becomes a record in the sink, in frame order.
///
/// The pipeline blocks on a thread of its own. A slow sink makes it wait; transient errors of the sink are waited for
/// without end, and nothing is read meanwhile. The sink is flushed before this returns, however the run ended.
/// When the future is dropped, the pipeline ends soon after, and what it held is lost.
#[boxed]
pub async fn run_camera(
    camera: OpenCamera,
    settings: RunSettings,
    sink: &mut dyn EventSink,
    observers: Observers,
    stop: StopFlag,
) -> CameraReport {
    let started = Instant::now();
    let (run, source) = (settings.run.clone(), camera.source.description().clone());
    let (records, mut waiting) = mpsc::channel(RECORDS_WAITING_MAX);
    let (progress, counters) = (observers.progress.clone(), observers.counters.clone());
    let retry = settings.retry;
    let span = tracing::info_span!("camera", camera_id = %settings.identity.camera_id, run = %settings.run);
    let pipeline = {
        let (stop, span) = (stop.clone(), span.clone());
        tokio::task::spawn_blocking(move || span.in_scope(|| pipeline(camera, settings, observers, records, &stop)))
    };

    let on_wait = |waits| progress.send_modify(|progress| progress.sink_waits = waits);
    let mut patient = PatientSink::new(sink, retry, &on_wait);
    let (mut accepted, mut rejected, mut sink_error) = (0, 0, None);
    while let Some(Delivered { message, decoded, trace }) = waiting.recv().await {
        let sent = match patient.send(message).await {
            Ok(sent) => sent,
            Err(error) => {
                sink_error = Some(error);
                break;
            }
        };
        match sent {
            Sent::Accepted => {
                accepted += 1;
                counters.count_accepted(decoded.elapsed());
            }
            Sent::Rejected => {
                rejected += 1;
                counters.count_rejected();
            }
        }
        if let Some((trace, since)) = trace {
            traced::end(trace, since, sent == Sent::Accepted);
        }
    }
    // Nobody takes records any more: a pipeline that still runs gives up.
    drop(waiting);
    let (outcome, counts, rest) = pipeline.await.unwrap_or_else(|error| (panicked(&error), Counts::default(), None));
    if let Err(error) = patient.flush().await {
        sink_error.get_or_insert(error);
    }
    CameraReport {
        run,
        source,
        rest: rest.filter(|_| sink_error.is_none()),
        end: camera_end(outcome.end, sink_error),
        frames: outcome.counts,
        records: accepted,
        records_rejected: rejected,
        detections: counts.detections,
        tracks: counts.tracks.len(),
        crops_left_out: outcome.crops_left_out,
        latency: counters.counts().latency,
        times: outcome.times,
        elapsed: started.elapsed(),
    }
}

fn camera_end(end: End, sink_error: Option<BusError>) -> CameraEnd {
    match (sink_error, end) {
        (Some(error), _) => CameraEnd::SinkFailed(error),
        (None, End::Finished) => CameraEnd::Finished,
        (None, End::Stopped) => CameraEnd::Stopped,
        (None, End::Incomplete(error)) => CameraEnd::Incomplete(error),
        (None, End::Failed(error)) => CameraEnd::Failed(error),
        // The pipeline is abandoned only when its records aren't taken any more, which a sink error explains.
        (None, End::Abandoned) => CameraEnd::Failed(fault("delivery gave up without an error of the sink")),
    }
}

fn fault(text: &str) -> VisionError {
    VisionError::new(VisionErrorKind::Fault, text)
}

/// Returns the outcome of a pipeline whose own thread panicked: in the tracker, or in a tap.
fn panicked(error: &tokio::task::JoinError) -> PipelineOutcome {
    PipelineOutcome::failed(fault(&format!("the pipeline's thread: {error}")))
}

#[derive(Debug, Default)]
struct Counts {
    detections: u64,
    /// The ids of tracks, compressed, since ids of a run are dense.
    tracks: RoaringTreemap,
}

fn pipeline(
    camera: OpenCamera,
    settings: RunSettings,
    observers: Observers,
    records: mpsc::Sender<Delivered>,
    stop: &StopFlag,
) -> (PipelineOutcome, Counts, Option<Box<(OpenCamera, RunSettings)>>) {
    let OpenCamera { mut source, mut detectors, mut tracker, mut cues } = camera;
    let options = settings.pipeline.clone();
    let counters = Arc::clone(&observers.counters);
    let control = PipelineControl { stop: stop.clone(), counters: Arc::clone(&counters.frames), watch: Some(counters) };
    let Some(model) = detectors.first().map(|detector| detector.description()) else {
        return (
            PipelineOutcome::failed(fault("found a camera without a detector, wanted at least one")),
            Counts::default(),
            None,
        );
    };
    let writer = RecordWriter::new(settings.clone(), source.description(), model, &*tracker);
    let mut delivery = Delivery::new(writer, observers, source.description().frame_count);
    let mut deliver = |frame: TrackedFrame| match records.blocking_send(delivery.take(frame)) {
        Ok(()) => ControlFlow::Continue(()),
        Err(_) => ControlFlow::Break(()),
    };
    let finder = cues.as_mut().map(|cues| &mut **cues as &mut dyn FindCues);
    let outcome = run_pipeline(&mut *source, &mut detectors, &mut *tracker, finder, &options, &control, &mut deliver);
    let counts = delivery.counts;
    let is_changed = matches!(&outcome.end, End::Incomplete(error) if error.kind() == VisionErrorKind::SourceChanged);
    if !is_changed || !source.begin_next_run() {
        return (outcome, counts, None);
    }
    (outcome, counts, Some(Box::new((OpenCamera { source, detectors, tracker, cues }, settings))))
}

/// Makes a run of its own of what goes on behind a change: another id, and a tracker that has seen nothing.
///
/// # Errors
/// Returns [`VisionErrorKind::Config`] where the tracker can't be built, which it could before.
pub fn next_run(
    (mut camera, mut settings): (OpenCamera, RunSettings),
    tracker: &TrackerChoice,
) -> Result<(OpenCamera, RunSettings), VisionError> {
    let failed = |error: rva_track::TrackError| VisionError::new(VisionErrorKind::Config, error.to_string());
    camera.tracker = tracker.build().map_err(failed)?;
    settings.run = RunId::from_uuid(uuid::Uuid::now_v7());
    Ok((camera, settings))
}

/// The delivery of a tracked frame: count, show, write.
struct Delivery {
    writer: RecordWriter,
    observers: Observers,
    pace: Pace,
    frames_total: Option<u64>,
    counts: Counts,
}

impl Delivery {
    fn new(writer: RecordWriter, observers: Observers, frames_total: Option<u64>) -> Self {
        Self { writer, observers, pace: Pace::starting(Instant::now()), frames_total, counts: Counts::default() }
    }

    fn take(&mut self, mut frame: TrackedFrame) -> Delivered {
        frame.detections.retain(|tracked| self.writer.holds(tracked, frame.size));
        self.counts.detections += frame.detections.len() as u64;
        self.counts.tracks.extend(frame.detections.iter().filter_map(|tracked| tracked.track_id));
        self.observers.taps.iter_mut().for_each(|tap| tap(&frame));
        let RunSettings { identity, run, .. } = &self.writer.settings;
        let trace = traced::begin(&self.observers.traces, &frame, identity, run.as_str());
        let mut message = self.writer.message(&frame);
        if let Some(trace) = &trace {
            traced::name(trace, &mut message);
        }
        let (fps, people) = (self.pace.frame(Instant::now()), self.writer.people(&frame.detections));
        self.observers.progress.send_modify(|progress| {
            let frames = progress.frames + 1;
            *progress = Progress {
                frames,
                frame_index: frame.index,
                frames_total: self.frames_total,
                media_time: frame.media_time,
                fps,
                people,
                detections: frame.detections.len(),
                sink_waits: progress.sink_waits,
            };
        });
        Delivered { message, decoded: frame.decoded, trace: trace.map(|trace| (trace, SystemTime::now())) }
    }
}

/// A writer that turns tracked frames into messages.
struct RecordWriter {
    settings: RunSettings,
    stamp: CaptureStamp,
    class_names: Vec<String>,
    runtime: RuntimeDescription,
    source_uri: String,
    properties: BTreeMap<String, String>,
}

impl RecordWriter {
    fn new(settings: RunSettings, source: &SourceDescription, model: &ModelDescription, tracker: &dyn Tracker) -> Self {
        let stamp = if source.is_live { CaptureStamp::live() } else { CaptureStamp::recorded(settings.start_time) };
        let runtime = RuntimeDescription {
            model_name: model.name.clone(),
            tracker_type: tracker.name().to_owned(),
            conf_thres: settings.conf,
            class_filter: settings.class_filter.clone(),
        };
        let SourceIdentity { store_id, camera_id, stream_id } = &settings.identity;
        let properties = BTreeMap::from([
            (PropertyName::STORE_ID.to_owned(), store_id.to_string()),
            (PropertyName::CAMERA_ID.to_owned(), camera_id.to_string()),
            (PropertyName::STREAM_ID.to_owned(), stream_id.to_string()),
        ]);
        let class_names = model.class_names.clone();
        Self { stamp, class_names, runtime, source_uri: source.uri.clone(), properties, settings }
    }

    /// Returns whether a record holds a detection; the others were for the tracker alone.
    fn holds(&self, tracked: &TrackedDetection, size: ImageSize) -> bool {
        tracked.detection.is_recorded(size, self.runtime.conf_thres)
    }

    fn people(&self, detections: &[TrackedDetection]) -> usize {
        let is_person = |id: u32| self.class_names.get(id as usize).is_some_and(|name| name == "person");
        detections.iter().filter(|tracked| is_person(tracked.detection.class_id)).count()
    }

    fn message(&mut self, frame: &TrackedFrame) -> OutgoingMessage {
        let capture_ts = self.stamp.next(frame.media_time, frame.decoded_at.into());
        let record = FrameRecord::new(&FrameRecordInput {
            run: &self.settings.run,
            source: &self.settings.identity,
            frame_index: frame.index,
            capture_ts,
            image_size: frame.size,
            detections: &frame.detections,
            class_names: &self.class_names,
            runtime: &self.runtime,
            source_uri: Some(&self.source_uri),
        });
        OutgoingMessage {
            partition_key: self.settings.identity.camera_id.to_string(),
            properties: self.properties.clone(),
            event_time: Some(capture_ts),
            body: Bytes::from(record.to_json()),
        }
    }
}
